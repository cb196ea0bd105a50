"""What each pixel shows, from landmarks, matte and colour."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from likeness.core.regions import REGION
from likeness.ops.jit import njit
from likeness.trackers.places import places
from likeness.trackers.tones import Share, alike, colours, fit_of, share_of, skin_shares

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

_TRUST = 0.6  # in colours: neighbours' say the same thing twice
_FACE = 4.0  # log odds of skin inside the oval, besides its place: fringes must be plain to see
_BALD = 0.87  # of the pixels above a face have its own colours where no hair is
_RARE = {"skin": 6e-6, "hair": 3e-5, "clothes": 1e-4}
"""Shares of colours not seen in a part: much of the clothes is out of the picture."""


def draw_regions(
    picture: UInt8[np.ndarray, "H W 3"],
    alpha: UInt8[np.ndarray, "H W"],
    points: Float[np.ndarray, "478 3"] | None,
) -> UInt8[np.ndarray, "H W"]:
    """`core.regions` labels. Without a face the person is clothes, for want of knowing better."""
    person = alpha >= 128
    regions = person * np.uint8(REGION["clothes"])  # the background is 0
    if points is None or not np.isfinite(points).all():
        return regions
    xy = points[:, :2]
    features = np.zeros_like(regions)
    for ring, name in (
        (LEFT_BROW, "brows"), (RIGHT_BROW, "brows"), (LEFT_EYE, "eyes"), (RIGHT_EYE, "eyes"),
        (OUTER_LIPS, "lips"), (INNER_LIPS, "mouth"),
    ):  # fmt: skip
        _fill(features, xy, ring, REGION[name])
    _irises(features, xy)
    _teeth(features, picture)
    here, corner = _around(person)
    if person.any():
        parts = _parts(picture[here], person[here], features[here] == 0, xy - corner)
        regions[here] = parts * person[here]
    return np.where(features > 0, features, regions)


def _around(part: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """The box around a part, and its corner."""
    x, y, width, height = cv2.boundingRect(part.view(np.uint8))
    return (slice(y, y + height), slice(x, x + width)), np.array([x, y])


def _at(point: np.ndarray) -> tuple[int, int]:
    return int(point[0] * 16 - 8), int(point[1] * 16 - 8)


def _fill(regions: np.ndarray, xy: np.ndarray, ring: tuple[int, ...], label: int) -> None:
    polygon = np.round(xy[list(ring)] * 16 - 8).astype(np.int32)
    cv2.fillPoly(regions, [polygon[:, None]], (label,), cv2.LINE_8, 4)


def _parts(
    picture: np.ndarray, person: np.ndarray, plain: np.ndarray, xy: np.ndarray
) -> UInt8[np.ndarray, "H W"]:
    """Skin, hair, ears, neck and clothes: what is likely at a place and has its colours."""
    oval = np.zeros(person.shape, np.uint8)
    _fill(oval, xy, OVAL, 1)
    face = oval.view(bool)
    at = places(xy, OVAL, *person.shape)
    steps = colours(picture)
    near, _ = _around(face)
    seen = picture[near][face[near] & plain[near] & (at.down[near] < at.mouth - 0.1)]  # no beards
    skins = skin_shares(seen)
    hair = share_of(steps[person & (at.down < at.eyes) & (at.out > 0.1)])
    if hair is not None and skins[0] is not None and alike(hair, skins[0]) > _BALD:
        hair = None
    clothes = share_of(steps[person & (at.down > at.chin + 0.2) & (at.out > 0.2)])
    fits = _fits(skins, hair, clothes)
    _add_fits(at.odds, fits, steps, at.down, np.float32(at.eyes), face, np.float32(_FACE))
    reach = 1 + 2 * max(1, round(at.height / 60))
    odds = cv2.blur(at.odds, (reach, reach))
    is_skin = (odds[..., 0] > odds[..., 1]) & (odds[..., 0] > 0) & person
    is_skin = _joined(is_skin, face & person)
    is_hair = (odds[..., 1] > 0) & ~is_skin & person
    is_hair = _joined(is_hair, is_hair & (at.down < at.mouth))
    regions = np.full(person.shape, REGION["clothes"], np.uint8)
    regions[is_hair] = REGION["hair"]
    regions[is_skin] = REGION["skin"]
    is_skin &= ~face
    under = at.down > at.mouth + 0.05
    beside = ~under & (at.down > 0.5 * (at.brows + at.eyes))
    thick = np.ones((reach, reach), np.uint8)
    for name, where in (("neck", under), ("ears", beside)):
        part = (is_skin & where).view(np.uint8)
        part = cv2.morphologyEx(part, cv2.MORPH_OPEN, thick)  # slivers are jaws and cheeks
        regions[part > 0] = REGION[name]
    return regions


def _fits(
    skins: tuple[Share | None, Share | None], hair: Share | None, clothes: Share | None
) -> Float[np.ndarray, "2 B 2"]:
    """How much better each colour fits skin (of the second kind below the eyes) and hair than
    clothes."""
    against = fit_of(clothes, _RARE["clothes"])
    other = fit_of(hair, _RARE["hair"]) - against
    both = [np.stack([fit_of(skin, _RARE["skin"]) - against, other], -1) for skin in skins]
    return np.float32(_TRUST) * np.stack(both)


@njit(cache=True, nogil=True)
def _add_fits(odds, fits, steps, down, eyes, face, sure):
    """To the odds of places those of colours, and those of the face."""
    for y in range(odds.shape[0]):
        for x in range(odds.shape[1]):
            row = fits[1 if down[y, x] > eyes else 0, steps[y, x]]
            odds[y, x, 0] += row[0] + sure * face[y, x]
            odds[y, x, 1] += row[1]


def _joined(part: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The pieces of a part that reach somewhere."""
    count, found = cv2.connectedComponents(part.view(np.uint8), connectivity=4)
    pieces, keep = np.asarray(found, np.int32), np.zeros(count, bool)
    keep[pieces[to & part]] = True
    keep[0] = False
    return keep.take(pieces)


def _irises(regions: np.ndarray, xy: np.ndarray) -> None:
    here, corner = _around(regions == REGION["eyes"])
    regions, xy = regions[here], xy - corner
    eyes = regions == REGION["eyes"]
    for ring in (LEFT_IRIS, RIGHT_IRIS):
        centre = xy[list(ring)].mean(0)
        radius = 0.5 * max(np.ptp(xy[list(ring), 0]), np.ptp(xy[list(ring), 1]))
        disc = np.zeros_like(regions)
        cv2.circle(disc, _at(centre), int(radius * 16), (1,), -1, cv2.LINE_8, 4)
        regions[(disc > 0) & eyes] = REGION["irises"]


def _teeth(regions: np.ndarray, picture: np.ndarray) -> None:
    """Bright, colourless pixels inside the mouth."""
    here, _ = _around(regions == REGION["mouth"])
    mouth = regions[here] == REGION["mouth"]
    if mouth.sum() < 6:
        return
    hsv = cv2.cvtColor(picture[here], cv2.COLOR_RGB2HSV)
    bright = (hsv[..., 1] < 110) & (hsv[..., 2] > max(70, 0.6 * float(hsv[..., 2][mouth].max())))
    regions[here][mouth & bright] = REGION["teeth"]
