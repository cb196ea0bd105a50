"""What a few pictures of a clip say about the recording: blur, light, things before the face."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from likeness.core.capture import Capture
from likeness.trackers.detection import Landmarks2D
from likeness.trackers.eyes import RIMS
from likeness.trackers.mesh_points import FaceBoxes
from likeness.trackers.regions import LEFT_BROW, OUTER_LIPS, OVAL, RIGHT_BROW

_LOOKS = 30
_PEOPLE = 5  # pictures in which other people are looked for
_SOFT = 0.6  # of the clip's median sharpness: a picture below was shaken or moved through
_TONE, _BRIGHT = 16.0, 60.0  # of 255 in Lab: a point differs when it is further from its usual self
_COVERED = 0.12  # share of the skin's points that differ where something is before the face
_DARK = 0.45  # of the cheeks' brightness: skin around the eyes is never that dark
_AROUND_EYES = (224, 223, 222, 444, 443, 442, 229, 230, 231, 449, 450, 451)
_CHEEKS = (50, 280, 205, 425, 101, 330)
_MOVING = {*OVAL, *OUTER_LIPS, *LEFT_BROW, *RIGHT_BROW, *RIMS.ravel().tolist()}
_SKIN = np.array([i for i in range(468) if i not in _MOVING])


@dataclass(frozen=True)
class PictureFigures:
    """Medians and shares over the pictures looked at."""

    sharp: float
    """The face's Laplacian against its contrast."""
    soft: float
    """Share of pictures far less sharp than the others."""
    light: float
    """How the face's brightness varies (standard deviation, 0 to 1)."""
    covered: float
    """Share of pictures in which skin is not as it usually is."""
    glasses: bool
    """Whether the eyes are behind something dark."""
    people: int
    moving: float
    """Mean change from picture to picture, 0 to 1; a still picture has none."""


def picture_figures(capture: Capture, found: Landmarks2D) -> PictureFigures:
    seen = np.flatnonzero(found.confidence > 0)
    chosen = seen[np.linspace(0, len(seen) - 1, min(_LOOKS, len(seen))).round().astype(int)]
    sharp, light, skin, dark, small = [], [], [], [], []
    for index in dict.fromkeys(chosen.tolist()):
        picture, points = capture[index].rgb8, found.points[index, :468, :2]
        face = _face(picture, points)
        sharp.append(float(cv2.Laplacian(face, cv2.CV_32F).std() / (face.std() + 1)))
        light.append(float(face.mean() / 255))
        colours = _colours(picture, points)
        skin.append(colours[_SKIN])
        around, cheeks = (colours[list(which), 0] for which in (_AROUND_EYES, _CHEEKS))
        dark.append(float(np.median(around) / max(np.median(cheeks), 1)))
        small.append(cv2.resize(picture, (24, 24), interpolation=cv2.INTER_AREA) / 255)
    change = np.abs(np.diff(np.stack(small), axis=0)).mean() if len(small) > 1 else 0.0
    usual = float(np.median(sharp))
    return PictureFigures(
        usual,
        float(np.mean(np.array(sharp) < _SOFT * usual)),
        float(np.std(light)),
        float((_differing(np.stack(skin)) > _COVERED).mean()),
        float(np.median(dark)) < _DARK,
        _people(capture, found, chosen),
        float(change),
    )


def _face(picture: np.ndarray, points: np.ndarray) -> Float[np.ndarray, "128 128"]:
    height, width = picture.shape[:2]
    x0, y0 = np.clip(points.min(0), 0, [width - 2, height - 2]).astype(int)
    x1, y1 = np.clip(points.max(0), [x0 + 2, y0 + 2], [width, height]).astype(int)
    grey = cv2.cvtColor(picture[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32)


def _colours(
    picture: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "N 2"]
) -> Float[np.ndarray, "N 3"]:
    """Lab, 0 to 255, of the blurred picture at the points."""
    wide = max(3, round(float(np.ptp(points[:, 0])) / 40) | 1)
    lab = cv2.cvtColor(cv2.blur(picture, (wide, wide)), cv2.COLOR_RGB2LAB)
    at = np.clip(points, 0, [picture.shape[1] - 1, picture.shape[0] - 1]).astype(int)
    return lab[at[:, 1], at[:, 0]].astype(np.float32)


def _differing(skin: Float[np.ndarray, "L N 3"]) -> Float[np.ndarray, " L"]:
    """Share of points, picture by picture, that are not as they usually are; light that changes
    everywhere alike does not count."""
    level = skin - np.median(skin, axis=1, keepdims=True)
    away = np.abs(level - np.median(level, axis=0))
    return ((away[..., 0] > _BRIGHT) | (away[..., 1:].max(-1) > _TONE)).mean(-1)


def _people(capture: Capture, found: Landmarks2D, chosen: np.ndarray) -> int:
    """How many faces there are at least half as large as the tracked one, in most pictures."""
    looks = chosen[np.linspace(0, len(chosen) - 1, min(_PEOPLE, len(chosen))).round().astype(int)]
    counts = []
    with FaceBoxes() as boxes:
        for index in dict.fromkeys(looks.tolist()):
            width = float(np.ptp(found.points[index, :468, 0]))
            sides = [side for _, _, side in boxes.find(capture[index].rgb8)]
            counts.append(max(1, sum(side > 0.5 * width for side in sides)))
    return int(np.median(counts))
