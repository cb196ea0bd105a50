"""GPU twin of the Adam update, in Triton: one pass over memory."""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from likeness.ops import adam
from likeness.ops.gpu_jit import jit

_BLOCK = 1024


@jit
def _step(
    parameter, gradient, mean, square, size, root, b1, b2, eps, count,
    resting: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    here = i < count
    g = tl.load(gradient + i, mask=here, other=0.0)
    g = tl.where(tl.abs(g) < 3e38, g, 0.0)  # NaN compares false
    here = here & (g != 0) if resting else here
    m = b1 * tl.load(mean + i, mask=here, other=0.0) + (1 - b1) * g
    v = b2 * tl.load(square + i, mask=here, other=0.0) + (1 - b2) * g * g
    p = tl.load(parameter + i, mask=here, other=0.0)
    tl.store(mean + i, m, mask=here)
    tl.store(square + i, v, mask=here)
    tl.store(parameter + i, p - size * m / (tl.sqrt(v) * root + eps), mask=here)


@torch.no_grad()
def adam_step(
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    resting: bool = False,
) -> None:
    """The twin of `ops.adam`, for contiguous float32; anything else takes the definition."""
    tensors = (parameter, gradient, mean, square)
    if any(x.dtype != torch.float32 or not x.is_contiguous() for x in tensors):
        adam._adam_step(parameter, gradient, mean, square, step, rate, betas, eps, resting)
    elif parameter.numel():
        size, root = rate / (1 - betas[0] ** step), 1 / math.sqrt(1 - betas[1] ** step)
        grid = (triton.cdiv(parameter.numel(), _BLOCK),)
        numbers = (size, root, *betas, eps, parameter.numel())
        _step[grid](*tensors, *numbers, resting=resting, block=_BLOCK)
