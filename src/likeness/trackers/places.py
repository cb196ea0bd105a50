"""Where skin, hair and clothes usually are around a face.

A chart says for places seen from the face how likely each part is there. Its rows go from above
the head down to the chest, its columns away from the face's oval.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

_OUT = (0.0, 0.06, 0.12, 0.2, 0.3, 0.5, 0.8)  # face heights away from the oval

# Log odds against clothes of skin and of hair, from the oval outwards.
_ROWS = {
    "crown": ((7.0, 6.0, 5.2, 4.0, 2.4, 0.0, -2.0), (5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)),
    "brows": ((7.0, 6.0, 5.2, 4.0, 2.4, 0.0, -2.0), (5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)),
    "eyes": ((7.0, 6.0, 5.5, 3.0, 0.0, -3.0, -5.0), (4.5, 4.5, 4.5, 4.5, 4.5, 4.5, 3.0)),
    "mouth": ((6.0, 5.0, 4.0, 1.5, -2.0, -4.0, -6.0), (3.0, 3.5, 3.5, 3.5, 3.5, 2.5, 0.0)),
    "chin": ((4.5, 2.5, 1.3, 0.5, -1.0, -3.5, -6.0), (0.0, 1.0, 1.5, 1.5, 1.0, 0.0, -2.0)),
    "throat": ((3.5, 2.0, 1.3, 0.5, -0.5, -2.5, -6.0), (-3.0, -2.0, -1.0, -0.5, -0.5, -0.5, -2.5)),
    "collar": ((2.0, 1.3, 0.5, -0.5, -1.5, -3.0, -6.0), (-5.0, -4.0, -3.5, -2.5, -2.0, -1.5, -3.0)),
    "chest": ((-4, -4, -4, -4, -4, -5, -7), (-7, -7, -7, -6, -5, -4, -5)),
}  # fmt: skip
_CHART = np.array(list(_ROWS.values()), np.float32).transpose(0, 2, 1).copy()


@dataclass(frozen=True, eq=False)
class Places:
    """Pixels as seen from a face, in heights of it: `out` is how far outside of the oval, `down`
    how far below the oval's top, as are `brows`, `eyes`, `mouth` and `chin`. `odds` are the log
    odds of skin and hair against clothes; `height` is in pixels."""

    out: Float[np.ndarray, "H W"]
    down: Float[np.ndarray, "H W"]
    odds: Float[np.ndarray, "H W 2"]
    brows: float
    eyes: float
    mouth: float
    chin: float
    height: float


def places(xy: Float[np.ndarray, "P 2"], oval: tuple[int, ...], height: int, width: int) -> Places:
    """Where the pixels of a picture are, from points of the face of which some go round it."""
    top, chin = xy[10], xy[152]
    length = max(float(np.linalg.norm(chin - top)), 1.0)
    unit = max(length, 1.15 * float(np.linalg.norm(xy[234] - xy[454])))  # a nod shortens faces
    axis = (chin - top) / (length * unit)
    brows, eyes, mouth = (
        float(((xy[list(pair)].mean(0) - top) * axis).sum())
        for pair in ((105, 334), (33, 263), (61, 291))
    )
    end = length / unit
    # all of this is smooth, so a coarse grid will do
    step = max(1, int(unit / 20))
    grid = (-(-height // step), -(-width // step))
    inside = np.zeros(grid, np.uint8)
    ring = np.round((xy[list(oval)] / step - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(inside, [ring[:, None]], (1,), cv2.LINE_8, 4)
    out = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) * (step / unit)
    y, x = (
        (step * (np.arange(count, dtype=np.float32) + 0.5) - start) * along
        for count, start, along in zip(grid, top[::-1], axis[::-1], strict=True)
    )
    down = (y[:, None] + x[None]).astype(np.float32)
    rows = (-0.5, brows - 0.05, eyes, mouth, end, end + 0.25, end + 0.5, end + 1.0)
    rows = np.maximum.accumulate(rows)  # eyes pass brows when a head is thrown back
    row = np.interp(down, rows, np.arange(len(rows))).astype(np.float32)
    column = np.interp(out, _OUT, np.arange(len(_OUT))).astype(np.float32)
    odds = cv2.remap(_CHART, column, row, cv2.INTER_LINEAR)
    out, down, odds = (
        cv2.resize(part, None, fx=step, fy=step)[:height, :width] for part in (out, down, odds)
    )
    return Places(out, down, odds, brows, eyes, mouth, end, unit)
