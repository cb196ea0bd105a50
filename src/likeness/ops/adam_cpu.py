"""CPU twin of the Adam update: one pass over memory."""

import math

import numba as nb
import numpy as np
from torch import Tensor

from likeness.ops import adam
from likeness.ops.jit import njit
from likeness.ops.twins import match_threads

_BLOCK = 16384
_RUN = 64  # entries that are looked at together
f32 = np.float32


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _step(parameter, gradient, mean, square, size, root, b1, b2, eps, bits):
    """`bits` are those of the gradient, to skip runs of zeros by; or nothing, to skip none."""
    count = parameter.shape[0]
    for block in nb.prange((count + _BLOCK - 1) // _BLOCK):
        for first in range(block * _BLOCK, min(count, (block + 1) * _BLOCK), _RUN):
            last = min(count, first + _RUN)
            rests = bits.shape[0] > 0
            if rests:
                any_bits = nb.int32(0)
                for i in range(first, last):
                    any_bits |= bits[i]
                if any_bits == 0:
                    continue
            for i in range(first, last):
                g = gradient[i]
                g = g if abs(g) < f32(3e38) else f32(0)  # NaN compares false
                m = b1 * mean[i] + (f32(1) - b1) * g
                v = b2 * square[i] + (f32(1) - b2) * g * g
                change = size * m / (np.sqrt(v) * root + eps)
                still = rests and g == f32(0)
                mean[i] = mean[i] if still else m
                square[i] = square[i] if still else v
                parameter[i] -= f32(0) if still else change


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
    if any(str(t.dtype) != "torch.float32" or not t.is_contiguous() for t in tensors):
        adam._adam_step(parameter, gradient, mean, square, step, rate, betas, eps, resting)
        return
    match_threads()
    flat = [t.detach().view(-1).numpy() for t in tensors]
    _step(
        *flat,
        np.float32(rate / (1 - betas[0] ** step)),
        np.float32(1 / math.sqrt(1 - betas[1] ** step)),
        np.float32(betas[0]),
        np.float32(betas[1]),
        np.float32(eps),
        flat[1].view(np.int32) if resting else np.empty(0, np.int32),
    )
