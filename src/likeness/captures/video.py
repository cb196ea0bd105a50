"""Any video file, decoded frame by frame as frames are asked for."""

import contextlib
import logging
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import UInt8

from likeness.captures.soundtrack import decode_sound
from likeness.core.capture import Capture
from likeness.core.errors import BadInput

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".3gp", ".ogv", ".gif", ".y4m", ".h264", ".h265", ".hevc", ".mxf",
})
# fmt: on
_KEPT_BYTES = 64 << 20  # decoded frames kept for steps back, in their own small pixel format
_KEPT_FRAMES = 16
_LONGEST_GAP = 12  # damaged frames in a row that the one before them may stand in for
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}

_log = logging.getLogger(__name__)


def recognises(path: Path) -> bool:
    """A file with a video's suffix, or one without a known suffix in which a video is found."""
    if not path.is_file():
        return False
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return True
    return suffix in ("", ".bin", ".dat", ".video") and _holds_video(path)


def _holds_video(path: Path) -> bool:
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.video)
    except (av.FFmpegError, OSError, ValueError):
        return False


def read(path: Path, sound: bool = True, consent: str | None = None) -> Capture:
    """The clip with its true times; the first frame is at 0 s. `sound` decodes the soundtrack."""
    path = Path(path)
    pictures = VideoPictures(path)
    first = pictures.rgb(0)
    notes: dict[str, object] = {}
    if pictures.variable_rate:
        notes["variable_rate"] = True
    if pictures.lost:
        notes["undecodable_frames"] = pictures.lost
    return Capture(
        name=path.stem,
        pictures=pictures,
        times=pictures.times,
        size=(first.shape[1], first.shape[0]),
        fps=pictures.fps,
        sound=decode_sound(path, pictures.start) if sound else None,
        consent=consent,
        source=str(path),
        notes=notes,
    )


