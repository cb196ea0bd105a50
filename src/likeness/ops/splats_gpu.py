"""GPU twin of the splat rasteriser, in Triton.

Binning is composed torch (sorts are its strength); blending is one program per tile of 16x16
pixels, walking its list front to back, some splats at once: light is a product down them, in
registers, and what a splat sums over pixels is a product of matrices with the pixels' moments
about the middle of the tile. The form of the gradient is the one `splats_cpu` explains. The sums
of a splat go to a slot per tile and are added in order: nothing is atomic, and results do not
depend on timing. Runs on a CPU in Triton's interpreter, for tests.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from likeness.ops import splats_gsplat
from likeness.ops.gpu_jit import jit
from likeness.ops.splats import LEAST_ALPHA
from likeness.ops.splats_project_gpu import project_splats

__all__ = ["project_splats", "rasterise_splats"]

TILE = 16
SOME = 16  # splats at once
WARPS = (4, 4)  # of a tile, forward and backward
EXACT = "ieee"  # how numbers are multiplied in sums over pixels
_MOMENTS = 6


@jit
def _pixels(width, height, columns, side: tl.constexpr):
    """A tile's pixels: places, places from its middle, whether they are in the picture, numbers."""
    tile = tl.program_id(0)
    pixel = tl.arange(0, side * side)
    x = (tile % columns) * side + pixel % side
    y = (tile // columns) * side + pixel // side
    u, v = pixel % side - (side - 1) / 2, pixel // side - (side - 1) / 2
    return x, y, u, v, (x < width) & (y < height), y * width + x


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
    _, _, u, v, inside, place = _pixels(width, height, columns, side)
    light = tl.where(inside, 1.0, 0.0)
    covered = tl.zeros_like(light)
    channel = tl.arange(0, padded)
    total = tl.zeros([padded, side * side], tl.float32)
    begin = tl.load(starts + tl.program_id(0))
    last = tl.load(starts + tl.program_id(0) + 1)
    for first in range(begin, last, some):
        if tl.max(light, 0) > 0:
            _, there, row, x, y, a, b, c, opacity = _some(
                packed, lists, first, last, columns, side, 6 + channels, some
            )
            _, each = _alpha(x, y, a, b, c, opacity, u, v)
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
    packed, lists, slots, starts, d_picture, d_alpha, dots, part, width, height, columns,
    channels: tl.constexpr, padded: tl.constexpr, wide: tl.constexpr, side: tl.constexpr,
    some: tl.constexpr, exact: tl.constexpr,
):  # fmt: skip
    """Sums over pixels are products of matrices: splats x pixels times pixels x moments."""
    _, _, u, v, inside, place = _pixels(width, height, columns, side)
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
    rest = tl.load(dots + place, mask=inside, other=0.0)
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
            sums = tl.dot(slope, moments, input_precision=exact)
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
            colours = tl.dot(weight, by_pixel, input_precision=exact)
            tl.store(
                out[:, None] + 6 + column[None, :], colours,
                mask=there[:, None] & (column < channels)[None, :],
            )  # fmt: skip


