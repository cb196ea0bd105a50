"""Cuts of a clip: the stretches between them, and which of those show one scene.

A person can only be followed, and a backdrop only be known, before one camera. Stretches that show
what others do belong together, whatever lies between them; frames of other scenes are left out.
"""

import logging
from collections import deque

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from likeness.core.capture import Capture
from likeness.core.progress import counted

_log = logging.getLogger(__name__)
_SIDE = 32  # pixels of a thumbnail
_CUT, _TIMES = 0.05, 6.0  # of 1: less change is no cut, nor what is not many times the usual
_USUAL = 12  # frames that say what is usual
_ALIKE = 0.06  # of 1: two pictures of one scene, whoever moved in between
_LOOKS = 12  # pictures of a stretch that are compared


class Cuts:
    """Looks at a clip's pictures in their order."""

    def __init__(self) -> None:
        self.thumbs: list[UInt8[np.ndarray, "S S 3"]] = []
        self.shots: list[int] = []
        self._changes: deque[float] = deque(maxlen=_USUAL)

    def look(self, picture: UInt8[np.ndarray, "H W 3"]) -> bool:
        """Whether the clip was cut just before this picture."""
        thumb, cut = thumbnail(picture), False
        if self.thumbs:
            change = apart(self.thumbs[-1], thumb)
            usual = float(np.median(self._changes)) if self._changes else 0.0
            cut = change > max(_CUT, _TIMES * usual)
            self._changes.append(change)
        self.thumbs.append(thumb)
        self.shots.append((self.shots[-1] if self.shots else 0) + int(cut))
        return cut

    def aside(self, seen: Bool[np.ndarray, " T"]) -> Bool[np.ndarray, " T"]:
        """Frames of other scenes than the one in which most are `seen`."""
        return aside(np.stack(self.thumbs), np.array(self.shots), seen)


def cuts_of(capture: Capture) -> Cuts:
    """All pictures of a clip looked at."""
    cuts = Cuts()
    for frame in counted(capture, "looking for cuts", len(capture)):
        cuts.look(frame.rgb8)
    return cuts


def thumbnail(picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "S S 3"]:
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def apart(a: UInt8[np.ndarray, "*b S S 3"], b: UInt8[np.ndarray, "*b S S 3"]) -> float:
    """How much two thumbnails differ, 0 to 1."""
    return float(np.abs(a.astype(np.int16) - b).mean() / 255)


def aside(
    thumbs: UInt8[np.ndarray, "T S S 3"], shots: Int[np.ndarray, " T"], seen: Bool[np.ndarray, " T"]
) -> Bool[np.ndarray, " T"]:
    """Frames of other scenes than the one in which most are `seen`."""
    scenes = scenes_of(thumbs, shots)
    count = np.bincount(scenes, weights=seen, minlength=1)
    return scenes != int(count.argmax())


def scenes_of(
    thumbs: UInt8[np.ndarray, "T S S 3"], shots: Int[np.ndarray, " T"]
) -> Int[np.ndarray, " T"]:
    """The scene that each frame shows: stretches belong together where any of their pictures are
    alike."""
    looks = [_some(thumbs[shots == shot]) for shot in range(int(shots.max()) + 1)]
    scene: list[int] = []
    for k, mine in enumerate(looks):
        like = {scene[j] for j in range(k) if _alike(mine, looks[j])}
        scene = [min(like) if s in like else s for s in scene]
        scene.append(min(like) if like else k)
    return np.array(scene)[shots]


def _alike(a: UInt8[np.ndarray, "M S S 3"], b: UInt8[np.ndarray, "N S S 3"]) -> bool:
    return any(apart(one, other) < _ALIKE for one in a for other in b)


def _some(thumbs: UInt8[np.ndarray, "T S S 3"]) -> UInt8[np.ndarray, "M S S 3"]:
    chosen = np.linspace(0, len(thumbs) - 1, min(_LOOKS, len(thumbs))).round().astype(int)
    return thumbs[chosen]
