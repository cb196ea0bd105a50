"""The hash grid on a CPU. Work is cut by level, so that threads never share a table entry.

Points and features are kept with the coordinate first: a level then writes rows of its own, and a
network takes the transpose for free. Sums run in a fixed order, whatever the number of threads.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from likeness.ops.hash_grid import HashLayout, _hash_encode
from likeness.ops.twins import match_threads

_FAST = {"nsz", "arcp", "contract", "afn"}  # not reassoc: sums keep their order; not nnan
_Y, _Z = np.int64(2654435761), np.int64(805459861)
_ONE, _HALF = np.float32(1), np.float32(0.5)


def hash_encode(points: Tensor, tables: Tensor, layout: HashLayout, which: Tensor | None) -> Tensor:
    """float32 and below; float64 is for checking, and goes to the definition."""
    if points.dtype == torch.float64 or tables.dtype == torch.float64:
        return _hash_encode(points, tables, layout, which)
    return _Encode.apply(points, tables, layout, which)  # type: ignore[return-value]


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, points: Tensor, tables: Tensor, layout: HashLayout, which: Tensor | None
    ) -> Tensor:
        match_threads()
        place = _numpy(points.mT)
        first = _first_entries(which, tables.shape[0], layout)
        out = torch.empty(layout.width, points.shape[0])
        block = _block(points.shape[0])
        encode(place, _flat(tables), first, *_levels(layout), block, out.numpy())
        ctx.save_for_backward(points, tables)
        ctx.layout, ctx.place, ctx.first = layout, place, first
        return out.mT.to(tables.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        match_threads()
        points, tables = ctx.saved_tensors
        slope, levels = _numpy(gradient.mT), _levels(ctx.layout)
        to_points = to_tables = None
        if ctx.needs_input_grad[0]:
            moved = np.empty_like(ctx.place)
            block = _block(points.shape[0])
            encode_point_gradient(ctx.place, _flat(tables), slope, ctx.first, *levels, block, moved)
            to_points = torch.from_numpy(moved).mT.to(points.dtype)
        if ctx.needs_input_grad[1]:
            sums = torch.zeros(tables.shape)
            encode_table_gradient(ctx.place, slope, ctx.first, *levels, _flat(sums))
            to_tables = sums.to(tables.dtype)
        return to_points, to_tables, None, None


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().float().contiguous().numpy()


def _flat(tables: Tensor) -> np.ndarray:
    return _numpy(tables).reshape(-1, tables.shape[-1])


def _first_entries(which: Tensor | None, tables: int, layout: HashLayout) -> np.ndarray:
    """The first entry of each point's table; empty where all read the same one."""
    if which is None or tables == 1:
        return np.zeros(0, np.int64)
    return (which * layout.entries).contiguous().numpy().astype(np.int64)