def _reach(
    xy: Tensor, conic: Tensor, opacity: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """First tile (x, y) of each splat and how many, as far as its alpha is 1/255; none where it is
    not seen."""
    a, b, c = conic.unbind(-1)
    level = 2 * torch.log(opacity / LEAST_ALPHA).clamp(min=0)
    radius = (level[:, None] * torch.stack([c, a], -1) / (a * c - b * b)[:, None]).sqrt()
    known = torch.isfinite(radius).all(-1, keepdim=True) & (a * c > b * b)[:, None]
    most = torch.stack([xy.new_full((), width - 1), xy.new_full((), height - 1)])
    low = torch.ceil((xy - radius).clamp(min=-1) - 0.5).clamp(min=0)
    high = torch.minimum(torch.floor(torch.minimum(xy + radius, most + 2) - 0.5), most)
    seen = (known & (low <= high)).all(-1, keepdim=True)
    first = torch.where(seen, low / TILE, 0).long()
    return first, torch.where(seen, high / TILE, -1).floor().long() + 1 - first


def _bin(
    given: Sequence[Tensor], width: int, height: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All splats in order of depth, packed; pairs with tiles of each; and the tiles' lists: which
    splats, where their sums go, where each list starts. Asks the device for one number only."""
    xy, depth, conic, features, opacity = given
    columns, rows = -(-width // TILE), -(-height // TILE)
    good = (depth > 0) & torch.isfinite(features).all(-1)
    good &= torch.isfinite(opacity) & (opacity >= LEAST_ALPHA)
    order = torch.argsort(torch.where(good, depth, torch.inf), stable=True)
    packed = torch.cat([xy, conic, opacity[:, None], features], -1)[order].contiguous()
    first, span = _reach(packed[:, :2], packed[:, 2:5], packed[:, 5], width, height)
    counts = span.clamp(min=0).prod(-1) * good[order]
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    owner = torch.repeat_interleave(counts, output_size=total)
    inner = torch.arange(total, device=xy.device) - (ends - counts)[owner]
    across = span[owner, 0]
    tile = (first[owner, 1] + inner // across) * columns + first[owner, 0] + inner % across
    small = torch.int16 if rows * columns < 2**15 else torch.int32
    tile, slots = torch.sort(tile.to(small), stable=True)
    every = torch.arange(rows * columns + 1, device=xy.device, dtype=small)
    return order, packed, counts, owner[slots], slots, torch.searchsorted(tile, every)


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, xy, depth, conic, features, opacity, width, height):
        given = [x.detach() for x in (xy, depth, conic, features, opacity)]
        order, packed, counts, lists, slots, starts = _bin(given, width, height)
        channels, tiles = features.shape[1], starts.shape[0] - 1
        picture, alpha = xy.new_zeros(height, width, channels), xy.new_zeros(height, width)
        shape = {
            "channels": channels,
            "padded": triton.next_power_of_2(max(channels, 1)),
            "side": TILE,
            "some": SOME,
        }
        size = (width, height, -(-width // TILE))
        if tiles and lists.numel():
            _forward[(tiles,)](
                packed, lists, starts, picture, alpha, *size, **shape, num_warps=WARPS[0]
            )
        ctx.save_for_backward(order, packed, counts, lists, slots, starts, picture, alpha)
        ctx.size, ctx.shape = size, shape
        return picture, alpha

    @staticmethod
    def backward(ctx: Any, d_picture, d_alpha):  # type: ignore[override]
        order, packed, counts, lists, slots, starts, picture, alpha = ctx.saved_tensors
        d_picture, d_alpha = d_picture.contiguous(), d_alpha.contiguous()
        dots = (d_picture * picture).sum(-1) + d_alpha * alpha
        part = picture.new_zeros(lists.shape[0], _MOMENTS + picture.shape[-1])
        if lists.numel():
            wide = max(16, ctx.shape["padded"])
            _backward[(starts.shape[0] - 1,)](
                packed, lists, slots, starts, d_picture, d_alpha, dots, part, *ctx.size,
                **ctx.shape, wide=wide, exact=EXACT, num_warps=WARPS[1],
            )  # fmt: skip
        return _from_moments(order, packed, counts, part)


def _from_moments(order: Tensor, packed: Tensor, counts: Tensor, part: Tensor) -> Any:
    """Each splat's own entries added up, moments turned into gradients, in the order given."""
    count = len(order)
    sums = torch.segment_reduce(part, "sum", lengths=counts, axis=0) if count else part
    back = torch.empty_like(order)
    back[order] = torch.arange(count, device=order.device)
    seen = (counts > 0)[back, None]
    sums, packed = sums[back], torch.where(seen, packed[back], 1)
    s0, sx, sy, xx, xy, yy = sums[:, :_MOMENTS].unbind(-1)
    a, b, c, o = packed[:, 2:6].unbind(-1)
    d_xy = torch.stack([a * sx + b * sy, b * sx + c * sy], -1)
    d_conic = torch.stack([-0.5 * xx, -xy, -0.5 * yy], -1)
    return d_xy, None, d_conic, sums[:, _MOMENTS:], s0 / o, None, None


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
        order, _, _, lists, _, starts = _bin([x.detach() for x in given], width, height)
        parts = (given[0], given[2], given[3], given[4])
        picture, alpha = splats_gsplat.blend(order, lists, starts, parts, (width, height), TILE)
        return picture.to(features.dtype), alpha.to(features.dtype)
    picture, alpha = _Rasterise.apply(*given, width, height)  # type: ignore[misc]
    return picture.to(features.dtype), alpha.to(features.dtype)
