"""Values drawn from the cells of an atlas, with weights: a sparse matrix times a table."""

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
