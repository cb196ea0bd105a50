"""`gsplat` as another way to blend splats on CUDA, for those who have it installed.

Ours stays the default: gsplat compiles itself on first use, which needs a CUDA toolkit, and its
splats may cover up to 0.999 of a pixel (or 0.99, by version) where ours stop at 0.99. Set
LIKENESS_GSPLAT=1 to use it; on an H200 ours took 0.98 to 1.36 times as long.
"""

import os
from importlib import import_module

import torch
from torch import Tensor

from likeness.core.errors import Missing


def wanted() -> bool:
    """Whether the user asked for gsplat."""
    return os.environ.get("LIKENESS_GSPLAT", "") not in ("", "0")


def blend(
    lists: Tensor,
    starts: Tensor,
    parts: tuple[Tensor, Tensor, Tensor, Tensor],
    size: tuple[int, int],
    tile: int,
) -> tuple[Tensor, Tensor]:
    """Picture and alpha out of tiles' lists; `parts` are xy, conic, features and opacity. Gradients
    reach all four."""
    try:
        rasterize_to_pixels = import_module("gsplat").rasterize_to_pixels
    except ImportError as error:
        raise Missing(
            f"LIKENESS_GSPLAT is set but gsplat cannot be imported ({error}). Install it with: "
            f"pip install gsplat, or unset the variable to use our own kernels."
        ) from error

    width, height = size
    columns, rows = -(-width // tile), -(-height // tile)
    xy, conic, features, opacity = (x[None].contiguous() for x in parts)
    offsets = starts[:-1].to(torch.int32).reshape(1, rows, columns)
    picture, alpha = rasterize_to_pixels(
        xy, conic, features, opacity, width, height, tile, offsets, lists.to(torch.int32)
    )
    return picture[0], alpha[0, ..., 0]
