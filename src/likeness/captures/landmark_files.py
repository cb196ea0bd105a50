"""Landmarks as AD-NeRF and NeRFBlendShape keep them: `ori_imgs/<number>.lms`, "x y" a line."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from likeness.captures.fields import array, reading


def read_landmark_files(
    folder: Path, ids: list[int], count: int
) -> Float64[np.ndarray, "T K 2"] | None:
    """`count` points of each frame, in pixels; NaN for frames without a file, None without any."""
    found = [_read(folder / "ori_imgs" / f"{i}.lms", count) for i in ids]
    if all(f is None for f in found):
        return None
    return np.stack([np.full((count, 2), np.nan) if f is None else f for f in found])


def _read(path: Path, count: int) -> Float64[np.ndarray, "K 2"] | None:
    if not path.is_file():
        return None
    with reading(path):
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return array(rows, path, "landmarks", (count, 2))
