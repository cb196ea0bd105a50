"""CPU twin of drawing from an atlas."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp"}


@nb.njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _gather(table, cells, weights, out):
    for i in nb.prange(cells.shape[0]):
        for c in range(table.shape[1]):
            total = np.float32(0)
            for k in range(4):
                total += weights[i, k] * table[cells[i, k], c]
            out[i, c] = total


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _scatter(cells, weights, d_out, d_table):
    """In the order of the places, so that sums are the same for any number of threads."""
    for i in range(cells.shape[0]):
        for k in range(4):
            w, cell = weights[i, k], cells[i, k]
            for c in range(d_out.shape[1]):
                d_table[cell, c] += w * d_out[i, c]


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, cells, weights):
        out = table.new_empty(cells.shape[0], table.shape[1])
        match_threads()
        _gather(table.detach().contiguous().numpy(), cells.numpy(), weights.numpy(), out.numpy())
        ctx.save_for_backward(cells, weights)
        ctx.rows = table.shape[0]
        return out

    @staticmethod
    def backward(ctx, d_out):  # type: ignore[override]
        cells, weights = ctx.saved_tensors
        d_table = d_out.new_zeros(ctx.rows, d_out.shape[1])
        _scatter(cells.numpy(), weights.numpy(), d_out.contiguous().numpy(), d_table.numpy())
        return d_table, None, None


def draw_cells(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """The twin of `ops.atlas`; float32 inside, whatever comes in."""
    drawn = _Draw.apply(table.float(), cells.contiguous(), weights.float().contiguous())
    return drawn.to(table.dtype)  # type: ignore[union-attr]
