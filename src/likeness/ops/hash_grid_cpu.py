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

from likeness.ops.hash_grid import HashLayout, _blended_hash_encode, _hash_encode
from likeness.ops.lanes_memory import load_row, store_row
from likeness.ops.twins import match_threads

_FAST = {"nsz", "arcp", "contract", "afn"}  # not reassoc: sums keep their order; not nnan
_Y, _Z = np.int64(2654435761), np.int64(805459861)
_ONE, _HALF, _ZERO = np.float32(1), np.float32(0.5), np.float32(0)
_NONE = np.uint64(0)
_TILE = 256  # points whose vertices are worked out together


def hash_encode(points: Tensor, tables: Tensor, layout: HashLayout, which: Tensor | None) -> Tensor:
    """float32 and below; float64 is for checking, and goes to the definition."""
    if points.dtype == torch.float64 or tables.dtype == torch.float64:
        return _hash_encode(points, tables, layout, which)
    return _Encode.apply(points, tables, layout, which)  # type: ignore[return-value]


def blended_hash_encode(
    points: Tensor, tables: Tensor, blend: Tensor, layout: HashLayout, which: Tensor | None
) -> Tensor:
    from likeness.ops.hash_blend_cpu import BlendEncode

    plain = torch.float64 in (points.dtype, tables.dtype) or points.requires_grad
    if plain or layout.features % 2:
        return _blended_hash_encode(points, tables, blend, layout, which)
    weight = blend[0].expand(points.shape[0], -1) if which is None else blend[which]
    return BlendEncode.apply(points, tables, weight, layout)  # type: ignore[return-value]


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, points: Tensor, tables: Tensor, layout: HashLayout, which: Tensor | None
    ) -> Tensor:
        match_threads()
        place = _numpy(points.mT)
        first = _first_entries(which, tables.shape[0], layout)
        odd, count = layout.features % 2, points.shape[0]
        out = torch.empty(layout.levels, layout.features + odd, count)
        rows = out.flatten(0, 1).numpy()
        encode(place, *_rows(tables), first, *_levels(layout), _block(count), rows)
        ctx.save_for_backward(points, tables)
        ctx.layout, ctx.place, ctx.first = layout, place, first
        return out[:, : layout.features].reshape(layout.width, count).mT.to(tables.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        match_threads()
        points, tables = ctx.saved_tensors
        layout, levels = ctx.layout, _levels(ctx.layout)
        odd = layout.features % 2
        slope = gradient.mT
        if odd:
            slope = slope.unflatten(0, (layout.levels, layout.features))
            slope = torch.nn.functional.pad(slope, (0, 0, 0, 1)).flatten(0, 1)
        slope = _numpy(slope)
        to_points = to_tables = None
        if ctx.needs_input_grad[0]:
            moved = np.empty_like(ctx.place)
            encode_point_gradient(ctx.place, _pairs(tables), slope, ctx.first, *levels, moved)
            to_points = torch.from_numpy(moved).mT.to(points.dtype)
        if ctx.needs_input_grad[1]:
            sums = torch.zeros(*tables.shape[:2], layout.features + odd)
            encode_table_gradient(ctx.place, slope, ctx.first, *levels, *_rows(sums))
            to_tables = sums[..., : layout.features].to(tables.dtype)
        return to_points, to_tables, None, None


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().float().contiguous().numpy()


def _pairs(tables: Tensor) -> np.ndarray:
    """All entries, two features to a complex number: one load brings both. Odd ones get a zero."""
    if tables.shape[-1] % 2:
        tables = torch.nn.functional.pad(tables, (0, 1))
    return _numpy(tables).reshape(-1, tables.shape[-1]).view(np.complex64)


def _rows(tables: Tensor) -> tuple[np.ndarray, int]:
    """All entries as a flat array of numbers four features wide, else two; how many make one."""
    pairs = _pairs(tables)
    wide = np.complex64 if pairs.shape[1] % 2 else np.complex128
    rows = pairs.view(wide)
    return rows.reshape(-1), rows.shape[1]


def _first_entries(which: Tensor | None, tables: int, layout: HashLayout) -> np.ndarray:
    """The first entry of each point's table; empty where all read the same one."""
    if which is None or tables == 1:
        return np.zeros(0, np.uint64)
    return (which * layout.entries).contiguous().numpy().astype(np.uint64)


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


@njit
def _prepare(points, first, count, scale, stride, size, start, index, weight, part):
    """Entries and weights of the vertices around a tile of points, and how far along each axis
    they lie in their cell. Without a branch per point, so that it runs on vectors. Points outside
    have weights of zero."""
    low_bits, square = np.int64(size - 1), stride * stride
    for j in range(count):
        x, y, z = points[0, first + j], points[1, first + j], points[2, first + j]
        inside = (
            (x >= _ZERO) & (x <= _ONE) & (y >= _ZERO) & (y <= _ONE) & (z >= _ZERO) & (z <= _ONE)
        )
        x = (x if inside else _HALF) * scale + _HALF
        y = (y if inside else _HALF) * scale + _HALF
        z = (z if inside else _HALF) * scale + _HALF
        i, k, m = np.int32(x), np.int32(y), np.int32(z)  # never negative, so this is the floor
        u, v, w = x - np.float32(i), y - np.float32(k), z - np.float32(m)
        keep = _ONE if inside else _ZERO
        p, q, r, w_kept = _ONE - u, _ONE - v, (_ONE - w) * keep, w * keep
        part[0, j], part[1, j], part[2, j], part[3, j] = u, v, w, keep
        qr, vr, qw, vw = q * r, v * r, q * w_kept, v * w_kept
        weight[0, j], weight[1, j], weight[2, j], weight[3, j] = p * qr, u * qr, p * vr, u * vr
        weight[4, j], weight[5, j], weight[6, j], weight[7, j] = p * qw, u * qw, p * vw, u * vw
        a, b, c = np.int64(i), np.int64(k), np.int64(m)
        if stride > 0:
            e = start + a + b * stride + c * square
            f, g, h = e + stride, e + square, e + square + stride
            index[0, j], index[1, j], index[2, j], index[3, j] = e, e + 1, f, f + 1
            index[4, j], index[5, j], index[6, j], index[7, j] = g, g + 1, h, h + 1
        else:  # a power of two entries, so the low bits are the remainder
            b, c, d = b * _Y, c * _Z, a + 1
            e, f, g, h = b ^ c, (b + _Y) ^ c, b ^ (c + _Z), (b + _Y) ^ (c + _Z)
            index[0, j], index[1, j] = start + ((a ^ e) & low_bits), start + ((d ^ e) & low_bits)
            index[2, j], index[3, j] = start + ((a ^ f) & low_bits), start + ((d ^ f) & low_bits)
            index[4, j], index[5, j] = start + ((a ^ g) & low_bits), start + ((d ^ g) & low_bits)
            index[6, j], index[7, j] = start + ((a ^ h) & low_bits), start + ((d ^ h) & low_bits)


@njit
def _scratch():
    return (
        np.empty((8, _TILE), np.uint32),  # unsigned: no test for counting from the end
        np.empty((8, _TILE), np.float32),
        np.empty((4, _TILE), np.float32),
    )


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def encode(points, tables, parts, which, starts, scales, strides, block, out):
    """Fill `out` (levels * C, N). `which` is empty, or the first entry of each point's table;
    `parts` of the numbers in `tables` make an entry."""
    count, levels = points.shape[1], scales.shape[0]
    wide, stride = out.shape[0] // (levels * parts), np.uint64(parts)
    for item in prange((count + block - 1) // block * levels):
        level, begin = item % levels, item // levels * block
        end, size = min(begin + block, count), starts[level + 1] - starts[level]
        index, weight, part = _scratch()
        found = np.empty(_TILE, tables.dtype)
        apart = found.view(np.float32)
        for first in range(begin, end, _TILE):
            n = min(_TILE, end - first)
            _prepare(
                points, first, n, scales[level], strides[level], size, starts[level],
                index, weight, part,
            )  # fmt: skip
            for c in range(stride):
                for j in range(n):
                    table = which[first + j] if which.shape[0] else _NONE
                    sums = weight[0, j] * load_row(tables, (table + index[0, j]) * stride + c)
                    for k in range(1, 8):
                        sums += weight[k, j] * load_row(tables, (table + index[k, j]) * stride + c)
                    store_row(found, j, sums)
                for f in range(wide):
                    row = (level * parts + np.int64(c)) * wide + f
                    for j in range(n):
                        out[row, first + j] = apart[j * wide + f]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def encode_table_gradient(points, gradient, which, starts, scales, strides, out, parts):
    """Add to `out` (entries of all tables). One thread per level: no two share an entry."""
    count, levels = points.shape[1], scales.shape[0]
    wide, stride = gradient.shape[0] // (levels * parts), np.uint64(parts)
    half = (levels + 1) // 2
    for item in prange(levels):  # folded, so that a thread gets coarse levels and fine ones
        level = 2 * item if item < half else 2 * (item - half) + 1
        size = starts[level + 1] - starts[level]
        index, weight, part = _scratch()
        given = np.empty(_TILE, out.dtype)
        apart = given.view(np.float32)
        for first in range(0, count, _TILE):
            n = min(_TILE, count - first)
            _prepare(
                points, first, n, scales[level], strides[level], size, starts[level],
                index, weight, part,
            )  # fmt: skip
            for c in range(stride):
                for f in range(wide):
                    row = (level * parts + np.int64(c)) * wide + f
                    for j in range(n):
                        apart[j * wide + f] = gradient[row, first + j]
                for j in range(n):
                    table = which[first + j] if which.shape[0] else _NONE
                    slope = load_row(given, j)
                    for k in range(8):
                        i = (table + index[k, j]) * stride + c
                        store_row(out, i, load_row(out, i) + weight[k, j] * slope)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def encode_point_gradient(points, tables, gradient, which, starts, scales, strides, out):
    """Fill `out` (3, N) with what a move of each point does."""
    count, levels, pairs = points.shape[1], scales.shape[0], tables.shape[1]
    for tile in prange((count + _TILE - 1) // _TILE):
        first = tile * _TILE
        n = min(_TILE, count - first)
        index, weight, part = _scratch()
        t = np.empty(8, np.float32)
        for j in range(n):
            out[0, first + j], out[1, first + j], out[2, first + j] = 0, 0, 0
        for level in range(levels):
            size, scale = starts[level + 1] - starts[level], scales[level]
            _prepare(
                points, first, n, scale, strides[level], size, starts[level], index, weight, part
            )
            for j in range(n):
                table = which[first + j] if which.shape[0] else _NONE
                t[:] = 0
                for c in range(pairs):
                    row = (level * pairs + c) * 2
                    one, two = gradient[row, first + j], gradient[row + 1, first + j]
                    for k in range(8):
                        pair = tables[table + index[k, j], c]
                        t[k] += one * pair.real + two * pair.imag
                u, v, w, s = part[0, j], part[1, j], part[2, j], part[3, j] * scale
                p, q, r = _ONE - u, _ONE - v, _ONE - w
                out[0, first + j] += s * (
                    r * (q * (t[1] - t[0]) + v * (t[3] - t[2]))
                    + w * (q * (t[5] - t[4]) + v * (t[7] - t[6]))
                )
                out[1, first + j] += s * (
                    r * (p * (t[2] - t[0]) + u * (t[3] - t[1]))
                    + w * (p * (t[6] - t[4]) + u * (t[7] - t[5]))
                )
                out[2, first + j] += s * (
                    q * (p * (t[4] - t[0]) + u * (t[5] - t[1]))
                    + v * (p * (t[6] - t[2]) + u * (t[7] - t[3]))
                )
