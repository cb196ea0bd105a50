"""GPU twin of the picture loss, in Triton: four passes of 11 taps, the gradient among them.

Pictures are channels first inside. Runs on a CPU in Triton's interpreter, for tests.
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
from likeness.ops.image import C1, C2, WINDOW, window

_BLOCK = 256
_HALF = WINDOW // 2


@jit
def _statistics(x, y, taps, across, count, width, half: tl.constexpr, block: tl.constexpr):
    """x, y, x2, y2 and xy blurred along rows: `across` [5, C, H, W]."""
    i = tl.program_id(0) * block + tl.arange(0, block)
    here, column = i < count, i % width
    a, b = tl.zeros([block], tl.float32), tl.zeros([block], tl.float32)
    aa, bb, ab = a, a, a
    for k in tl.static_range(-half, half + 1):
        near = here & (column + k >= 0) & (column + k < width)
        t = tl.load(taps + k + half)
        p = tl.load(x + i + k, mask=near, other=0.0)
        q = tl.load(y + i + k, mask=near, other=0.0)
        a += t * p
        b += t * q
        aa += t * p * p
        bb += t * q * q
        ab += t * p * q
    tl.store(across + i, a, mask=here)
    tl.store(across + count + i, b, mask=here)
    tl.store(across + 2 * count + i, aa, mask=here)
    tl.store(across + 3 * count + i, bb, mask=here)
    tl.store(across + 4 * count + i, ab, mask=here)


@jit
def _down(plane, taps, i, here, row, width, height, half: tl.constexpr, block: tl.constexpr):
    total = tl.zeros([block], tl.float32)
    for k in tl.static_range(-half, half + 1):
        near = here & (row + k >= 0) & (row + k < height)
        total += tl.load(taps + k + half) * tl.load(plane + i + k * width, mask=near, other=0.0)
    return total


@jit
def _loss(
    x, y, weight, across, taps, partial, sums, count, width, height, structure,
    c1: tl.constexpr, c2: tl.constexpr, half: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Weighted losses summed per block; `partial` [3, C, H, W] by mean, square and product."""
    i = tl.program_id(0) * block + tl.arange(0, block)
    here, row = i < count, (i // width) % height
    mx = _down(across, taps, i, here, row, width, height, half, block)
    my = _down(across + count, taps, i, here, row, width, height, half, block)
    xx = _down(across + 2 * count, taps, i, here, row, width, height, half, block) - mx * mx
    yy = _down(across + 3 * count, taps, i, here, row, width, height, half, block) - my * my
    xy = _down(across + 4 * count, taps, i, here, row, width, height, half, block) - mx * my
    a, b = 2 * mx * my + c1, 2 * xy + c2
    d, e = mx * mx + my * my + c1, xx + yy + c2
    inverse = 1 / (d * e)
    value = a * b * inverse
    w = tl.load(weight + i % (width * height), mask=here, other=0.0)
    away = tl.abs(tl.load(x + i, mask=here, other=0.0) - tl.load(y + i, mask=here, other=0.0))
    each = w * ((1 - structure) * away + structure * (1 - value))
    tl.store(sums + tl.program_id(0), tl.sum(tl.where(here, each, 0.0), 0))
    by_product, by_square = 2 * a * inverse, -value / e
    by_mean = 2 * my * b * inverse - 2 * mx * value / d
    g = -structure * w
    tl.store(partial + i, g * (by_mean - 2 * mx * by_square - my * by_product), mask=here)
    tl.store(partial + count + i, g * by_square, mask=here)
    tl.store(partial + 2 * count + i, g * by_product, mask=here)


@jit
def _partial_across(partial, taps, across, count, width, half: tl.constexpr, block: tl.constexpr):
    i = tl.program_id(0) * block + tl.arange(0, block)
    here, column = i < 3 * count, i % width
    total = tl.zeros([block], tl.float32)
    for k in tl.static_range(-half, half + 1):
        near = here & (column + k >= 0) & (column + k < width)
        total += tl.load(taps + k + half) * tl.load(partial + i + k, mask=near, other=0.0)
    tl.store(across + i, total, mask=here)


@jit
def _gradient(
    x, y, weight, across, taps, out, count, width, height, structure,
    half: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0) * block + tl.arange(0, block)
    here, row = i < count, (i // width) % height
    a, b = tl.load(x + i, mask=here, other=0.0), tl.load(y + i, mask=here, other=0.0)
    w = tl.load(weight + i % (width * height), mask=here, other=0.0)
    sign = tl.where(a > b, 1.0, tl.where(a < b, -1.0, 0.0))
    total = (1 - structure) * sign * w
    total += _down(across, taps, i, here, row, width, height, half, block)
    total += 2 * a * _down(across + count, taps, i, here, row, width, height, half, block)
    total += b * _down(across + 2 * count, taps, i, here, row, width, height, half, block)
    tl.store(out + i, total, mask=here)


@cache
def _taps(device: torch.device) -> Tensor:
    return window().to(device, torch.float32)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drawn, truth, structure, weight):
        x = drawn.detach().permute(2, 0, 1).contiguous()
        y = truth.detach().permute(2, 0, 1).contiguous()
        w = x.new_ones(x.shape[1:]) if weight is None else weight.detach().contiguous()
        channels, height, width = x.shape
        count, taps = x.numel(), _taps(x.device)
        grid, form = (triton.cdiv(count, _BLOCK),), {"half": _HALF, "block": _BLOCK}
        across, partial = x.new_empty(5, *x.shape), x.new_empty(3, *x.shape)
        sums = x.new_empty(grid[0])
        _statistics[grid](x, y, taps, across, count, width, **form)
        size = (count, width, height, float(structure))
        _loss[grid](x, y, w, across, taps, partial, sums, *size, c1=C1, c2=C2, **form)
        scale = 1 / (channels * w.double().sum().clamp(min=1e-12))
        if drawn.requires_grad:
            gradient = torch.empty_like(x)
            thrice = (triton.cdiv(3 * count, _BLOCK),)
            _partial_across[thrice](partial, taps, across, count, width, **form)
            _gradient[grid](x, y, w, across, taps, gradient, *size, **form)
            ctx.save_for_backward(gradient.permute(1, 2, 0) * scale.float())
        return (sums.double().sum() * scale).to(drawn.dtype)

    @staticmethod
    def backward(ctx: Any, d_loss):  # type: ignore[override]
        return ctx.saved_tensors[0] * d_loss, None, None, None


def l1_dssim(drawn: Tensor, truth: Tensor, structure: float, weight: Tensor | None) -> Tensor:
    """The twin of `ops.image`; float32 inside, whatever comes in."""
    wide = None if weight is None else weight.float()
    return _Loss.apply(drawn.float(), truth.float(), structure, wide).to(drawn.dtype)  # type: ignore[union-attr]
