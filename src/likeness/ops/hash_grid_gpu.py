"""GPU twins of the hash grid, in Triton: a program per block of points and level.

Many points add to one entry, in an order that changes from run to run, and float sums would change
with it. So sums are made in whole numbers of 64 bits, of a unit 2^-40 of the largest gradient:
finer than float32, and the same in any order. Runs on a CPU in Triton's interpreter, for tests.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from likeness.ops.gpu_jit import jit
from likeness.ops.hash_grid import HashLayout, _hash_encode

_BLOCK = 128
_FINE = 2.0**40


@jit
def _point(points, which, count, entries, several: tl.constexpr, block: tl.constexpr):
    """Coordinates of a block of points (a half where outside), and the first entry of each's
    table."""
    n = tl.program_id(0) * block + tl.arange(0, block)
    here = n < count
    x = tl.load(points + n * 3, mask=here, other=-1.0)
    y = tl.load(points + n * 3 + 1, mask=here, other=-1.0)
    z = tl.load(points + n * 3 + 2, mask=here, other=-1.0)
    inside = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1) & (z >= 0) & (z <= 1)
    table = tl.zeros_like(n).to(tl.int64)
    if several:
        table = tl.load(which + n, mask=here, other=0) * entries
    x, y, z = tl.where(inside, x, 0.5), tl.where(inside, y, 0.5), tl.where(inside, z, 0.5)
    return n, here, inside, x, y, z, table


@jit
def _cell(x, scale):
    """The lower vertex of a coordinate and how far beyond it lies."""
    scaled = x * scale + 0.5
    corner = tl.floor(scaled)
    return corner.to(tl.int64), scaled - corner


@jit
def _entry(a, b, c, size, stride):
    """The entry of a vertex in its level; a stride of 0 marks a hashed one, of 2^n entries."""
    hashed = (a ^ ((b * 2654435761) & 0xFFFFFFFF) ^ ((c * 805459861) & 0xFFFFFFFF)) & (size - 1)
    return tl.where(stride > 0, a + b * stride + c * stride * stride, hashed)


@jit
def _encode(
    points, tables, which, starts, scales, strides, out, count, entries, levels,
    several: tl.constexpr, features: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    n, here, inside, x, y, z, table = _point(points, which, count, entries, several, block)
    level = tl.program_id(1)
    start, scale, stride = (
        tl.load(starts + level),
        tl.load(scales + level),
        tl.load(strides + level),
    )
    size = tl.load(starts + level + 1) - start
    a, u = _cell(x, scale)
    b, v = _cell(y, scale)
    c, w = _cell(z, scale)
    f = tl.arange(0, padded)
    total = tl.zeros([block, padded], tl.float32)
    for corner in tl.static_range(8):
        i, j, k = corner & 1, (corner >> 1) & 1, corner >> 2
        share = (u if i else 1 - u) * (v if j else 1 - v) * (w if k else 1 - w)
        entry = table + start + _entry(a + i, b + j, c + k, size, stride)
        value = tl.load(
            tables + entry[:, None] * features + f[None, :],
            mask=(here & inside)[:, None] & (f < features)[None, :],
            other=0.0,
        )
        total += share[:, None] * value
    to = out + (n * levels + level)[:, None] * features + f[None, :]
    tl.store(to, total, mask=here[:, None] & (f < features)[None, :])


@jit
def _table_gradient(
    points, gradient, which, starts, scales, strides, sums, count, entries, levels, unit,
    several: tl.constexpr, features: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    n, here, inside, x, y, z, table = _point(points, which, count, entries, several, block)
    level = tl.program_id(1)
    start, scale, stride = (
        tl.load(starts + level),
        tl.load(scales + level),
        tl.load(strides + level),
    )
    size = tl.load(starts + level + 1) - start
    a, u = _cell(x, scale)
    b, v = _cell(y, scale)
    c, w = _cell(z, scale)
    f = tl.arange(0, padded)
    mask = (here & inside)[:, None] & (f < features)[None, :]
    slope = tl.load(gradient + (n * levels + level)[:, None] * features + f[None, :], mask, 0.0)
    slope = slope.to(tl.float64) * tl.load(unit)
    for corner in tl.static_range(8):
        i, j, k = corner & 1, (corner >> 1) & 1, corner >> 2
        share = (u if i else 1 - u) * (v if j else 1 - v) * (w if k else 1 - w)
        entry = table + start + _entry(a + i, b + j, c + k, size, stride)
        part = (share[:, None] * slope).to(tl.int64)
        tl.atomic_add(sums + entry[:, None] * features + f[None, :], part, mask=mask)


@jit
def _point_gradient(
    points, tables, gradient, which, starts, scales, strides, out, count, entries, levels,
    several: tl.constexpr, features: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    n, here, inside, x, y, z, table = _point(points, which, count, entries, several, block)
    f = tl.arange(0, padded)
    mask = (here & inside)[:, None] & (f < features)[None, :]
    dx, dy, dz = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    for level in range(levels):
        start, scale = tl.load(starts + level), tl.load(scales + level)
        size, stride = tl.load(starts + level + 1) - start, tl.load(strides + level)
        a, u = _cell(x, scale)
        b, v = _cell(y, scale)
        c, w = _cell(z, scale)
        slope = tl.load(gradient + (n * levels + level)[:, None] * features + f[None, :], mask, 0.0)
        for corner in tl.static_range(8):
            i, j, k = corner & 1, (corner >> 1) & 1, corner >> 2
            entry = table + start + _entry(a + i, b + j, c + k, size, stride)
            value = tl.load(tables + entry[:, None] * features + f[None, :], mask, 0.0)
            push = tl.sum(value * slope, 1) * scale
            p, q, r = (u if i else 1 - u), (v if j else 1 - v), (w if k else 1 - w)
            dx += push * q * r * (1 if i else -1)
            dy += push * p * r * (1 if j else -1)
            dz += push * p * q * (1 if k else -1)
    tl.store(out + n * 3, dx, mask=here)
    tl.store(out + n * 3 + 1, dy, mask=here)
    tl.store(out + n * 3 + 2, dz, mask=here)


@cache
def _levels(layout: HashLayout, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    strides = [r + 1 if dense else 0 for r, dense in zip(layout.resolutions, layout.dense)]
    return (
        torch.tensor(layout.starts, device=device),
        torch.tensor(layout.scales, dtype=torch.float32, device=device),
        torch.tensor(strides, device=device),
    )


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points, tables, layout, which):
        place, table = points.detach().float().contiguous(), tables.detach().float().contiguous()
        several = which is not None and tables.shape[0] > 1
        which = place if which is None else which.long().contiguous()
        count = place.shape[0]
        ctx.grid = (triton.cdiv(count, _BLOCK), layout.levels)
        ctx.shape = {
            "several": several,
            "features": layout.features,
            "padded": triton.next_power_of_2(layout.features),
            "block": _BLOCK,
        }
        out = place.new_empty(count, layout.width)
        levels = _levels(layout, place.device)
        size = (count, layout.entries, layout.levels)
        if count:
            _encode[ctx.grid](place, table, which, *levels, out, *size, **ctx.shape)
        ctx.save_for_backward(points, tables, place, table, which)
        ctx.layout, ctx.size = layout, size
        return out.to(tables.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient):  # type: ignore[override]
        points, tables, place, table, which = ctx.saved_tensors
        slope, levels = gradient.float().contiguous(), _levels(ctx.layout, place.device)
        to_points = to_tables = None
        if ctx.needs_input_grad[0]:
            moved = torch.zeros_like(place)
            if ctx.size[0]:
                _point_gradient[ctx.grid[:1]](
                    place, table, slope, which, *levels, moved, *ctx.size, **ctx.shape
                )
            to_points = moved.to(points.dtype)
        if ctx.needs_input_grad[1]:
            to_tables = _table_sums(ctx, place, slope, which, levels).view_as(tables)
            to_tables = to_tables.to(tables.dtype)
        return to_points, to_tables, None, None


def _table_sums(ctx: Any, place: Tensor, slope: Tensor, which: Tensor, levels: Any) -> Tensor:
    layout, tables = ctx.layout, ctx.saved_tensors[1].shape[0]
    sums = torch.zeros(tables * layout.entries, layout.features, device=place.device).long()
    if not ctx.size[0]:
        return sums.float()
    slope = torch.nan_to_num(slope, 0.0, 0.0, 0.0)
    unit = _FINE / slope.abs().amax().double().clamp(min=1e-30)
    _table_gradient[ctx.grid](place, slope, which, *levels, sums, *ctx.size, unit, **ctx.shape)
    return (sums / unit).float()


def hash_encode(points: Tensor, tables: Tensor, layout: HashLayout, which: Tensor | None) -> Tensor:
    """float32 and below; float64 is for checking, and goes to the definition."""
    if points.dtype == torch.float64 or tables.dtype == torch.float64:
        return _hash_encode(points, tables, layout, which)
    return _Encode.apply(points, tables, layout, which)  # type: ignore[return-value]


def blended_hash_encode(
    points: Tensor, tables: Tensor, blend: Tensor, layout: HashLayout, which: Tensor | None
) -> Tensor:
    """The sum taken at the vertices, table by table."""
    weight = blend[0].expand(points.shape[0], -1) if which is None else blend[which]
    features = points.new_zeros(points.shape[0], layout.width)
    for k in range(tables.shape[0]):
        part = hash_encode(points, tables[k : k + 1], layout, None)
        features = features + weight[:, k, None] * part
    return features
