"""Writing pictures and videos: whole files or none, of any length in flat memory."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from likeness.core.capture import Sound
from likeness.core.credentials import sign
from likeness.core.errors import BadInput, LikenessError
from likeness.core.files import atomic

SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""What IPTC calls media like ours; written into every picture and video we make."""


def to_bytes(picture: Float[Tensor, "H W C"]) -> UInt8[np.ndarray, "H W C"]:
    """[0, 1] to 0-255, rounded; what lies outside is clamped and NaN is black."""
    clean = torch.nan_to_num(picture.detach(), nan=0.0).clamp(0, 1)
    return (clean * 255 + 0.5).to(torch.uint8).cpu().numpy()


def save_png(path: str | Path, picture: Tensor | np.ndarray, note: str = "") -> None:
    """A float picture in [0, 1] or a uint8 one, as PNG that says it is synthetic; signed where
    there is a note and c2pa-python (see `credentials`)."""
    pixels = to_bytes(picture) if isinstance(picture, Tensor) else picture
    about = PngInfo()
    about.add_itxt("digitalSourceType", SYNTHETIC)
    if note:
        about.add_itxt("Comment", note)
    with atomic(path) as temporary:
        Image.fromarray(pixels[..., 0] if pixels.shape[-1:] == (1,) else pixels).save(
            temporary, format="PNG", pnginfo=about
        )
        if note:
            sign(temporary, SYNTHETIC, note)


class VideoWriter:
    """A video, frame by frame; it appears under its name only when the block ends well.

    `.mp4` and `.mov` are H.264 (yuv420p, opens everywhere), `.webm` is VP9 with alpha when frames
    have four channels (straight, not premultiplied). Odd sizes lose a row or column, as H.264
    wants. `sound` is cut or left as it is; it starts with the first frame.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        sound: Sound | None = None,
        quality: int = 18,
        note: str = "",
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in (".mp4", ".mov", ".webm"):
            raise BadInput(f"{self.path} should end in .mp4, .mov or .webm to be a video.")
        self.rate = Fraction(fps).limit_denominator(1001)
        if self.rate <= 0:
            raise BadInput(f"A video of {fps} frames a second cannot be written.")
        self.sound, self.quality, self.note = sound, quality, note
        self.container: Any = None
        self.stream: Any = None
        self.audio: Any = None
        self.count = 0

    def __enter__(self) -> "VideoWriter":
        self._atomic = atomic(self.path)
        self._temporary = self._atomic.__enter__()
        return self

    def write(self, picture: Tensor | np.ndarray) -> None:
        """One frame: float in [0, 1] or uint8; 3 channels, or 4 for WebM."""
        pixels = to_bytes(picture) if isinstance(picture, Tensor) else picture
        if self.container is None:
            self._open(pixels)
        assert self.container is not None
        height, width = self.stream.height, self.stream.width
        layout = "rgba" if pixels.shape[2] == 4 else "rgb24"
        pixels = np.ascontiguousarray(pixels[:height, :width])
        frame = av.VideoFrame.from_ndarray(pixels, format=layout)
        frame.pts, frame.time_base = self.count, 1 / self.rate
        self.count += 1
        for packet in self.stream.encode(frame):
            self.container.mux(packet)

    def _open(self, pixels: np.ndarray) -> None:
        webm = self.path.suffix.lower() == ".webm"
        try:
            self.container = av.open(
                str(self._temporary),
                "w",
                format="webm" if webm else "mp4",
                options={} if webm else {"movflags": "+faststart+use_metadata_tags"},
            )
        except OSError as error:
            raise LikenessError(f"{self.path} cannot be written ({error}).") from error
        self.container.metadata["comment"] = self.note or "synthetic media made with likeness"
        self.container.metadata["digital_source_type"] = SYNTHETIC
        self.stream = self.container.add_stream("libvpx-vp9" if webm else "libx264", self.rate)
        self.stream.height, self.stream.width = pixels.shape[0] & ~1, pixels.shape[1] & ~1
        alpha = webm and pixels.shape[2] == 4
        self.stream.pix_fmt = "yuva420p" if alpha else "yuv420p"
        self.stream.options = (
            {"crf": str(self.quality + 6), "b": "0", "deadline": "good", "cpu-used": "5"}
            if webm
            else {"crf": str(self.quality), "preset": "medium"}
        )
        if self.sound is not None and len(self.sound.samples):
            codec = "libopus" if webm else "aac"
            rate = 48000 if webm else self.sound.rate
            self.audio = self.container.add_stream(codec, rate=rate)
            self.audio.layout = "mono"

    def _write_sound(self) -> None:
        assert self.sound is not None
        seconds = float(self.count / self.rate)
        samples = self.sound.samples[: round(seconds * self.sound.rate)].float().clamp(-1, 1)
        frame = av.AudioFrame.from_ndarray(samples.cpu().numpy()[None], "fltp", "mono")
        frame.sample_rate, frame.pts = self.sound.rate, 0
        resampler = av.AudioResampler(
            format=self.audio.codec_context.format, layout="mono", rate=self.audio.rate
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in self.audio.encode(part):
                self.container.mux(packet)
        for packet in self.audio.encode(None):
            self.container.mux(packet)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.container is not None and kind is None:
                for packet in self.stream.encode(None):
                    self.container.mux(packet)
                if self.audio is not None:
                    self._write_sound()
        finally:
            if self.container is not None:
                self.container.close()
        if kind is None and self.count == 0:
            kind, error = BadInput, BadInput(f"{self.path} would hold no frame; nothing written.")
            self._atomic.__exit__(kind, error, None)
            raise error
        if kind is None and self.note:
            finish(self._atomic, sign, self._temporary, SYNTHETIC, self.note)
        self._atomic.__exit__(kind, error, trace)


def finish(whole: Any, step: Callable[..., Any], *given: Any) -> None:
    """A last step on a file that `atomic` (`whole`) holds: if it fails, the file goes."""
    try:
        step(*given)
    except Exception as error:
        whole.__exit__(type(error), error, error.__traceback__)
        raise
