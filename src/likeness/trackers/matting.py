"""The person apart from what is behind: soft mattes, and the clean backdrop."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from likeness.core.capture import Capture
from likeness.core.progress import counted
from likeness.trackers.camera_motion import steadied
from likeness.trackers.mesh_points import quietly

_LOOKS = 40  # pictures the backdrop is estimated from
_WIDE = 6  # pixels: a window's radius from which half the size will do


class Matting:
    """Soft alpha of the person: bundled segmentation, drawn to the edges of the picture."""

    def __init__(self) -> None:
        import mediapipe as mp

        with quietly():
            self._segmenter: Any = mp.solutions.selfie_segmentation.SelfieSegmentation(  # type: ignore[attr-defined]
                model_selection=0
            )

    def __enter__(self) -> "Matting":
        return self

    def __exit__(self, *_: object) -> None:
        with quietly():
            self._segmenter.close()

    def mask(self, picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
        """Roughly where the person is."""
        with quietly():
            return self._segmenter.process(np.ascontiguousarray(picture)).segmentation_mask

    def alpha(
        self, picture: UInt8[np.ndarray, "H W 3"], mask: Float[np.ndarray, "h w"]
    ) -> Float[np.ndarray, "H W"]:
        height, width = picture.shape[:2]
        mask = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        guide = picture.astype(np.float32) / 255
        radius = max(2, width // 64)
        return sharpened(guided(guide, mask, radius, 1e-4))


def guided(
    guide: Float[np.ndarray, "H W 3"], mask: Float[np.ndarray, "H W"], radius: int, eps: float
) -> Float[np.ndarray, "H W"]:
    """Guided filter (He et al., 2010) with a colour guide: the mask takes the picture's edges. With
    a wide window what is linear within it is found at half the size (He and Sun, 2015)."""
    height, width = mask.shape
    if radius < _WIDE:
        slope, offset = _linear(guide, mask, radius, eps)
    else:
        half = (width // 2, height // 2)
        small = [cv2.resize(x, half, interpolation=cv2.INTER_AREA) for x in (guide, mask)]
        parts = _linear(*small, radius // 2, eps)  # type: ignore[arg-type]
        slope, offset = (cv2.resize(x, (width, height)) for x in parts)
    return np.clip(np.einsum("hwc,hwc->hw", slope, guide) + offset, 0, 1)


def _linear(
    guide: Float[np.ndarray, "H W 3"], mask: Float[np.ndarray, "H W"], radius: int, eps: float
) -> tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W"]]:
    """What the mask is of the guide, linearly, within windows: slopes and an offset."""
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, size, borderType=cv2.BORDER_REFLECT)

    r, g, b = cv2.split(guide)
    mr, mg, mb, mp = mean(r), mean(g), mean(b), mean(mask)
    x, y, z = mean(r * mask) - mr * mp, mean(g * mask) - mg * mp, mean(b * mask) - mb * mp
    rr, rg, rb = mean(r * r) - mr * mr + eps, mean(r * g) - mr * mg, mean(r * b) - mr * mb
    gg, gb, bb = mean(g * g) - mg * mg + eps, mean(g * b) - mg * mb, mean(b * b) - mb * mb + eps
    # the inverse of the symmetric 3x3 matrix, written out
    i00, i01, i02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    i11, i12, i22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    over = 1 / np.maximum(rr * i00 + rg * i01 + rb * i02, 1e-18)
    p = (i00 * x + i01 * y + i02 * z) * over
    q = (i01 * x + i11 * y + i12 * z) * over
    s = (i02 * x + i12 * y + i22 * z) * over
    offset = mp - p * mr - q * mg - s * mb
    return np.stack([mean(p), mean(q), mean(s)], -1), mean(offset)


def sharpened(alpha: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Nearly-sure pixels made sure, so that walls do not glow through cheeks."""
    return np.clip((alpha - 0.1) / 0.8, 0, 1).astype(np.float32)


def estimate_backdrop(
    capture: Capture, alphas: dict[int, UInt8[np.ndarray, "H W"]], swaying: Float[np.ndarray, "T 4"]
) -> tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "H W"]]:
    """What the first frame's camera sees behind the person, and where that was ever seen (0 to 1).

    The median over time of what lies well outside the mattes; where nothing ever does, the
    nearest known colours are continued inwards. `swaying` is the camera's own motion, undone.
    """
    indices = sorted(alphas)
    chosen = [indices[i] for i in np.linspace(0, len(indices) - 1, _LOOKS).round().astype(int)]
    pictures, masks = [], []
    for index in counted(dict.fromkeys(chosen), "looking behind the person"):
        pictures.append(steadied(capture[index].rgb8, swaying[index]))
        reach = max(3, pictures[-1].shape[1] // 40) | 1
        alpha = steadied(alphas[index], swaying[index])
        near = cv2.dilate(alpha, np.ones((reach, reach), np.uint8))
        masks.append(near < 13)
    seen = np.stack(masks)
    backdrop = _median(np.stack(pictures), seen)
    known = seen.sum(0) >= min(2, len(seen))
    if not known.any():
        return np.full_like(backdrop, 128), known.astype(np.float32)
    return continued(backdrop, known), known.astype(np.float32)


def _median(
    pictures: UInt8[np.ndarray, "T H W 3"], seen: Bool[np.ndarray, "T H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Of the pictures in which a pixel is seen; 0 where it never is."""
    count = seen.sum(0)
    last = np.where(seen[..., None], pictures, np.uint8(255))  # what is not seen is sorted away
    row = np.sort(np.moveaxis(last, 0, -1), axis=-1)
    ends = ((np.maximum(count, 1) - 1) // 2, count // 2)
    low, high = (
        np.take_along_axis(row, np.minimum(end, len(seen) - 1)[..., None, None], -1)[..., 0]
        for end in ends
    )
    middle = (low.astype(np.uint16) + high) // 2
    return np.where(count[..., None] > 0, middle, 0).astype(np.uint8)


def continued(picture: UInt8[np.ndarray, "H W 3"], known: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """Unknown pixels filled from known ones around them, smoothly: a pyramid of known means."""
    levels = [(picture.astype(np.float32) * known[..., None], known.astype(np.float32))]
    while min(levels[-1][1].shape) > 1:
        colour, weight = levels[-1]
        half = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        smaller = [cv2.resize(p, half, interpolation=cv2.INTER_AREA) for p in (colour, weight)]
        levels.append((np.asarray(smaller[0], np.float32), np.asarray(smaller[1], np.float32)))
    colour, weight = levels[-1]
    filled = colour / np.maximum(weight, 1e-6)[..., None]
    for colour, weight in reversed(levels[:-1]):
        up = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        own = colour / np.maximum(weight, 1e-6)[..., None]
        share = np.clip(weight, 0, 1)[..., None]
        filled = share * own + (1 - share) * up
    return np.clip(filled + 0.5, 0, 255).astype(np.uint8)
