"""Where the torso is, for alignment: roughly, and with a little more than clothes.

Regions end at the collar. A torso aligned on them alone, and bends learned within them, drew the
clothes of held-out frames 0.3 to 0.8 dB worse on two clips than this rule, by place and one tone:
what is below the jaw and not plainly neck, edges of neck and lobes of ears included.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from likeness.core.capture import Capture
from likeness.core.regions import REGION
from likeness.core.track import Track
from likeness.trackers.regions import OVAL

_JAW = list(OVAL[8:29])  # from the subject's left ear along the jaw to the right ear
_TONES = [50, 280, 205, 425, 151, 9]  # points on cheeks and forehead
_IN_FRONT = ("skin", "hair", "lips", "ears")

Mask = Bool[np.ndarray, "H W"]


def torso_at(capture: Capture, track: Track, index: int) -> tuple[Mask, Mask] | None:
    """Where a tracked frame shows the torso, and where something in front of it; None without
    regions. Without landmarks the regions must do."""
    regions = None if track.maps is None else track.maps.regions(index)
    if regions is None:
        return None
    if track.landmarks is None or track.landmarks.shape[1] < 468:
        front = np.isin(regions, [REGION[name] for name in _IN_FRONT])
        return regions == REGION["clothes"], front
    points = track.landmarks[index].numpy()
    return torso_mask(capture[index].rgb8, regions != REGION["background"], points)


def front_at(track: Track, index: int) -> Mask | None:
    """Where a tracked frame shows something in front of the torso; None without regions."""
    regions = None if track.maps is None else track.maps.regions(index)
    if regions is None:
        return None
    if track.landmarks is None or track.landmarks.shape[1] < 468:
        return np.isin(regions, [REGION[name] for name in _IN_FRONT])
    person, points = regions != REGION["background"], track.landmarks[index].numpy()
    if not np.isfinite(points).all():
        return np.zeros_like(person)
    return _front(person, points)[0]


def torso_mask(
    picture: UInt8[np.ndarray, "H W 3"], person: Mask, points: Float[np.ndarray, "K 2"]
) -> tuple[Mask, Mask]:
    """The torso, and face, hair and ears before it. Without a face a person is all torso."""
    if not np.isfinite(points).all():
        return person, np.zeros_like(person)
    front, above = _front(person, points)
    rows, columns = np.ogrid[0 : person.shape[0], 0 : person.shape[1]]
    wide, chin = np.ptp(points[list(OVAL), 0]), points[152]
    under = (rows < chin[1] + 0.55 * wide) & (np.abs(columns - chin[0]) < 0.5 * wide) & ~above
    return person & ~front & ~(under & _like_skin(picture, points)), front


def _front(person: Mask, points: Float[np.ndarray, "K 2"]) -> tuple[Mask, Mask]:
    """Face, hair and ears; and all that is above the line of the jaw."""
    height, width = person.shape
    rows, columns = np.ogrid[0:height, 0:width]
    jaw = points[_JAW]
    jaw = jaw[np.argsort(jaw[:, 0])]
    above = rows < np.interp(columns[0], jaw[:, 0], jaw[:, 1])[None] - 0.02 * height
    wide, middle = np.ptp(points[list(OVAL), 0]), points[list(OVAL), 0].mean()
    head = above & (np.abs(columns - middle) < 0.95 * wide)
    oval = np.zeros(person.shape, np.uint8)
    ring = np.round(points[list(OVAL)] * 16 - 8).astype(np.int32)
    cv2.fillPoly(oval, [ring[:, None]], (1,), cv2.LINE_8, 4)
    return person & (head | (oval > 0)), above


def _like_skin(picture: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "K 2"]) -> Mask:
    height, width = picture.shape[:2]
    at = points[_TONES].round().astype(int)
    at = at[((at >= 0) & (at < (width, height))).all(1)]
    if not len(at):
        return np.zeros((height, width), bool)
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    tone = np.median(lab[at[:, 1], at[:, 0]], 0)
    near = np.array([75, 14, 14])
    low, high = np.floor(tone - near) + 1, np.ceil(tone + near) - 1
    return cv2.inRange(lab, np.clip(low, 0, 255), np.clip(high, 0, 255)) > 0


def enough(mask: Mask, least: float = 0.04) -> bool:
    """Whether a torso covers so much of the picture that it can be aligned."""
    return bool(np.mean(mask) >= least)
