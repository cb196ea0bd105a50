"""Who a head can be: smooth directions, one standard deviation each (mm), for all parts alike.

A direction is a bump (1 - d^2)^2 of an ellipsoid, summed with its mirror image, that translates or
stretches. It is a function of place, so skin, eyes, teeth and ears follow the same field.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Field = Callable[[np.ndarray], np.ndarray]


def _bump(points: np.ndarray, centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    away = (points - np.array(centre)) / np.array(radii)
    return np.clip(1 - (away * away).sum(-1), 0, None)[:, None] ** 2


def _move(
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    by: tuple[float, float, float],
) -> Field:
    """Both sides moved alike; a centre on the middle counts once."""

    def field(points: np.ndarray) -> np.ndarray:
        left = _bump(points, centre, radii) * np.array(by)
        if centre[0] == 0:
            return left * [0 if by[0] == 0 else 1, 1, 1]
        other = points * [-1, 1, 1]
        return left + _bump(other, centre, radii) * np.array(by) * [-1, 1, 1]

    return field


def _stretch(
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    by: tuple[float, float, float],
) -> Field:
    """Scaled about the centre by 1 + `by` at most; about the middle plane when it is on it."""

    def field(points: np.ndarray) -> np.ndarray:
        left = _bump(points, centre, radii) * (points - np.array(centre)) * np.array(by)
        if centre[0] == 0:
            return left
        other = points * [-1, 1, 1]
        right = _bump(other, centre, radii) * (other - np.array(centre)) * np.array(by)
        return left + right * [-1, 1, 1]

    return field


_BIG = (400.0, 400.0, 400.0)
_C = (0.0, -20.0, -60.0)

DIRECTIONS: dict[str, Field] = {
    "head_size": _stretch(_C, _BIG, (0.03, 0.03, 0.03)),
    "head_width": _stretch(_C, _BIG, (0.035, 0, 0)),
    "head_depth": _stretch(_C, _BIG, (0, 0, 0.035)),
    "skull_height": _stretch((0, 30, -70), (190, 120, 190), (0, 0.10, 0)),
    "occiput_back": _move((0, 20, -150), (110, 110, 90), (0, 0, -7)),
    "forehead_slope": _move((0, 62, 0), (85, 55, 70), (0, 0, -4)),
    "forehead_width": _stretch((0, 50, -30), (120, 60, 90), (0.045, 0, 0)),
    "temple_width": _move((62, 25, -35), (40, 50, 55), (2.5, 0, 0)),
    "brow_ridge": _move((24, 18, 20), (38, 20, 34), (0, 0, 2.2)),
    "brow_height": _move((28, 20, 18), (40, 22, 36), (0, 1.8, 0)),
    "face_length": _stretch((0, 0, 10), (150, 170, 140), (0, 0.045, 0)),
    "cheekbone_out": _move((54, -22, -5), (40, 40, 50), (2.6, 0, 1.0)),
    "cheekbone_height": _move((50, -20, 2), (38, 34, 48), (0, 2.2, 0)),
    "cheek_full": _move((44, -58, 6), (40, 42, 50), (2.6, 0, 1.6)),
    "jaw_width": _move((52, -82, -25), (58, 58, 66), (3.6, 0, 0)),
    "gonion_low": _move((58, -82, -48), (54, 54, 56), (0, -3.5, 0)),
    "chin_down": _move((0, -112, 14), (52, 40, 50), (0, -3.2, 0)),
    "chin_forward": _move((0, -108, 16), (46, 38, 50), (0, 0, 3.0)),
    "chin_wide": _stretch((0, -108, 12), (56, 38, 50), (0.12, 0, 0)),
    "under_chin": _move((0, -128, -15), (60, 40, 60), (0, -5, 0)),
    "nose_length": _move((0, -40, 40), (26, 30, 34), (0, -2.4, 0)),
    "nose_protrusion": _move((0, -34, 44), (26, 30, 40), (0, 0, 2.2)),
    "nose_width": _stretch((0, -42, 34), (36, 26, 36), (0.13, 0, 0)),
    "nose_bridge_width": _stretch((0, -8, 28), (28, 32, 34), (0.20, 0, 0)),
    "nose_bridge_height": _move((0, -4, 26), (22, 26, 30), (0, 0, 1.8)),
    "nose_hump": _move((0, -18, 38), (18, 16, 24), (0, 0, 1.5)),
    "nose_tip_up": _move((0, -34, 50), (20, 18, 24), (0, 1.8, 0)),
    "nostril_flare": _move((16, -42, 30), (13, 15, 20), (1.2, 0, 0)),
    "eye_spacing": _move((31.5, 2, 0), (34, 26, 36), (1.3, 0, 0)),
    "eye_opening": _stretch((31.5, 1, 8), (26, 14, 24), (0, 0.10, 0)),
    "eye_tilt": _move((46, 1, 4), (20, 18, 26), (0, 1.1, 0)),
    "eye_depth": _move((31.5, 2, 0), (36, 28, 40), (0, 0, 1.4)),
    "eye_bags": _move((32, -14, 14), (22, 12, 24), (0, -0.4, 1.1)),
    "mouth_width": _stretch((0, -66, 24), (50, 30, 46), (0.09, 0, 0)),
    "upper_lip_full": _stretch((0, -62, 32), (36, 12, 26), (0, 0.16, 0.03)),
    "lower_lip_full": _stretch((0, -72, 32), (36, 13, 26), (0, 0.16, 0.03)),
    "mouth_height": _move((0, -66, 26), (48, 28, 44), (0, 1.8, 0)),
    "mouth_protrusion": _move((0, -66, 26), (44, 30, 44), (0, 0, 1.8)),
    "philtrum_depth": _move((0, -54, 38), (7, 9, 16), (0, 0, -0.8)),
    "cupids_bow": _move((5, -60, 36), (8, 8, 18), (0, 0.9, 0)),
    "ear_size": _stretch((75, -20, -85), (30, 50, 46), (0.09, 0.09, 0.09)),
    "ear_out": _move((84, -18, -96), (26, 44, 30), (4.0, 0, 0)),
    "ear_height": _move((75, -20, -85), (30, 52, 46), (0, 2.5, 0)),
    "neck_width": _stretch((0, -165, -80), (150, 90, 150), (0.08, 0, 0.05)),
    "throat": _move((0, -150, -32), (30, 30, 40), (0, 0, 2.5)),
    "nape": _move((0, -95, -135), (70, 60, 50), (0, 0, -4)),
}

# How the head at rest differs from the measured landmarks with their published corrections of
# depth: with wider cheeks and a smaller lower face MediaPipe's mesh meets synthetic people better,
# and its layout is nearer to the mean face. Made with `benchmarks/clay_landmarks.py`.
NEUTRAL = {
    "forehead_slope": 0.3,
    "temple_width": 0.4,
    "brow_ridge": 0.3,
    "cheekbone_out": 0.45,
    "jaw_width": 0.45,
    "chin_down": -0.35,
    "chin_forward": -0.15,
    "under_chin": 0.6,
    "nose_length": -0.3,
    "nose_bridge_width": -0.35,
    "nose_bridge_height": -0.3,
    "mouth_protrusion": -0.65,
}


def displaced(name: str, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """What one standard deviation of a direction does to points."""
    return DIRECTIONS[name](points)
