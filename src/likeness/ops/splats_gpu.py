"""GPU twin of the splat rasteriser, in Triton.

Blending is one program per tile of 16x16 pixels, walking its list front to back, some splats at
once: light is a product down them, in registers, and what a splat sums over pixels is a product of
matrices with the pixels' moments about the middle of the tile. The form of the gradient is the one
`splats_draw_cpu` explains. The sums of a splat go to a slot per tile and are added in order:
nothing is atomic, and results do not depend on timing. Runs on a CPU in Triton's interpreter, for
tests.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from likeness.ops import splats_gsplat
from likeness.ops.gpu_jit import jit
from likeness.ops.splats_bin_gpu import BLOCK, OWN, packed, sort_into_tiles
from likeness.ops.splats_project_gpu import project_splats

__all__ = ["project_splats", "rasterise_splats"]

TILE = 16
SOME = 16  # splats at once


@jit
def _pixels(width, height, columns, side: tl.constexpr):
    """A tile's pixels: places from its middle, whether they are in the picture, numbers in it."""
    tile = tl.program_id(0)
    pixel = tl.arange(0, side * side)
    x = (tile % columns) * side + pixel % side
    y = (tile // columns) * side + pixel // side
    u, v = pixel % side - (side - 1) / 2, pixel // side - (side - 1) / 2
    return u, v, (x < width) & (y < height), y * width + x


@jit
def _some(packed, lists, first, last, columns, side: tl.constexpr, stride: tl.constexpr,
          some: tl.constexpr):  # fmt: skip
    """The next splats of a tile's list: rows, which there are, places from the tile's middle,
    conics and opacity."""
    at = first + tl.arange(0, some)
    there = at < last
    row = packed + tl.load(lists + at, mask=there, other=0) * stride
    tile = tl.program_id(0)
    x = tl.load(row, mask=there, other=0.0) - ((tile % columns) * side + side / 2)
    y = tl.load(row + 1, mask=there, other=0.0) - ((tile // columns) * side + side / 2)
    a = tl.load(row + 2, mask=there, other=0.0)
    b = tl.load(row + 3, mask=there, other=0.0)
    c = tl.load(row + 4, mask=there, other=0.0)
    return at, there, row, x, y, a, b, c, tl.load(row + 5, mask=there, other=0.0)


@jit
def _alpha(x, y, a, b, c, opacity, u, v):
    """Alpha of splats (down) at pixels (across), before and after its bounds."""
    dx, dy = u[None, :] - x[:, None], v[None, :] - y[:, None]
    power = -0.5 * (a[:, None] * dx * dx + c[:, None] * dy * dy) - b[:, None] * dx * dy
    raw = opacity[:, None] * tl.exp(tl.minimum(power, 0.0))
    alpha = tl.minimum(raw, 0.99)
    return raw, tl.where(alpha >= 1.0 / 255, alpha, 0.0)


@jit
def _times(a, b):
    return a * b


@jit
def _light(light, alpha):
    """Light before and after each splat, where a pixel is not yet finished, and what is left."""
    after = light[None, :] * tl.associative_scan(1 - alpha, 0, _times)
    live = after >= 1e-4
    return after / (1 - alpha), live, tl.min(tl.where(live, after, 0.0), 0)


@jit
def _forward(
    packed, lists, starts, picture, alpha, width, height, columns,
    channels: tl.constexpr, padded: tl.constexpr, side: tl.constexpr, some: tl.constexpr,
):  # fmt: skip
    u, v, inside, place = _pixels(width, height, columns, side)
    light = tl.where(inside, 1.0, 0.0)
    covered = tl.zeros_like(light)
    channel = tl.arange(0, padded)
    total = tl.zeros([padded, side * side], tl.float32)
    begin = tl.load(starts + tl.program_id(0))
    last = tl.load(starts + tl.program_id(0) + 1)
    for first in range(begin, last, some):
        if tl.max(light, 0) > 0:
            at, there, row, x, y, a, b, c, opacity = _some(
                packed, lists, first, last, columns, side, 6 + channels, some
            )
            raw, each = _alpha(x, y, a, b, c, opacity, u, v)
            before, live, light = _light(light, each)
            weight = tl.where(live, before * each, 0.0)
            covered += tl.sum(weight, 0)
            value = tl.load(
                row[None, :] + 6 + channel[:, None],
                mask=there[None, :] & (channel < channels)[:, None], other=0.0,
            )  # fmt: skip
            if padded <= 8:
                total += tl.sum(value[:, :, None] * weight[None, :, :], 1)
            else:
                total = tl.dot(value, weight, total, input_precision="ieee")
    tl.store(alpha + place, covered, mask=inside)
    where = picture + place[None, :] * channels + channel[:, None]
    tl.store(where, total, mask=inside[None, :] & (channel < channels)[:, None])


@jit
def _column(table, which, k: tl.constexpr):
    return tl.sum(tl.where(which[None, :] == k, table, 0.0), 1)


@jit
def _backward(
    packed, lists, slots, starts, picture, alpha, d_picture, d_alpha, part,
    width, height, columns,
    channels: tl.constexpr, padded: tl.constexpr, wide: tl.constexpr, side: tl.constexpr,
    some: tl.constexpr,
):  # fmt: skip
    """Sums over pixels are products of matrices: splats x pixels times pixels x moments."""
    u, v, inside, place = _pixels(width, height, columns, side)
    light = tl.where(inside, 1.0, 0.0)
    channel, column = tl.arange(0, padded), tl.arange(0, wide)
    where = d_picture + place[None, :] * channels + channel[:, None]
    g = tl.load(where, mask=inside[None, :] & (channel < channels)[:, None], other=0.0)
    at_pixel = d_picture + place[:, None] * channels + column[None, :]
    by_pixel = tl.load(at_pixel, mask=inside[:, None] & (column < channels)[None, :], other=0.0)
    moment = tl.arange(0, 16)[None, :]
    one, p, q = tl.where(moment == 0, 1.0, 0.0), u[:, None], v[:, None]
    moments = one + tl.where(moment == 1, p, 0.0) + tl.where(moment == 2, q, 0.0)
    moments += tl.where(moment == 3, p * p, 0.0) + tl.where(moment == 4, p * q, 0.0)
    moments += tl.where(moment == 5, q * q, 0.0)
    g_alpha = tl.load(d_alpha + place, mask=inside, other=0.0)
    drawn = picture + place[None, :] * channels + channel[:, None]
    drawn = tl.load(drawn, mask=inside[None, :] & (channel < channels)[:, None], other=0.0)
    rest = tl.sum(drawn * g, 0) + g_alpha * tl.load(alpha + place, mask=inside, other=0.0)
    begin = tl.load(starts + tl.program_id(0))
    last = tl.load(starts + tl.program_id(0) + 1)
    for first in range(begin, last, some):
        if tl.max(light, 0) > 0:
            at, there, row, x, y, a, b, c, opacity = _some(
                packed, lists, first, last, columns, side, 6 + channels, some
            )
            raw, each = _alpha(x, y, a, b, c, opacity, u, v)
            before, live, light = _light(light, each)
            weight = tl.where(live, before * each, 0.0)
            if padded <= 8:
                value = tl.load(
                    row[None, :] + 6 + channel[:, None],
                    mask=there[None, :] & (channel < channels)[:, None], other=0.0,
                )  # fmt: skip
                d = tl.sum(value[:, :, None] * g[:, None, :], 0)
            else:
                value = tl.load(
                    row[:, None] + 6 + channel[None, :],
                    mask=there[:, None] & (channel < channels)[None, :], other=0.0,
                )  # fmt: skip
                d = tl.dot(value, g, input_precision="ieee")
            d += g_alpha[None, :]
            gone = tl.cumsum(weight * d, 0)
            behind = (rest[None, :] - gone) / (1 - each)
            slope = tl.where(live & (raw < 0.99), each * (before * d - behind), 0.0)
            rest -= tl.sum(weight * d, 0)
            sums = tl.dot(slope, moments, input_precision="ieee")
            k = tl.arange(0, 16)
            s0, su, sv = _column(sums, k, 0), _column(sums, k, 1), _column(sums, k, 2)
            uu, uv, vv = _column(sums, k, 3), _column(sums, k, 4), _column(sums, k, 5)
            out = part + tl.load(slots + at, mask=there, other=0) * (6 + channels)
            tl.store(out, s0, mask=there)
            tl.store(out + 1, su - x * s0, mask=there)
            tl.store(out + 2, sv - y * s0, mask=there)
            tl.store(out + 3, uu - 2 * x * su + x * x * s0, mask=there)
            tl.store(out + 4, uv - x * sv - y * su + x * y * s0, mask=there)
            tl.store(out + 5, vv - 2 * y * sv + y * y * s0, mask=there)
            colours = tl.dot(weight, by_pixel, input_precision="ieee")
            tl.store(
                out[:, None] + 6 + column[None, :], colours,
                mask=there[:, None] & (column < channels)[None, :],
            )  # fmt: skip


@jit
def _slopes(packed, ends, spans, part, d_xy, d_conic, d_features, d_opacity, count,
            channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr):  # fmt: skip
    """Each splat's own entries added up in order, and moments turned into gradients."""
    i = tl.program_id(0) * block + tl.arange(0, block)
    here = i < count
    own = tl.load(spans + 4 * i + 3, mask=here, other=0)
    begin = tl.load(ends + i, mask=here, other=0) - own
    column = tl.arange(0, padded)
    sums = tl.zeros([block, padded], tl.float32)
    for k in range(0, tl.max(own, 0)):
        entry = part + (begin + k)[:, None] * (6 + channels) + column[None, :]
        mask = (k < own)[:, None] & (column < 6 + channels)[None, :]
        sums += tl.load(entry, mask=mask, other=0.0)
    s0, sx, sy = _column(sums, column, 0), _column(sums, column, 1), _column(sums, column, 2)
    xx, xy, yy = _column(sums, column, 3), _column(sums, column, 4), _column(sums, column, 5)
    seen = here & (own > 0)
    row = packed + i * (6 + channels)
    a, b = tl.load(row + 2, mask=seen, other=0.0), tl.load(row + 3, mask=seen, other=0.0)
    c, opacity = tl.load(row + 4, mask=seen, other=0.0), tl.load(row + 5, mask=seen, other=1.0)
    tl.store(d_xy + 2 * i, a * sx + b * sy, mask=here)
    tl.store(d_xy + 2 * i + 1, b * sx + c * sy, mask=here)
    tl.store(d_conic + 3 * i, -0.5 * xx, mask=here)
    tl.store(d_conic + 3 * i + 1, -xy, mask=here)
    tl.store(d_conic + 3 * i + 2, -0.5 * yy, mask=here)
    tl.store(d_opacity + i, s0 / opacity, mask=here)
    to = d_features + i[:, None] * channels + (column - 6)[None, :]
    mask = here[:, None] & ((column >= 6) & (column < 6 + channels))[None, :]
    tl.store(to, sums, mask=mask)


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, xy, depth, conic, features, opacity, width, height):
        table = packed([x.detach() for x in (xy, depth, conic, features, opacity)])
        bins = sort_into_tiles(table, depth.detach(), width, height, TILE)
        channels, tiles = features.shape[1], bins.starts.shape[0] - 1
        picture, alpha = xy.new_zeros(height, width, channels), xy.new_zeros(height, width)
        shape = {
            "channels": channels,
            "padded": triton.next_power_of_2(max(channels, 1)),
            "side": TILE,
            "some": SOME,
        }
        size = (width, height, -(-width // TILE))
        if tiles and bins.lists.numel():
            _forward[(tiles,)](table, bins.lists, bins.starts, picture, alpha, *size, **shape)
        places = (bins.lists, bins.slots, bins.starts, bins.spans, bins.ends)
        ctx.save_for_backward(table, *places, picture, alpha)
        ctx.size, ctx.shape = size, shape
        return picture, alpha

    @staticmethod
    def backward(ctx: Any, d_picture, d_alpha):  # type: ignore[override]
        table, lists, slots, starts, spans, ends, picture, alpha = ctx.saved_tensors
        count, channels, new = len(table), picture.shape[-1], table.new_empty
        part = picture.new_zeros(lists.shape[0], OWN + channels)
        if lists.numel():
            _backward[(starts.shape[0] - 1,)](
                table, lists, slots, starts, picture, alpha, d_picture.contiguous(),
                d_alpha.contiguous(), part, *ctx.size, **ctx.shape,
                wide=max(16, ctx.shape["padded"]),
            )  # fmt: skip
        out = (new(count, 2), new(count, 3), new(count, channels), new(count))
        if count:
            padded = triton.next_power_of_2(OWN + channels)
            _slopes[(triton.cdiv(count, BLOCK),)](
                table, ends, spans, part, *out, count, channels=channels, padded=padded,
                block=BLOCK,
            )  # fmt: skip
        return out[0], None, out[1], out[2], out[3], None, None


def rasterise_splats(
    xy: Tensor,
    depth: Tensor,
    conic: Tensor,
    features: Tensor,
    opacity: Tensor,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """The twin of `ops.splats`; float32 inside, whatever comes in."""
    given = [x.float() for x in (xy, depth, conic, features, opacity)]
    if splats_gsplat.wanted():
        known = [x.detach() for x in given]
        bins = sort_into_tiles(packed(known), known[1], width, height, TILE)
        parts = (given[0], given[2], given[3], given[4])
        picture, alpha = splats_gsplat.blend(bins.lists, bins.starts, parts, (width, height), TILE)
        return picture.to(features.dtype), alpha.to(features.dtype)
    picture, alpha = _Rasterise.apply(*given, width, height)  # type: ignore[misc]
    return picture.to(features.dtype), alpha.to(features.dtype)