class VideoPictures:
    """Frames of a video by number, in the order they are shown.

    Reading forwards decodes each frame once; a jump seeks to the keyframe before it. Only a few
    decoded frames are kept, so memory does not grow with the clip. Safe to share among threads.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, VideoFrame] = OrderedDict()
        self._decoding: Iterator[tuple[int, VideoFrame]] | None = None
        self._next = 0
        self.lost = 0
        self._index()

    def rgb(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return self._pixels(index, "rgb24")

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        if not self._has_alpha:
            return None
        alpha = np.ascontiguousarray(self._pixels(index, "rgba")[..., 3])
        return None if (alpha == 255).all() else alpha

    def regions(self, index: int) -> None:
        return None

    def __len__(self) -> int:
        return len(self.times)

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens the file again."""
        closed = {"_lock": None, "_kept": None, "_decoding": None, "_next": 0}
        return {**self.__dict__, **closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock, self._kept = threading.Lock(), OrderedDict()

    # --- what is in the file -------------------------------------------------------------------

    def _index(self) -> None:
        """Times of all frames, from the packets alone; only the last group is decoded, to check."""
        container, stream = self._open()
        with container:
            self._time_base = Fraction(stream.time_base or Fraction(1, 1000))
            rate = float(stream.average_rate or stream.guessed_rate or 25)
            aspect = stream.sample_aspect_ratio
            transfer = _HDR_TRANSFERS.get(stream.codec_context.color_trc)
            pts, keys, timed = _packet_times(container, stream)
        self._by_time = timed and len(set(pts)) == len(pts)
        self._keys = sorted(keys)
        self._pts = sorted(pts)
        if self._by_time and self._keys:
            first = self._keys[0]  # before it nothing decodes
            self._pts = [t for t in self._pts if t >= first]
        if not self._pts:
            raise BadInput(
                f"{self.path} has no video frames. Was the recording cut off? Export it again."
            )
        self._check_end()
        self._set_times(rate)
        frame = self._frame(0)
        self._has_alpha = any(c.is_alpha for c in frame.format.components)
        self._size = _shown_size(frame, aspect)
        if transfer is not None:
            _log.warning(
                "%s is HDR video (%s); its colours are used as they are and may look flat.",
                self.path,
                transfer,
            )

    def _check_end(self) -> None:
        """Drop frames at the end that a truncated file promises and cannot give."""
        promised = len(self._pts)
        if self._by_time and self._keys:
            start = bisect_left(self._pts, self._keys[-1])  # a keyframe need not be shown itself
            shown = start < len(self._pts)
            seen = {index for index, _ in self._decode_from(start)} if shown else set()
            if start not in seen and len(self._keys) > 1:
                self._pts = self._pts[:start]
                self._keys.pop()
                return self._check_end()
            count = max(seen, default=-1) + 1
        else:
            self._by_time = False
            count = sum(1 for _ in self._decode_from(0))
        if count == 0:
            raise BadInput(
                f"{self.path} promises {promised} frames but none can be decoded. "
                "It is damaged or truncated: copy or export it again."
            )
        self.lost += promised - count
        if self.lost:
            _log.warning("%s: the last %d frames cannot be decoded.", self.path, self.lost)
        self._pts = self._pts[:count]
        self._decoding = None

    def _set_times(self, rate: float) -> None:
        count = len(self._pts)
        if self._by_time:
            self.start = float(self._pts[0] * self._time_base)
            self.times = tuple(float((p - self._pts[0]) * self._time_base) for p in self._pts)
        else:
            self.start = 0.0
            self.times = tuple(i / rate for i in range(count))
        steps = np.diff(self.times)
        self.fps = float(count - 1) / self.times[-1] if count > 1 and self.times[-1] > 0 else rate
        tick = float(self._time_base)
        self.variable_rate = bool(
            len(steps) and np.ptp(steps) > max(2.5 * tick, 0.1 * steps.mean())
        )
        if not self.variable_rate and self._by_time and abs(self.fps - rate) < 0.01 * rate:
            self.fps = rate  # the exact rate, without the rounding of time stamps

    # --- decoding --------------------------------------------------------------------------------

    def _open(self) -> tuple[Any, Any]:
        """A container of its own and its video stream, which must not outlive it."""
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise BadInput(f"There is no video {self.path}.") from error
        if size == 0:
            raise BadInput(f"{self.path} is empty (0 bytes). Copy it again from the camera.")
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise BadInput(
                f"{self.path} is not a video that can be read, or it is truncated "
                f"({_reason(error)}). Export it again, for example as MP4."
            ) from error
        streams = [s for s in container.streams.video if not _is_cover(s)]
        if not streams:
            what = "only sound" if container.streams.audio else "no video"
            container.close()
            raise BadInput(f"{self.path} holds {what}. Give a file with pictures.")
        if streams[0].codec_context is None:
            container.close()
            raise BadInput(
                f"{self.path} is of a codec that is not known here, or damaged. Export it as MP4."
            )
        streams[0].thread_type = "AUTO"
        return container, streams[0]

    def _decode_from(self, start: int) -> Iterator[tuple[int, VideoFrame]]:
        """Numbered frames from the keyframe at or before `start` on, without damaged ones."""
        container, stream = self._open()
        with container:
            if not self._by_time:
                yield from enumerate(_frames(container, stream))
                return
            if start > 0:
                with contextlib.suppress(av.FFmpegError):  # a damaged index: then from the start
                    container.seek(self._pts[start], stream=stream)
            # Frames shown before the keyframe may lean on a group that was skipped by seeking.
            whole_from = self._keys[max(0, bisect_right(self._keys, self._pts[start]) - 1)]
            number = {pts: index for index, pts in enumerate(self._pts) if pts >= whole_from}
            for frame in _frames(container, stream):
                if frame.pts in number:
                    yield number[frame.pts], frame

    def _frame(self, index: int) -> VideoFrame:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        if self._decoding is None or not self._reachable(index):
            self._decoding = self._decode_from(index)
        frame = self._advance(index)
        if frame is None:  # some containers seek past the frame; from the start none is missed
            self._decoding = self._decode_from(0)
            frame = self._advance(index)
        return self._standing_in(index) if frame is None else frame

    def _standing_in(self, index: int) -> VideoFrame:
        """The frame before a damaged one, as players show it; long gaps are an error."""
        for earlier in range(index - 1, max(-1, index - _LONGEST_GAP), -1):
            if earlier in self._kept:
                _log.warning(
                    "%s: frame %d is damaged; frame %d stands in for it.", self.path, index, earlier
                )
                self._keep(index, self._kept[earlier])
                return self._kept[earlier]
        raise BadInput(
            f"Frame {index} of {self.path} ({self.times[index]:.2f} s) cannot be decoded. "
            "Repair the file or export it again."
        )

    def _advance(self, index: int) -> VideoFrame | None:
        """Decode on up to frame `index`; None when it does not come."""
        assert self._decoding is not None
        for found, frame in self._decoding:
            self._next = found + 1
            self._keep(found, frame)
            if found == index:
                return frame
            if found > index:
                break
        self._decoding = None
        return None

    def _reachable(self, index: int) -> bool:
        """Whether decoding on is no slower than seeking: same group of pictures, further on."""
        if index < self._next:
            return False
        if not self._by_time:
            return True
        here, there = self._pts[min(self._next, len(self._pts) - 1)], self._pts[index]
        return bisect_right(self._keys, here) == bisect_right(self._keys, there) or (
            index - self._next < 4
        )

    def _keep(self, index: int, frame: VideoFrame) -> None:
        self._kept[index] = frame
        size = 4 * frame.width * frame.height
        while len(self._kept) > max(2, min(_KEPT_FRAMES, _KEPT_BYTES // max(size, 1))):
            self._kept.popitem(last=False)

    def _pixels(self, index: int, layout: str) -> UInt8[np.ndarray, "H W C"]:
        with self._lock:
            frame = self._frame(index)
            width, height = self._size
            try:
                turned = _quarter_turns(frame)
                if turned % 2:
                    width, height = height, width
                pixels = frame.reformat(width=width, height=height, format=layout).to_ndarray()
            except (av.FFmpegError, ValueError) as error:
                raise BadInput(
                    f"Frame {index} of {self.path} has pixels of format {frame.format.name!r} "
                    f"that cannot be converted ({_reason(error)}). Export it as 8-bit 4:2:0 MP4."
                ) from error
        return np.ascontiguousarray(np.rot90(pixels, turned)) if turned else pixels


def _packet_times(container: Any, stream: Any) -> tuple[list[int], list[int], bool]:
    """Presentation times of all shown packets, those of keyframes, and whether all had one."""
    pts: list[int] = []
    keys: list[int] = []
    timed = True
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            if packet.is_discard:  # before an edit's start: not shown, but what follows needs it
                if packet.is_keyframe and packet.pts is not None:
                    keys.append(packet.pts)
                continue
            if packet.pts is None:
                timed = False
            pts.append(packet.pts if packet.pts is not None else len(pts))
            if packet.is_keyframe:
                keys.append(pts[-1])
    except av.FFmpegError as error:  # cut off mid-packet: what came before is still good
        _log.warning("%s: reading stops early (%s).", container.name, _reason(error))
    return pts, keys, timed


def _frames(container: Any, stream: Any) -> Iterator[VideoFrame]:
    """Decoded frames; damaged packets are skipped, a damaged file ends early."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        try:
            yield from (frame for frame in packet.decode() if not frame.is_corrupt)
        except av.FFmpegError as error:
            _log.debug("a packet cannot be decoded: %s", _reason(error))


def _quarter_turns(frame: VideoFrame) -> int:
    """Anticlockwise quarter turns that set the picture upright, from the rotation flag."""
    return round(frame.rotation / 90) % 4


def _shown_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Upright (width, height) with square pixels; `aspect` is the width of a stored pixel."""
    width = frame.width
    if aspect and aspect > 0 and abs(float(aspect) - 1) > 0.005:
        width = max(1, round(width * float(aspect)))
    return (frame.height, width) if _quarter_turns(frame) % 2 else (width, frame.height)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
