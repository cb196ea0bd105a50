"""Where training patches lie."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

PATCH = 32
"""Pixels along a side of a patch."""


def patch_pixels(
    boxes: Int[Tensor, "B 4"],
    draws: Float[Tensor, "2 B"],
    size: tuple[int, int],
    columns: str = "intended",
    spare: Float[Tensor, "2 B"] | None = None,
) -> Int[Tensor, "B P"]:
    """Flat pixel numbers (row times width plus column) of a patch in each box x0, y0, x1, y1.

    `draws` place it within the box, row first; when one would lie within a patch of the border of
    a picture of `size` (height, width), `spare` places all anywhere instead. `released` multiplies
    a fractional row by the width, so that the column is left to chance, as the authors' program
    does.
    """
    height, width = size
    x0, y0, x1, y1 = boxes.float().unbind(-1)
    row = y0 + draws[0] * (y1 - y0 - PATCH - 1)
    column = x0 + draws[1] * (x1 - x0 - PATCH - 1)
    within = (
        (row >= PATCH + 2) & (row <= height - PATCH - 2)
        & (column >= PATCH + 2) & (column <= width - PATCH - 2)
    )  # fmt: skip
    if spare is not None and not bool(within.all()):
        row = (spare[0] * (height - PATCH)).floor()
        column = (spare[1] * (width - PATCH)).floor()
    if columns == "intended":
        row, column = row.floor(), column.floor()
    down, across = torch.meshgrid(torch.arange(PATCH), torch.arange(PATCH), indexing="ij")
    rows = row[:, None] + down.flatten()
    places = rows * width + column[:, None] + across.flatten()
    return places.long()
