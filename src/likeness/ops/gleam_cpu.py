"""CPU twin of gleam: no copy of the harmonics of those that are shown, forth or back."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.harmonics import _C1, spherical_harmonics
from likeness.ops.jit import njit
from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp"}


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _along(means, eye, head, torso, of_head, out):
    for j in nb.prange(means.shape[0]):
        x, y, z = means[j, 0] - eye[0], means[j, 1] - eye[1], means[j, 2] - eye[2]
        k = np.float32(1) / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
        for c in range(3):
            h = x * head[0, c] + y * head[1, c] + z * head[2, c]
            t = x * torso[0, c] + y * torso[1, c] + z * torso[2, c]
            out[j, c] = k * (h if of_head[j] else t)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _first_degree(directions, factor, out):
    for j in nb.prange(directions.shape[0]):
        out[j, 0] = -factor * directions[j, 1]
        out[j, 1] = factor * directions[j, 2]
        out[j, 2] = -factor * directions[j, 0]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _forward(harmonics, basis, shown, out):
    for j in nb.prange(shown.shape[0]):
        i = shown[j]
        for c in range(3):
            total = np.float32(0)
            for k in range(basis.shape[1]):
                total += basis[j, k] * harmonics[i, k, c]
            out[j, c] = total


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
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


def gleam(harmonics: Tensor, directions: Tensor, shown: Tensor) -> Tensor:
    """The twin of `ops.gleam`; float32 inside, whatever comes in."""
    match_threads()
    along = directions.float().contiguous()
    if harmonics.shape[1] == 3:
        basis = torch.empty_like(along)
        _first_degree(along.numpy(), np.float32(_C1), basis.numpy())
    else:
        degree = round((harmonics.shape[1] + 1) ** 0.5) - 1
        basis = spherical_harmonics(along, degree)[:, 1:].contiguous()
    found = _Gleam.apply(harmonics.float(), basis, shown.contiguous())
    return found.to(harmonics.dtype)  # type: ignore[union-attr]


def seen_along(means: Tensor, eye: Tensor, head: Tensor, torso: Tensor, of_head: Tensor) -> Tensor:
    """The twin of `ops.gleam`; float32 inside, whatever comes in."""
    match_threads()
    out = torch.empty(len(means), 3)
    given = (x.float().contiguous().numpy() for x in (means, eye, head, torso))
    _along(*given, of_head.contiguous().numpy(), out.numpy())
    return out.to(means.dtype)
