"""CPU twin of gleam: no copy of the harmonics of those that are shown, forth or back."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp"}


@nb.njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _forward(harmonics, basis, shown, out):
    for j in nb.prange(shown.shape[0]):
        i = shown[j]
        for c in range(3):
            total = np.float32(0)
            for k in range(basis.shape[1]):
                total += basis[j, k] * harmonics[i, k, c]
            out[j, c] = total


@nb.njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _backward(basis, shown, d_out, d_harmonics):
    """A splat is shown once, so every worker writes rows of its own."""
    for j in nb.prange(shown.shape[0]):
        i = shown[j]
        for k in range(basis.shape[1]):
            for c in range(3):
                d_harmonics[i, k, c] = basis[j, k] * d_out[j, c]


class _Gleam(torch.autograd.Function):
    @staticmethod
    def forward(ctx, harmonics, basis, shown):
        out = basis.new_empty(basis.shape[0], 3)
        _forward(harmonics.detach().contiguous().numpy(), basis.numpy(), shown.numpy(), out.numpy())
        ctx.save_for_backward(basis, shown)
        ctx.size = harmonics.shape
        return out

    @staticmethod
    def backward(ctx, d_out):  # type: ignore[override]
        basis, shown = ctx.saved_tensors
        d_harmonics = d_out.new_zeros(ctx.size)
        match_threads()
        _backward(basis.numpy(), shown.numpy(), d_out.contiguous().numpy(), d_harmonics.numpy())
        return d_harmonics, None, None


def gleam(harmonics: Tensor, basis: Tensor, shown: Tensor) -> Tensor:
    """The twin of `ops.gleam`; float32 inside, whatever comes in."""
    match_threads()
    found = _Gleam.apply(harmonics.float(), basis.float().contiguous(), shown.contiguous())
    return found.to(harmonics.dtype)  # type: ignore[union-attr]
