"""CPU twin of mixing tables: one pass over memory, sums kept in cache."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.jit import njit
from likeness.ops.products import _mixed_tables as definition
from likeness.ops.twins import match_threads

_BLOCK = 1024  # entries of a sum that are finished together
f32 = np.float32


@njit(error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _add(sums, one, other, p, q):
    for i in range(sums.shape[0]):
        sums[i] += p * one[i] + q * other[i]


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _mix(tables, blend, base, out):
    """Two tables at a time; an odd last one is paired with itself, times nothing."""
    kinds, count = tables.shape
    for block in nb.prange((count + _BLOCK - 1) // _BLOCK):
        first, last = block * _BLOCK, min(count, (block + 1) * _BLOCK)
        for b in range(out.shape[0]):
            for i in range(first, last):
                out[b, i] = base[0, i] if base.shape[0] else f32(0)
        for k in range(0, kinds, 2):
            pair = k + 1 if k + 1 < kinds else k
            for b in range(out.shape[0]):
                q = blend[b, pair] if pair > k else f32(0)
                one, other = tables[k, first:last], tables[pair, first:last]
                _add(out[b, first:last], one, other, blend[b, k], q)


def mixed_tables(tables: Tensor, blend: Tensor, base: Tensor | None) -> Tensor:
    given = (tables, blend) if base is None else (tables, blend, base)
    if any(x.dtype != torch.float32 for x in given) or not len(tables):
        return definition(tables, blend, base)
    match_threads()
    t, w = (x.detach().contiguous().numpy() for x in (tables, blend))
    first = np.empty((0, 0), f32) if base is None else base.detach().contiguous().numpy()
    out = torch.empty(len(blend), tables.shape[1])
    _mix(t, w, first, out.numpy())
    return out
