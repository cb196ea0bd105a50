"""Which splats touch which tile of the picture, front to back: a sort of pairs, on the GPU.

A pair of a splat and a tile is one whole number, of the tile and of the bits of the depth, so that
one stable sort puts tiles together and what is nearer first.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from likeness.ops.gpu_jit import jit

BLOCK = 64
OWN = 6  # numbers of a splat before its features: place, conic, opacity


@jit
def _spans(packed, depth, spans, count, width, height,
           channels: tl.constexpr, side: tl.constexpr, block: tl.constexpr):  # fmt: skip
    """Of each splat: first tile (x, y), tiles across, tiles in all, as far as its alpha is 1/255;
    none where it is not seen, or not finite."""
    i = tl.program_id(0) * block + tl.arange(0, block)
    here = i < count
    row = packed + i * (6 + channels)
    x, y = tl.load(row, mask=here, other=0.0), tl.load(row + 1, mask=here, other=0.0)
    a, b = tl.load(row + 2, mask=here, other=0.0), tl.load(row + 3, mask=here, other=0.0)
    c, opacity = tl.load(row + 4, mask=here, other=0.0), tl.load(row + 5, mask=here, other=0.0)
    z = tl.load(depth + i, mask=here, other=0.0)
    det = a * c - b * b
    level = 2 * tl.log(tl.maximum(opacity * 255, 1.0)) / det
    wide, high = tl.sqrt(tl.maximum(level * c, 0.0)), tl.sqrt(tl.maximum(level * a, 0.0))
    good = here & (z > 0) & (z < 3e38) & (opacity >= 1.0 / 255) & (opacity < 3e38) & (det > 0)
    good = good & (wide < 3e38) & (high < 3e38) & (tl.abs(x) < 3e38) & (tl.abs(y) < 3e38)
    for k in tl.static_range(channels):
        good = good & (tl.abs(tl.load(row + 6 + k, mask=here, other=0.0)) < 3e38)
    x, y = tl.where(good, x, 0.0), tl.where(good, y, 0.0)
    wide, high = tl.where(good, wide, 0.0), tl.where(good, high, 0.0)
    left = tl.maximum(tl.ceil(tl.maximum(x - wide, -1.0) - 0.5), 0.0)
    top = tl.maximum(tl.ceil(tl.maximum(y - high, -1.0) - 0.5), 0.0)
    right = tl.minimum(tl.floor(tl.minimum(x + wide, width + 1.0) - 0.5), width - 1.0)
    bottom = tl.minimum(tl.floor(tl.minimum(y + high, height + 1.0) - 0.5), height - 1.0)
    good = good & (left <= right) & (top <= bottom)
    first_x, first_y = left.to(tl.int32) // side, top.to(tl.int32) // side
    across = tl.maximum(right, 0.0).to(tl.int32) // side + 1 - first_x
    down = tl.maximum(bottom, 0.0).to(tl.int32) // side + 1 - first_y
    tl.store(spans + 4 * i, first_x, mask=here)
    tl.store(spans + 4 * i + 1, first_y, mask=here)
    tl.store(spans + 4 * i + 2, across, mask=here)
    tl.store(spans + 4 * i + 3, tl.where(good, across * down, 0), mask=here)


@jit
def _keys(owner, ends, spans, depth, keys, total, columns, block: tl.constexpr):
    """Of each splat and tile it touches: the tile, then the depth, as one whole number. Depths are
    positive, so that their bits are in the order of their values."""
    pair = tl.program_id(0) * block + tl.arange(0, block)
    here = pair < total
    i = tl.load(owner + pair, mask=here, other=0)
    first_x = tl.load(spans + 4 * i, mask=here, other=0)
    first_y = tl.load(spans + 4 * i + 1, mask=here, other=0)
    across = tl.load(spans + 4 * i + 2, mask=here, other=1)
    count = tl.load(spans + 4 * i + 3, mask=here, other=0)
    k = (pair - (tl.load(ends + i, mask=here, other=0) - count)).to(tl.int32)
    tile = (first_y + k // across) * columns + first_x + k % across
    z = tl.load(depth + i, mask=here, other=0.0).to(tl.int32, bitcast=True)
    tl.store(keys + pair, (tile.to(tl.int64) << 32) + z.to(tl.int64), mask=here)


@dataclass(frozen=True, eq=False)
class Bins:
    """Pairs of P splats and tiles. `lists` says which splat, tile after tile; `starts` where each
    tile begins; `slots` which pair that is in the order of splats. Of each splat, `spans` holds
    its first tile (x, y), tiles across and in all, and `ends` the number of pairs up to it."""

    lists: Tensor
    starts: Tensor
    slots: Tensor
    spans: Tensor
    ends: Tensor


def packed(given: Sequence[Tensor]) -> Tensor:
    """Place, conic, opacity and features of splats in one table; `given` is as for
    `rasterise_splats`."""
    xy, _, conic, features, opacity = given
    return torch.cat([xy, conic, opacity[:, None], features], -1).contiguous()


def sort_into_tiles(splats: Tensor, depth: Tensor, width: int, height: int, tile: int) -> Bins:
    """Bins of `packed` splats; those not finite, not in front or not in the picture touch no tile.
    Asks the device for one number only."""
    count, columns, rows = len(splats), -(-width // tile), -(-height // tile)
    spans = torch.zeros(count, 4, dtype=torch.int32, device=splats.device)
    grid = (triton.cdiv(max(count, 1), BLOCK),)
    channels = splats.shape[1] - OWN
    if count:
        _spans[grid](
            splats, depth.contiguous(), spans, count, width, height,
            channels=channels, side=tile, block=BLOCK,
        )  # fmt: skip
    ends = spans[:, 3].cumsum(0)
    total = int(ends[-1]) if count else 0
    owner = torch.repeat_interleave(spans[:, 3], output_size=total)
    keys = torch.empty(total, dtype=torch.int64, device=splats.device)
    if total:
        grid = (triton.cdiv(total, BLOCK),)
        _keys[grid](owner, ends, spans, depth.contiguous(), keys, total, columns, block=BLOCK)
    keys, slots = torch.sort(keys, stable=True)
    every = torch.arange(rows * columns + 1, device=splats.device) << 32
    return Bins(owner[slots], torch.searchsorted(keys, every), slots, spans, ends)
