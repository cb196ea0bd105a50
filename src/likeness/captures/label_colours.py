"""The colours and numbers in which published data sets store what a pixel shows."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from likeness.captures.picture_files import load_grey, load_picture
from likeness.core.regions import REGION

# AD-NeRF and NeRFBlendShape: three parts on white, RGB as stored. "Head" has no finer label.
_HEAD, _NECK, _CLOTHES, _BACKDROP = (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)

# SAHS: twelve classes, RGB as stored (its own table lists them the other way round).
SAHS_PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),
    (0, 0, 204),
    (0, 153, 76),
    (0, 204, 204),
    (255, 51, 51),
    (255, 255, 0),
    (0, 51, 102),
    (0, 204, 102),
    (0, 255, 255),
    (204, 0, 0),
    (51, 153, 255),
    (0, 204, 0),
)
_SAHS_REGIONS = [
    "background",
    "skin",
    "skin",
    "skin",
    "eyes",
    "brows",
    "ears",
    "mouth",
    "lips",
    "hair",
    "neck",
    "clothes",
]
UNKNOWN = 255
"""The class of a pixel whose colour is in no table."""

# The 19 classes of the face parser that NHA stores, by number.
_NHA_REGIONS = [
    "background",
    "skin",
    "brows",
    "brows",
    "eyes",
    "eyes",
    "skin",
    "ears",
    "ears",
    "ears",
    "skin",
    "mouth",
    "lips",
    "lips",
    "neck",
    "clothes",
    "clothes",
    "hair",
    "hair",
]


def head_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    """255 where an AD-NeRF style parsing picture says head, exactly (0, 0, 255)."""
    return _equals(load_picture(path)[0], _HEAD)


def three_part_alpha(path: Path) -> UInt8[np.ndarray, "H W"]:
    """The person in an AD-NeRF style parsing picture: all that is not white."""
    return 255 - _equals(load_picture(path)[0], _BACKDROP)


def three_part_regions(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Our labels for an AD-NeRF style parsing picture; the whole head counts as skin."""
    rgb = load_picture(path)[0]
    labels = np.zeros(rgb.shape[:2], np.uint8)
    for colour, name in ((_HEAD, "skin"), (_NECK, "neck"), (_CLOTHES, "clothes")):
        labels[_equals(rgb, colour) > 0] = REGION[name]
    return labels


def sahs_classes(path: Path) -> UInt8[np.ndarray, "H W"]:
    """The class of each pixel in a SAHS parsing picture; `UNKNOWN` for colours of no class."""
    rgb = load_picture(path)[0]
    classes = np.full(rgb.shape[:2], UNKNOWN, np.uint8)
    for number, colour in enumerate(SAHS_PALETTE):
        classes[_equals(rgb, colour) > 0] = number
    return classes


def sahs_regions(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Our labels for a SAHS parsing picture; unknown colours count as background."""
    return _lookup(sahs_classes(path), _SAHS_REGIONS)


def sahs_alpha(path: Path) -> UInt8[np.ndarray, "H W"]:
    """The person in a SAHS parsing picture."""
    return _person(sahs_regions(path))


def nha_regions(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Our labels for an NHA parsing picture."""
    return _lookup(load_grey(path), _NHA_REGIONS)


def nha_alpha(path: Path) -> UInt8[np.ndarray, "H W"]:
    """The foreground of an NHA segmentation picture: any label but 0 and 200 (clothes)."""
    labels = load_grey(path)
    return np.where((labels == 0) | (labels == 200), 0, 255).astype(np.uint8)


def _equals(rgb: np.ndarray, colour: tuple[int, int, int]) -> UInt8[np.ndarray, "H W"]:
    return np.where((rgb == np.array(colour, np.uint8)).all(-1), 255, 0).astype(np.uint8)


def _lookup(classes: np.ndarray, names: list[str]) -> UInt8[np.ndarray, "H W"]:
    table = np.zeros(256, np.uint8)
    table[: len(names)] = [REGION[n] for n in names]
    return table[classes]


def _person(regions: np.ndarray) -> UInt8[np.ndarray, "H W"]:
    return np.where(regions == REGION["background"], 0, 255).astype(np.uint8)
