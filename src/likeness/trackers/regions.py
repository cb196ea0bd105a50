"""What each pixel shows, from landmarks, matte and colour."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from likeness.core.regions import REGION

# Rings of the 478-point mesh, in order around each part.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
OUTER_LIPS = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
)  # fmt: skip
INNER_LIPS = (
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
)  # fmt: skip
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LEFT_IRIS = (474, 475, 476, 477)
RIGHT_IRIS = (469, 470, 471, 472)
JAW = OVAL[8:29]  # from the subject's left ear along the jaw to the right ear


def draw_regions(
    picture: UInt8[np.ndarray, "H W 3"],
    alpha: UInt8[np.ndarray, "H W"],
    points: Float[np.ndarray, "478 3"] | None,
) -> UInt8[np.ndarray, "H W"]:
    """`core.regions` labels. Without a face the person is clothes, for want of knowing better."""
    person = alpha >= 128
    regions = np.where(person, REGION["clothes"], REGION["background"]).astype(np.uint8)
    if points is None or not np.isfinite(points).all():
        return regions
    xy = points[:, :2]
    _outer_parts(regions, picture, person, xy)
    _fill(regions, xy, OVAL, "skin")
    for ring, name in (
        (LEFT_BROW, "brows"), (RIGHT_BROW, "brows"), (LEFT_EYE, "eyes"), (RIGHT_EYE, "eyes"),
        (OUTER_LIPS, "lips"), (INNER_LIPS, "mouth"),
    ):  # fmt: skip
        _fill(regions, xy, ring, name)
    eyes = regions == REGION["eyes"]
    for ring in (LEFT_IRIS, RIGHT_IRIS):
        centre = xy[list(ring)].mean(0)
        radius = 0.5 * max(np.ptp(xy[list(ring), 0]), np.ptp(xy[list(ring), 1]))
        disc = np.zeros_like(regions)
        cv2.circle(disc, _at(centre), int(radius * 16), (1,), -1, cv2.LINE_8, 4)
        regions[(disc > 0) & eyes] = REGION["irises"]
    _teeth(regions, picture)
    return regions


def _at(point: np.ndarray) -> tuple[int, int]:
    return int(point[0] * 16 - 8), int(point[1] * 16 - 8)


def _fill(regions: np.ndarray, xy: np.ndarray, ring: tuple[int, ...], name: str) -> None:
    polygon = np.round(xy[list(ring)] * 16 - 8).astype(np.int32)
    cv2.fillPoly(regions, [polygon[:, None]], (REGION[name],), cv2.LINE_8, 4)


def _outer_parts(
    regions: np.ndarray, picture: np.ndarray, person: np.ndarray, xy: np.ndarray
) -> None:
    """Hair and ears beside and above the face, neck below it, by place and by colour."""
    height, width = regions.shape
    rows, columns = np.mgrid[0:height, 0:width]
    jaw = xy[list(JAW)]
    order = np.argsort(jaw[:, 0])
    jaw_height = np.interp(columns[0], jaw[order, 0], jaw[order, 1])
    above = person & (rows < jaw_height[None] - 0.02 * height)
    face_width = float(np.ptp(xy[list(OVAL), 0]))
    centre = xy[list(OVAL), 0].mean()
    beside = np.abs(columns - centre) < 0.95 * face_width
    regions[above & beside] = REGION["hair"]
    skin = xy[[50, 280, 205, 425, 151, 9]].round().astype(int)
    skin = skin[
        (skin[:, 0] >= 0) & (skin[:, 0] < width) & (skin[:, 1] >= 0) & (skin[:, 1] < height)
    ]
    if len(skin) == 0:
        return
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    tone = np.median(lab[skin[:, 1], skin[:, 0]], 0)
    away = np.abs(lab - tone)
    like_skin = (away[..., 1:].max(-1) < 14) & (away[..., 0] < 75)
    bottom = float(xy[152, 1])
    eye, mouth = float(xy[[33, 263], 1].mean()), float(xy[[61, 291], 1].mean())
    ear_rows = (rows > eye - 0.1 * face_width) & (rows < mouth + 0.05 * face_width)
    regions[above & beside & like_skin & ear_rows] = REGION["ears"]
    below = person & ~above & (rows < bottom + 0.55 * face_width)
    inside = np.abs(columns - xy[152, 0]) < 0.5 * face_width
    regions[below & inside & like_skin] = REGION["neck"]


def _teeth(regions: np.ndarray, picture: np.ndarray) -> None:
    """Bright, colourless pixels inside the mouth."""
    mouth = regions == REGION["mouth"]
    if mouth.sum() < 6:
        return
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    bright = (hsv[..., 1] < 110) & (hsv[..., 2] > max(70, 0.6 * float(hsv[..., 2][mouth].max())))
    regions[mouth & bright] = REGION["teeth"]
