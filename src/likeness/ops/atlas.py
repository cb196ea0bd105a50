"""Values drawn from the cells of an atlas, with weights: a sparse matrix times a table."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.ops.twins import one_place, pick, within


def draw_cells(
    table: Float[Tensor, "M C"], cells: Int[Tensor, "N 4"], weights: Float[Tensor, "N 4"]
) -> Float[Tensor, "N C"]:
    """For each of N places the weighted sum of its four cells. Gradients reach the table."""
    one_place(table, cells, weights)
    within(cells, table.shape[0], "cells")
    return pick(_draw_cells, table.device.type)(table, cells, weights)


def _draw_cells(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    return (table[cells] * weights[..., None]).sum(1)


def draw_coded(
    code: Float[Tensor, " K"],
    atlas: Float[Tensor, "K MC"],
    own: int,
    channels: int,
    cells: Int[Tensor, "N 4"],
    weights: Float[Tensor, "N 4"],
) -> Float[Tensor, "N C"]:
    """The same from an atlas for each of K numbers, each as much as `code` says; those after the
    first `own` are in the second half of the cells only, and elsewhere in an atlas may be anything.
    Which cells there are is not looked through: see `draw_cells`. Gradients reach the atlas."""
    one_place(code, atlas, cells, weights)
    return pick(_draw_coded, atlas.device.type)(code, atlas, own, channels, cells, weights)


def _draw_coded(
    code: Tensor, atlas: Tensor, own: int, channels: int, cells: Tensor, weights: Tensor
) -> Tensor:
    half = atlas.shape[1] // 2
    table = torch.cat([code[:own] @ atlas[:own, :half], code @ atlas[:, half:]])
    return draw_cells(table.view(-1, channels), cells, weights)