@cache
def _levels(layout: HashLayout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    strides = [r + 1 if dense else 0 for r, dense in zip(layout.resolutions, layout.dense)]
    return (
        np.array(layout.starts, np.int64),
        np.array(layout.scales, np.float32),
        np.array(strides, np.int64),
    )


def _block(points: int) -> int:
    """Points per work item: enough that a level's table stays in cache, few enough to share."""
    return min(max(1024, -(-points // 8)), 32768)


@njit(inline="always")
def _inside(points, n):
    x, y, z = points[0, n], points[1, n], points[2, n]
    return x >= 0 and x <= 1 and y >= 0 and y <= 1 and z >= 0 and z <= 1


@njit(inline="always")
def _corner(points, n, scale, stride, size, first):
    """Entries of the vertices around a point, and how far along each axis it lies."""
    x = points[0, n] * scale + _HALF
    y = points[1, n] * scale + _HALF
    z = points[2, n] * scale + _HALF
    a, b, c = np.int64(x), np.int64(y), np.int64(z)  # never negative here, so this is the floor
    u, v, w = x - np.float32(a), y - np.float32(b), z - np.float32(c)
    if stride > 0:
        i = first + a + b * stride + c * (stride * stride)
        s = stride * stride
        return (
            (i, i + 1, i + stride, i + stride + 1, i + s, i + s + 1, i + s + stride)
            + (i + s + stride + 1,),
            u, v, w,
        )  # fmt: skip
    m = size - 1  # hashed levels have a power of two entries, so the low bits are the remainder
    b0, b1, c0, c1 = b * _Y, (b + 1) * _Y, c * _Z, (c + 1) * _Z
    p, q, r, s = b0 ^ c0, b1 ^ c0, b0 ^ c1, b1 ^ c1
    d = a + 1
    return (
        (first + ((a ^ p) & m), first + ((d ^ p) & m), first + ((a ^ q) & m), first + ((d ^ q) & m))
        + (first + ((a ^ r) & m), first + ((d ^ r) & m), first + ((a ^ s) & m))
        + (first + ((d ^ s) & m),),
        u, v, w,
    )  # fmt: skip


@njit(inline="always")
def _weights(u, v, w):
    p, q, r = _ONE - u, _ONE - v, _ONE - w
    qr, vr, qw, vw = q * r, v * r, q * w, v * w
    return p * qr, u * qr, p * vr, u * vr, p * qw, u * qw, p * vw, u * vw


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def encode(points, tables, which, starts, scales, strides, block, out):
    """Fill `out` (levels * C, N). `which` is empty, or the first entry of each point's table."""
    count, levels, features = points.shape[1], scales.shape[0], tables.shape[1]
    blocks = (count + block - 1) // block
    for item in prange(blocks * levels):
        level = item % levels
        first = (item // levels) * block
        size = starts[level + 1] - starts[level]
        for n in range(first, min(first + block, count)):
            if _inside(points, n):
                start = starts[level] + (which[n] if which.shape[0] else 0)
                i, u, v, w = _corner(points, n, scales[level], strides[level], size, start)
                k = _weights(u, v, w)
                for c in range(features):
                    out[level * features + c, n] = (
                        k[0] * tables[i[0], c] + k[1] * tables[i[1], c]
                        + k[2] * tables[i[2], c] + k[3] * tables[i[3], c]
                        + k[4] * tables[i[4], c] + k[5] * tables[i[5], c]
                        + k[6] * tables[i[6], c] + k[7] * tables[i[7], c]
                    )  # fmt: skip
            else:
                for c in range(features):
                    out[level * features + c, n] = 0


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def encode_table_gradient(points, gradient, which, starts, scales, strides, out):
    """Add to `out` (entries of all tables, C). One thread per level: no two share an entry."""
    count, levels, features = points.shape[1], scales.shape[0], out.shape[1]
    for item in prange(levels):
        half = (levels + 1) // 2  # fold, so that a thread gets coarse levels and fine ones
        level = 2 * item if item < half else 2 * (item - half) + 1
        size = starts[level + 1] - starts[level]
        for n in range(count):
            if _inside(points, n):
                start = starts[level] + (which[n] if which.shape[0] else 0)
                i, u, v, w = _corner(points, n, scales[level], strides[level], size, start)
                k = _weights(u, v, w)
                for c in range(features):
                    g = gradient[level * features + c, n]
                    out[i[0], c] += k[0] * g
                    out[i[1], c] += k[1] * g
                    out[i[2], c] += k[2] * g
                    out[i[3], c] += k[3] * g
                    out[i[4], c] += k[4] * g
                    out[i[5], c] += k[5] * g
                    out[i[6], c] += k[6] * g
                    out[i[7], c] += k[7] * g


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def encode_point_gradient(points, tables, gradient, which, starts, scales, strides, block, out):
    """Fill `out` (3, N) with what a move of each point does."""
    count, levels, features = points.shape[1], scales.shape[0], tables.shape[1]
    for item in prange((count + block - 1) // block):
        for n in range(item * block, min((item + 1) * block, count)):
            dx, dy, dz = np.float32(0), np.float32(0), np.float32(0)
            if _inside(points, n):
                for level in range(levels):
                    size = starts[level + 1] - starts[level]
                    start = starts[level] + (which[n] if which.shape[0] else 0)
                    i, u, v, w = _corner(points, n, scales[level], strides[level], size, start)
                    p, q, r = _ONE - u, _ONE - v, _ONE - w
                    for c in range(features):
                        g = gradient[level * features + c, n] * scales[level]
                        t0, t1, t2, t3 = (
                            tables[i[0], c], tables[i[1], c], tables[i[2], c], tables[i[3], c],
                        )  # fmt: skip
                        t4, t5, t6, t7 = (
                            tables[i[4], c], tables[i[5], c], tables[i[6], c], tables[i[7], c],
                        )  # fmt: skip
                        dx += g * (
                            r * (q * (t1 - t0) + v * (t3 - t2))
                            + w * (q * (t5 - t4) + v * (t7 - t6))
                        )
                        dy += g * (
                            r * (p * (t2 - t0) + u * (t3 - t1))
                            + w * (p * (t6 - t4) + u * (t7 - t5))
                        )
                        dz += g * (
                            q * (p * (t4 - t0) + u * (t5 - t1))
                            + v * (p * (t6 - t2) + u * (t7 - t3))
                        )
            out[0, n], out[1, n], out[2, n] = dx, dy, dz
