"""What `evaluate` says about one picture, and about many."""

from collections.abc import Callable
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from likeness.core.regions import HEAD_REGIONS, REGION
from likeness.ops.image import l1, perceptual, psnr, ssim

PARTS: dict[str, tuple[str, ...]] = {
    "skin": ("skin", "brows", "ears"),
    "eyes": ("eyes", "irises"),
    "mouth": ("lips", "mouth", "teeth", "tongue"),
    "hair": ("hair", "scalp"),
    "neck": ("neck",),
    "clothes": ("clothes",),
    "background": ("background",),
}
"""Semantic regions in the groups that figures are given for."""
BOXES = ("mouth", "eyes")
_WHOLE = ("psnr", "ssim", "l1", "perceptual", "lpips")
_FEW = 8  # pixels of a region below which its figure says nothing

Measure = Callable[[Tensor, Tensor], float]
Box = tuple[slice, slice]


def compared(drawn: Tensor, truth: Tensor, lpips: Measure | None = None) -> dict[str, float]:
    """Every figure of one picture, or of one box."""
    values = {
        "psnr": float(psnr(drawn, truth)),
        "ssim": float(ssim(drawn, truth)),
        "l1": float(l1(drawn, truth)),
        "perceptual": float(perceptual(drawn, truth)),
    }
    return values if lpips is None else {**values, "lpips": lpips(drawn, truth)}


def regional(
    drawn: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"], labels: UInt8[np.ndarray, "H W"]
) -> dict[str, Any]:
    """PSNR of the pixels of each region, and inside boxes around mouth and eyes."""
    row: dict[str, Any] = {}
    apart: dict[str, float] = {}
    for name, members in PARTS.items():
        inside = np.isin(labels, [REGION[m] for m in members])
        if int(inside.sum()) >= _FEW:
            mask = torch.from_numpy(inside.astype(np.float32))
            apart[name] = float(psnr(drawn, truth, mask))
    if apart:
        row["regions"] = apart
    for name in BOXES:
        box = box_of(labels, PARTS[name])
        if box is not None:
            row[name] = {"psnr": float(psnr(drawn[box], truth[box]))}
    return row


def box_of(regions: UInt8[np.ndarray, "H W"], names: tuple[str, ...]) -> Box | None:
    """The box around some regions, a quarter wider and higher; None when none is seen."""
    rows, columns = np.nonzero(np.isin(regions, [REGION[name] for name in names]))
    if len(rows) == 0:
        return None

    def span(at: np.ndarray, size: int) -> slice:
        margin = max(2, round(0.125 * (int(at.max()) - int(at.min()) + 1)))
        return slice(max(0, int(at.min()) - margin), min(size, int(at.max()) + 1 + margin))

    return span(rows, regions.shape[0]), span(columns, regions.shape[1])


def head_box(
    landmarks: Float[Tensor, "K 2"] | None,
    regions: UInt8[np.ndarray, "H W"] | None,
    width: int,
    height: int,
) -> Box | None:
    """The box around the face's landmarks, a quarter wider on each side and below, two fifths
    higher; without landmarks the box around the head's regions."""
    if landmarks is not None:
        seen = landmarks[landmarks.isfinite().all(-1)]
        if len(seen) >= 3:
            low, high = seen.amin(0), seen.amax(0)
            span = high - low
            left, right = low[0] - 0.25 * span[0], high[0] + 0.25 * span[0]
            top, bottom = low[1] - 0.4 * span[1], high[1] + 0.25 * span[1]
            rows = slice(max(0, int(top)), min(height, int(bottom) + 1))
            columns = slice(max(0, int(left)), min(width, int(right) + 1))
            if rows.stop - rows.start >= 8 and columns.stop - columns.start >= 8:
                return rows, columns
    return None if regions is None else box_of(regions, HEAD_REGIONS)


def on_white(
    drawn_on_white: Float[Tensor, "H W 3"],
    truth: Float[Tensor, "H W 3"],
    regions: UInt8[np.ndarray, "H W"],
    alpha: Float[Tensor, "H W"] | None,
) -> tuple[Tensor, Tensor] | None:
    """Render and truth of the head alone on white; None where no head is to be seen."""
    labels = np.array([REGION[name] for name in HEAD_REGIONS])
    inside = torch.from_numpy(np.isin(regions, labels))
    if not bool(inside.any()):
        return None
    share = inside.float() if alpha is None else inside * alpha
    alone = truth * share[..., None] + (1 - share[..., None])
    return torch.where(inside[..., None], drawn_on_white, 1.0), alone


def totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over frames, the spread of each figure, and the frames themselves."""
    result: dict[str, Any] = {n: fmean(r[n] for r in rows) for n in _WHOLE if n in rows[0]}
    spread = {n: spread_of([r[n] for r in rows]) for n in _WHOLE if n in rows[0]}
    for part in ("box", "head", "regions", *BOXES):
        seen = [r[part] for r in rows if part in r]
        names = [n for n in _WHOLE + tuple(PARTS) if any(n in s for s in seen)]
        if seen:
            means = {n: fmean(s[n] for s in seen if n in s) for n in names}
            result[part] = means if part == "regions" else means | {"frames": len(seen)}
            if "psnr" in names:
                spread[f"{part} psnr"] = spread_of([s["psnr"] for s in seen])
    result["std"] = {n: spread[n]["std"] for n in _WHOLE if n in spread}
    result["worst"] = {"psnr": min(r["psnr"] for r in rows)}
    result["spread"] = spread
    result["per_frame"] = rows
    return result


def spread_of(values: list[float]) -> dict[str, float]:
    """Standard deviation, least, 5th percentile, median and greatest of one figure."""
    low, middle = np.percentile(values, [5, 50])
    return {
        "std": pstdev(values),
        "min": min(values),
        "p5": float(low),
        "median": float(middle),
        "max": max(values),
    }
