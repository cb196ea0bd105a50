"""GPU twin of drawing from an atlas, in Triton, and the sums that go back.

Many places add to one row in an order that changes from run to run. As in `hash_grid_gpu` sums are
made in whole numbers of a unit 2^-40 of the largest, the same in any order.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from likeness.ops.gpu_jit import jit

_BLOCK = 128
_FINE = 2.0**40


@jit
def _gather(table, cells, weights, out, count, each: tl.constexpr, channels: tl.constexpr,
            padded: tl.constexpr, block: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * block + tl.arange(0, block)
    c = tl.arange(0, padded)
    mask = (i < count)[:, None] & (c < channels)[None, :]
    total = tl.zeros([block, padded], tl.float32)
    for k in tl.static_range(each):
        cell = tl.load(cells + i * each + k, mask=i < count, other=0)
        weight = tl.load(weights + i * each + k, mask=i < count, other=0.0)
        value = tl.load(table + cell[:, None] * channels + c[None, :], mask=mask, other=0.0)
        total += weight[:, None] * value
    tl.store(out + i[:, None] * channels + c[None, :], total, mask=mask)


@jit
def _scatter(values, cells, weights, sums, unit, count, each: tl.constexpr,
             channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * block + tl.arange(0, block)
    c = tl.arange(0, padded)
    mask = (i < count)[:, None] & (c < channels)[None, :]
    value = tl.load(values + i[:, None] * channels + c[None, :], mask=mask, other=0.0)
    value = value.to(tl.float64) * tl.load(unit)
    for k in tl.static_range(each):
        cell = tl.load(cells + i * each + k, mask=i < count, other=0)
        weight = tl.load(weights + i * each + k, mask=i < count, other=0.0)
        part = (weight[:, None] * value).to(tl.int64)
        tl.atomic_add(sums + cell[:, None] * channels + c[None, :], part, mask=mask)


def scattered(values: Tensor, cells: Tensor, weights: Tensor, rows: int) -> Tensor:
    """Rows of which each place adds its values, weighed, to those it names; the same in any
    order of adding."""
    values = torch.nan_to_num(values.float(), 0.0, 0.0, 0.0).contiguous()
    (count, channels), each = values.shape, cells.shape[1]
    sums = torch.zeros(rows, channels, dtype=torch.int64, device=values.device)
    if not values.numel():
        return sums.float()
    unit = _FINE / values.abs().amax().double().clamp(min=1e-30)
    _scatter[(triton.cdiv(count, _BLOCK),)](
        values, cells, weights, sums, unit, count, each=each, channels=channels,
        padded=triton.next_power_of_2(channels), block=_BLOCK,
    )  # fmt: skip
    return (sums / unit).float()


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table, cells, weights):
        count, channels = cells.shape[0], table.shape[1]
        out = table.new_empty(count, channels)
        if out.numel():
            _gather[(triton.cdiv(count, _BLOCK),)](
                table.detach().contiguous(), cells, weights, out, count, each=cells.shape[1],
                channels=channels, padded=triton.next_power_of_2(channels), block=_BLOCK,
            )  # fmt: skip
        ctx.save_for_backward(cells, weights)
        ctx.rows = table.shape[0]
        return out

    @staticmethod
    def backward(ctx: Any, d_out):  # type: ignore[override]
        cells, weights = ctx.saved_tensors
        return scattered(d_out, cells, weights, ctx.rows), None, None


def draw_cells(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """The twin of `ops.atlas`; float32 inside, whatever comes in."""
    drawn = _Draw.apply(table.float(), cells.contiguous(), weights.float().contiguous())
    return drawn.to(table.dtype)  # type: ignore[union-attr]
