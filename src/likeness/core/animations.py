"""GIF and animated WebP: short motions for a page or a README, that begin again by themselves."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from likeness.core.credentials import sign
from likeness.core.errors import BadInput
from likeness.core.files import atomic
from likeness.core.media import SYNTHETIC, VideoWriter, finish, to_bytes
from likeness.core.xmp import gif_with_comment, packet, webp_with_xmp

ANIMATIONS = (".gif", ".webp")
_SEEN = 24  # frames at the start that a GIF's colours are chosen from
_SMALL = 96  # pixels a side at which they are looked at


class AnimationWriter:
    """A looping `.gif` or `.webp`, frame by frame; whole or not there, in flat memory.

    A GIF has 256 colours for all its frames, chosen from the first ones, whole hundredths of a
    second between frames, and is transparent or not (alpha of a half and more is not). WebP keeps
    colours and alpha (straight). `quality` is WebP's, 0 to 100.
    """

    def __init__(self, path: str | Path, fps: float, quality: int = 80, note: str = "") -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in ANIMATIONS:
            raise BadInput(f"{self.path} should end in .gif or .webp to be an animation.")
        if not 0 < fps <= 100:
            raise BadInput(f"An animation of {fps} frames a second cannot be written.")
        self.gif = self.path.suffix.lower() == ".gif"
        self.rate = Fraction(fps).limit_denominator(1001)
        self.quality, self.note = quality, note
        self.container: Any = None
        self.stream: Any = None
        self.palette: Any = None
        self.waiting: list[np.ndarray] = []
        self.count = 0

    def __enter__(self) -> "AnimationWriter":
        self._atomic = atomic(self.path)
        self._temporary = self._atomic.__enter__()
        return self

    def write(self, picture: Tensor | np.ndarray) -> None:
        """One frame: float in [0, 1] or uint8, of 3 or 4 channels."""
        pixels = to_bytes(picture) if isinstance(picture, Tensor) else picture
        if not self.gif:
            self._put(self._webp_frame(pixels), pixels)
            return
        self.waiting.append(pixels)
        if len(self.waiting) == _SEEN:
            self._flush()

    def _flush(self) -> None:
        """Encode the frames held back; the first time, choose the palette from them."""
        if self.waiting and self.container is None:
            self.palette = _palette(self.waiting)
        for pixels in self.waiting:
            self._put(self._gif_frame(pixels), pixels)
        self.waiting = self.waiting[:0]

    def _gif_frame(self, pixels: UInt8[np.ndarray, "H W C"]) -> av.VideoFrame:
        picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
        index = np.asarray(picture.quantize(palette=self.palette, dither=Image.Dither.NONE))
        colours = np.full((256, 4), 255, np.uint8)
        chosen = np.array(self.palette.getpalette()[: 255 * 3], np.uint8).reshape(-1, 3)
        colours[: len(chosen), 1:] = chosen
        if pixels.shape[2] == 4:
            colours[255] = 0
            index = np.where(pixels[..., 3] < 128, 255, index)
        paletted: Any = (index.astype(np.uint8), colours)
        return av.VideoFrame.from_ndarray(paletted, format="pal8")

    def _webp_frame(self, pixels: UInt8[np.ndarray, "H W C"]) -> av.VideoFrame:
        blank = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        alpha = pixels[..., 3:] if pixels.shape[2] == 4 else blank
        bgra = np.concatenate([pixels[..., 2::-1], alpha], -1)
        return av.VideoFrame.from_ndarray(bgra, format="bgra")

    def _put(self, frame: av.VideoFrame, pixels: np.ndarray) -> None:
        if self.container is None:
            self._open(pixels)
        assert self.container is not None
        frame.pts, frame.time_base = self.count, 1 / self.rate
        self.count += 1
        for packet_ in self.stream.encode(frame):
            self.container.mux(packet_)

    def _open(self, pixels: np.ndarray) -> None:
        kind = "gif" if self.gif else "webp"
        self.container = av.open(str(self._temporary), "w", format=kind, options={"loop": "0"})
        self.stream = self.container.add_stream("gif" if self.gif else "libwebp_anim", self.rate)
        self.stream.height, self.stream.width = pixels.shape[:2]
        self.stream.pix_fmt = "pal8" if self.gif else "bgra"
        if not self.gif:
            self.stream.options = {"quality": str(self.quality), "compression_level": "4"}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
            if self.container is not None and kind is None:
                for packet_ in self.stream.encode(None):
                    self.container.mux(packet_)
        finally:
            if self.container is not None:
                self.container.close()
        if kind is None and self.count == 0:
            kind, error = BadInput, BadInput(f"{self.path} would hold no frame; nothing written.")
            self._atomic.__exit__(kind, error, None)
            raise error
        if kind is None:
            finish(self._atomic, self._mark)
        self._atomic.__exit__(kind, error, trace)

    def _mark(self) -> None:
        data, about = self._temporary.read_bytes(), packet(SYNTHETIC, self.note)
        size = self.stream.width, self.stream.height
        marked = gif_with_comment(data, about) if self.gif else webp_with_xmp(data, about, *size)
        self._temporary.write_bytes(marked)
        if self.note:
            sign(self._temporary, SYNTHETIC, self.note)


def _palette(frames: list[np.ndarray]) -> Image.Image:
    """255 colours for all frames; the last place is kept for what is transparent."""
    step = max(1, max(frames[0].shape[:2]) // _SMALL)
    seen = np.concatenate([frame[::step, ::step, :3] for frame in frames])
    return Image.fromarray(np.ascontiguousarray(seen)).quantize(255, Image.Quantize.MEDIANCUT)


def writer(path: str | Path, fps: float, note: str = "", **more: Any) -> Any:
    """The writer for a moving picture's suffix: an animation, else a video."""
    if Path(path).suffix.lower() in ANIMATIONS:
        return AnimationWriter(path, fps, note=note)
    return VideoWriter(path, fps, note=note, **more)
