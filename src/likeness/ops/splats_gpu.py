"""GPU twin of the splat rasteriser, in Triton.

Binning is composed torch (sorts are its strength); blending is one program per tile of 16x16
pixels, walking its list front to back, forward and backward, in the form `splats_cpu` explains.
The sums of a splat go to a slot per tile and are added in order: nothing is atomic, and results do
not depend on timing. Runs on a CPU in Triton's interpreter, for tests.
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

TILE = 16
_MOMENTS = 6


@jit
def _alpha(packed, k, u, v, stride: tl.constexpr):
    """Of splat k at pixels (u, v): their offsets, and alpha before and after its bounds."""
    row = packed + k * stride
    dx = u - tl.load(row)
    dy = v - tl.load(row + 1)
    a, b, c = tl.load(row + 2), tl.load(row + 3), tl.load(row + 4)
    power = -0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy
    raw = tl.load(row + 5) * tl.exp(tl.minimum(power, 0.0))
    alpha = tl.minimum(raw, 0.99)
    return dx, dy, raw, tl.where(alpha >= 1.0 / 255, alpha, 0.0)


@jit
def _pixels(width, height, columns, side: tl.constexpr):
    """Places of a tile's pixels, whether they are in the picture, and their number in it."""
    tile = tl.program_id(0)
    pixel = tl.arange(0, side * side)
    x = (tile % columns) * side + pixel % side
    y = (tile // columns) * side + pixel // side
    return x + 0.5, y + 0.5, (x < width) & (y < height), y * width + x


@jit
def _forward(
    packed, lists, starts, picture, alpha, width, height, columns,
    channels: tl.constexpr, padded: tl.constexpr, side: tl.constexpr,
):  # fmt: skip
    u, v, inside, place = _pixels(width, height, columns, side)
    light = tl.where(inside, 1.0, 0.0)
    left = tl.zeros_like(light) + 1.0
    c = tl.arange(0, padded)
    total = tl.zeros([side * side, padded], tl.float32)
    first = tl.load(starts + tl.program_id(0))
    last = tl.load(starts + tl.program_id(0) + 1)
    for block in range(first, last, 16):
        if tl.max(light, 0) > 0:
            for at in range(block, tl.minimum(block + 16, last)):
                k = tl.load(lists + at)
                _, _, _, a = _alpha(packed, k, u, v, 6 + channels)
                after = light * (1 - a)
                live = after >= 1e-4
                weight = tl.where(live, light * a, 0.0)
                light = tl.where(live, after, 0.0)
                left -= weight
                value = tl.load(packed + k * (6 + channels) + 6 + c, mask=c < channels, other=0.0)
                total += weight[:, None] * value[None, :]
    tl.store(alpha + place, 1 - left, mask=inside)
    where = picture + place[:, None] * channels + c[None, :]
    tl.store(where, total, mask=inside[:, None] & (c < channels)[None, :])


@jit
def _backward(
    packed, lists, slots, starts, d_picture, d_alpha, dots, part, width, height, columns,
    channels: tl.constexpr, padded: tl.constexpr, side: tl.constexpr,
):  # fmt: skip
    u, v, inside, place = _pixels(width, height, columns, side)
    light = tl.where(inside, 1.0, 0.0)
    c = tl.arange(0, padded)
    where = d_picture + place[:, None] * channels + c[None, :]
    g = tl.load(where, mask=inside[:, None] & (c < channels)[None, :], other=0.0)
    g_alpha = tl.load(d_alpha + place, mask=inside, other=0.0)
    rest = tl.load(dots + place, mask=inside, other=0.0)
    first = tl.load(starts + tl.program_id(0))
    last = tl.load(starts + tl.program_id(0) + 1)
    for block in range(first, last, 16):
        if tl.max(light, 0) > 0:
            for at in range(block, tl.minimum(block + 16, last)):
                k = tl.load(lists + at)
                dx, dy, raw, a = _alpha(packed, k, u, v, 6 + channels)
                value = tl.load(packed + k * (6 + channels) + 6 + c, mask=c < channels, other=0.0)
                after = light * (1 - a)
                live = after >= 1e-4
                weight = tl.where(live, light * a, 0.0)
                d = g_alpha + tl.sum(g * value[None, :], 1)
                rest -= weight * d
                p = tl.where(live & (raw < 0.99), a * (light * d - rest / (1 - a)), 0.0)
                light = tl.where(live, after, 0.0)
                out = part + tl.load(slots + at) * (6 + channels)
                tl.store(out, tl.sum(p, 0))
                tl.store(out + 1, tl.sum(p * dx, 0))
                tl.store(out + 2, tl.sum(p * dy, 0))
                tl.store(out + 3, tl.sum(p * dx * dx, 0))
                tl.store(out + 4, tl.sum(p * dx * dy, 0))
                tl.store(out + 5, tl.sum(p * dy * dy, 0))
                tl.store(out + 6 + c, tl.sum(weight[:, None] * g, 0), mask=c < channels)


def _reach(
    xy: Tensor, conic: Tensor, opacity: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """First and last tile (x, y) of each splat, as far as its alpha is 1/255; last < first where
    it is not seen."""
    a, b, c = conic.unbind(-1)
    level = 2 * torch.log(opacity / LEAST_ALPHA).clamp(min=0)
    radius = (level[:, None] * torch.stack([c, a], -1) / (a * c - b * b)[:, None]).sqrt()
    known = torch.isfinite(radius).all(-1, keepdim=True) & (a * c > b * b)[:, None]
    most = xy.new_tensor([width - 1, height - 1])
    low = torch.ceil((xy - radius).clamp(min=-1) - 0.5).clamp(min=0)
    high = torch.minimum(torch.floor(torch.minimum(xy + radius, most + 2) - 0.5), most)
    seen = (known & (low <= high)).all(-1, keepdim=True)
    first = torch.where(seen, low / TILE, 0).floor().long()
    return first, torch.where(seen, high / TILE, -1).floor().long()


def _bin(
    given: Sequence[Tensor], width: int, height: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Kept splats in order of depth, packed; pairs with tiles of each; and the tiles' lists: which
    splats, where their sums go, where each list starts."""
    xy, depth, conic, features, opacity = given
    columns, rows = -(-width // TILE), -(-height // TILE)
    good = (depth > 0) & torch.isfinite(features).all(-1)
    good &= torch.isfinite(opacity) & (opacity >= LEAST_ALPHA)
    order = torch.nonzero(good)[:, 0]
    order = order[torch.argsort(depth[order], stable=True)]
    first, last = _reach(xy[order], conic[order], opacity[order], width, height)
    span = last - first + 1
    seen = (span > 0).all(-1)
    order, first, span = order[seen], first[seen], span[seen]
    counts = span.prod(-1)
    total = int(counts.sum())
    owner = torch.repeat_interleave(counts, output_size=total)
    inner = torch.arange(total, device=xy.device) - (counts.cumsum(0) - counts)[owner]
    tile = (first[owner, 1] + inner // span[owner, 0]) * columns
    tile = tile + first[owner, 0] + inner % span[owner, 0]
    tile, slots = torch.sort(tile, stable=True)
    every = torch.arange(rows * columns + 1, device=xy.device)
    starts = torch.searchsorted(tile, every)
    parts = (xy[order], conic[order], opacity[order, None], features[order])
    return order, torch.cat(parts, -1).contiguous(), counts, owner[slots], slots, starts


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
        }
        size = (width, height, -(-width // TILE))
        if tiles and lists.numel():
            _forward[(tiles,)](packed, lists, starts, picture, alpha, *size, **shape)
        ctx.save_for_backward(order, packed, counts, lists, slots, starts, picture, alpha)
        ctx.size, ctx.shape, ctx.count = size, shape, xy.shape[0]
        return picture, alpha

    @staticmethod
    def backward(ctx: Any, d_picture, d_alpha):  # type: ignore[override]
        order, packed, counts, lists, slots, starts, picture, alpha = ctx.saved_tensors
        d_picture, d_alpha = d_picture.contiguous(), d_alpha.contiguous()
        dots = (d_picture * picture).sum(-1) + d_alpha * alpha
        channels = picture.shape[-1]
        part = picture.new_zeros(lists.shape[0], _MOMENTS + channels)
        if lists.numel():
            _backward[(starts.shape[0] - 1,)](
                packed, lists, slots, starts, d_picture, d_alpha, dots, part, *ctx.size, **ctx.shape
            )
        return _from_moments(order, packed, counts, part, ctx.count)


def _from_moments(order: Tensor, packed: Tensor, counts: Tensor, part: Tensor, count: int) -> Any:
    """Each splat's own entries added up, and moments turned into gradients."""
    if len(order):
        sums = torch.segment_reduce(part, "sum", lengths=counts, axis=0)
    else:
        sums = part
    s0, sx, sy, xx, xy, yy = sums[:, :_MOMENTS].unbind(-1)
    a, b, c, o = packed[:, 2:6].unbind(-1)
    found = (
        torch.stack([a * sx + b * sy, b * sx + c * sy], -1),
        torch.stack([-0.5 * xx, -xy, -0.5 * yy], -1),
        sums[:, _MOMENTS:],
        s0 / o,
    )
    d_xy, d_conic, d_features, d_opacity = (
        x.new_zeros(count, *x.shape[1:]).index_copy(0, order, x) for x in found
    )
    return d_xy, None, d_conic, d_features, d_opacity, None, None


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
