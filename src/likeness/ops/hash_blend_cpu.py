"""Weighted sums of hash tables on a CPU, taken only at the vertices around each point."""

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from likeness.ops.hash_grid import HashLayout
from likeness.ops.hash_grid_cpu import _FAST, _TILE, _levels, _numpy, _pairs, _prepare, _scratch
from likeness.ops.twins import match_threads

_ZERO = np.float32(0)


class BlendEncode(torch.autograd.Function):
    """For an even number of features, and points that need no gradient."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, tables: Tensor, weight: Tensor, layout: HashLayout
    ) -> Tensor:
        match_threads()
        place, share = _numpy(points.mT), _numpy(weight.mT)
        out = torch.empty(layout.width, points.shape[0])
        blend_encode(place, _pairs(tables), layout.entries, share, *_levels(layout), out.numpy())
        ctx.save_for_backward(tables, weight)
        ctx.layout, ctx.place, ctx.share = layout, place, share
        return out.mT.to(tables.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        match_threads()
        tables, weight = ctx.saved_tensors
        layout, count = ctx.layout, ctx.place.shape[1]
        sums = torch.zeros(tables.shape)
        shares = torch.zeros(layout.levels, tables.shape[0], count)
        blend_encode_gradient(
            ctx.place, _pairs(tables), layout.entries, ctx.share, _numpy(gradient.mT),
            *_levels(layout), _pairs(sums), shares.numpy(),
        )  # fmt: skip
        to_weight = shares.sum(0).mT.to(weight.dtype)
        return None, sums.to(tables.dtype), to_weight, None


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def blend_encode(points, tables, entries, share, starts, scales, strides, out):
    """Fill `out` (levels * C, N); `share` (K, N) is how much each point has of each table."""
    count, levels, pairs, kinds = points.shape[1], scales.shape[0], tables.shape[1], share.shape[0]
    tiles = (count + _TILE - 1) // _TILE
    for item in prange(tiles * levels):
        level, first = item % levels, item // levels * _TILE
        n, size = min(_TILE, count - first), starts[level + 1] - starts[level]
        index, weight, part = _scratch()
        _prepare(
            points, first, n, scales[level], strides[level], size, starts[level],
            index, weight, part,
        )  # fmt: skip
        for c in range(pairs):
            row = (level * pairs + c) * 2
            for j in range(n):
                one, two = _ZERO, _ZERO
                for table in range(kinds):
                    s, base = share[table, first + j], np.uint64(table * entries)
                    for k in range(8):
                        pair = tables[base + index[k, j], c]
                        one += s * weight[k, j] * pair.real
                        two += s * weight[k, j] * pair.imag
                out[row, first + j] = one
                out[row + 1, first + j] = two


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def blend_encode_gradient(
    points, tables, entries, share, gradient, starts, scales, strides, out, shares
):
    """Add to `out` (entries of all tables, C) and `shares` (levels, K, N); one thread per level."""
    count, levels, pairs, kinds = points.shape[1], scales.shape[0], tables.shape[1], share.shape[0]
    for level in prange(levels):
        size = starts[level + 1] - starts[level]
        index, weight, part = _scratch()
        for first in range(0, count, _TILE):
            n = min(_TILE, count - first)
            _prepare(
                points, first, n, scales[level], strides[level], size, starts[level],
                index, weight, part,
            )  # fmt: skip
            for j in range(n):
                for table in range(kinds):
                    s, base, sum_ = share[table, first + j], np.uint64(table * entries), _ZERO
                    for c in range(pairs):
                        row = (level * pairs + c) * 2
                        one, two = gradient[row, first + j], gradient[row + 1, first + j]
                        for k in range(8):
                            i, w = base + index[k, j], weight[k, j]
                            sum_ += w * (one * tables[i, c].real + two * tables[i, c].imag)
                            out[i, c] = complex(
                                out[i, c].real + s * w * one, out[i, c].imag + s * w * two
                            )
                    shares[level, table, first + j] = sum_
