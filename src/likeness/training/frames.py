"""Pictures kept in memory up to a limit, so that frames are decoded once when they fit."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor

from likeness.core.capture import Capture, Pictures, last_fifth
from likeness.core.errors import BadInput
from likeness.core.track import Track

_log = logging.getLogger(__name__)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_size(text: str) -> int:
    """Bytes of "500M", "2G" or "2GiB"."""
    plain = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = _UNITS.get(plain[-1:], 1)
    number = plain[:-1] if unit > 1 else plain
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise BadInput(f"{text!r} is not an amount of memory. Write it like 500M or 2G.")
    return int(value * unit)


class Kept:
    """Any per-frame pictures (a capture's, or a track's maps) with the last ones kept as bytes.

    When the limit is reached the least recently used go. One picture larger than the limit is
    decoded each time.
    """

    def __init__(self, source: Pictures, limit: int) -> None:
        self.source, self.limit = source, limit
        self.held = 0
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, int], np.ndarray | None] = OrderedDict()

    def rgb(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        found = self._fetch("rgb", index)
        assert found is not None
        return found

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        return self._fetch("alpha", index)

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        return self._fetch("regions", index)

    def _fetch(self, kind: str, index: int) -> np.ndarray | None:
        key = (kind, index)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        load: Callable[[int], np.ndarray | None] = getattr(self.source, kind)
        found = load(index)
        size = 0 if found is None else found.nbytes
        if size <= self.limit:
            with self._lock:
                self._keep(key, found, size)
        return found

    def _keep(self, key: tuple[str, int], found: np.ndarray | None, size: int) -> None:
        if key in self._kept:  # another thread was first
            return
        self._kept[key] = found
        self.held += size
        while self.held > self.limit:
            _, gone = self._kept.popitem(last=False)
            self.held -= 0 if gone is None else gone.nbytes


def tracked(track: Track, frames: Iterable[int]) -> list[int]:
    """Those of some frames in which a face was tracked. A frame whose camera, pose or coefficients
    are no numbers is left out, and said."""
    expressions = track.expressions
    told = [track.cameras.camera_from_world, track.cameras.intrinsics, expressions.coefficients]
    told += [expressions.world_from_head, expressions.world_from_torso, expressions.personal]
    sound = torch.ones_like(track.confidence, dtype=torch.bool)
    for values in told:
        if values is not None and values.shape[0] == len(track):
            sound &= values.isfinite().flatten(1).all(-1)
    found = [i for i in frames if i < len(track) and float(track.confidence[i]) > 0]
    kept = [i for i in found if bool(sound[i])]
    if len(kept) < len(found):
        bad = next(i for i in found if not bool(sound[i]))
        _log.warning(
            "%d frame(s) are left out: their camera, pose or expression is no number (first: "
            "frame %d). Track the recording again to use them.", len(found) - len(kept), bad,
        )  # fmt: skip
    return kept


def trainable_frames(capture: Capture, track: Track) -> list[int]:
    """Frames of the training split in which a face was tracked; at least two."""
    splits = capture.splits or last_fifth(len(capture))
    frames = tracked(track, splits.train)
    if len(frames) < 2:
        raise BadInput(
            f"{capture.name!r} has {len(frames)} tracked training frame(s); an avatar needs at "
            "least 2, and a hundred to look right. Record longer, or check the track's report."
        )
    return frames


def clean_backdrop(capture: Capture, track: Track) -> Float[Tensor, "H W 3"]:
    """The clean background, float; mid-grey when nobody knows it."""
    for found in (track.backdrop, capture.background):
        if found is not None:
            # in one order of memory, as when a training goes on: kernels differ otherwise
            return torch.from_numpy(np.ascontiguousarray(found)).float() / 255
    _log.warning(
        "Nobody knows the backdrop of %r: it starts as even grey. Run `likeness track`, or put "
        "background.png into the capture, for a sharper edge.", capture.name,
    )  # fmt: skip
    return torch.full((track.cameras.height, track.cameras.width, 3), 0.5)


def matte_of(capture: Capture, track: Track, index: int) -> Float[Tensor, "H W"] | None:
    """How much of each pixel is the person: the track's matte, else the capture's own."""
    found = track.maps.alpha(index) if track.maps is not None else None
    found = capture.pictures.alpha(index) if found is None else found
    return None if found is None else torch.from_numpy(found).float() / 255


def person_pixels(
    capture: Capture,
    track: Track,
    index: int,
    count: int,
    share: float,
    generator: Generator,
) -> Int[Tensor, " R"]:
    """Numbers of drawn pixels of a frame, `share` of them on the person (as many as four tries
    find there), the others anywhere."""
    size = track.cameras.height * track.cameras.width
    flat = torch.randint(size, (count,), generator=generator)
    wanted = round(share * count)
    matte = matte_of(capture, track, index) if wanted else None
    if matte is not None:
        tries = torch.randint(size, (4 * wanted,), generator=generator)
        there = matte.flatten()[tries] > 0
        flat[:wanted] = tries[torch.sort(~there, stable=True).indices[:wanted]]
    return flat
