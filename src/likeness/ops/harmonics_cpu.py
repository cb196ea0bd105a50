"""CPU twin of harmonic colour: one pass over the coefficients forward, one back."""

from typing import Any

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.harmonics import _splat_colour, spherical_harmonics
from likeness.ops.jit import njit
from likeness.ops.twins import match_threads

f32 = np.float32
_FAST = {"contract", "nsz", "arcp"}


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _forward(harmonics, basis, colour):
    for i in nb.prange(basis.shape[0]):
        red, green, blue = f32(0.5), f32(0.5), f32(0.5)
        for k in range(basis.shape[1]):
            red += basis[i, k] * harmonics[i, k, 0]
            green += basis[i, k] * harmonics[i, k, 1]
            blue += basis[i, k] * harmonics[i, k, 2]
        colour[i, 0] = red if red > f32(0) or red != red else f32(0)
        colour[i, 1] = green if green > f32(0) or green != green else f32(0)
        colour[i, 2] = blue if blue > f32(0) or blue != blue else f32(0)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _backward(harmonics, basis, colour, gradient, d_harmonics, d_basis):
    """`d_basis` may have no columns, where directions want no gradient."""
    for i in nb.prange(basis.shape[0]):
        red = gradient[i, 0] if colour[i, 0] > f32(0) else f32(0)
        green = gradient[i, 1] if colour[i, 1] > f32(0) else f32(0)
        blue = gradient[i, 2] if colour[i, 2] > f32(0) else f32(0)
        for k in range(basis.shape[1]):
            d_harmonics[i, k, 0] = basis[i, k] * red
            d_harmonics[i, k, 1] = basis[i, k] * green
            d_harmonics[i, k, 2] = basis[i, k] * blue
        for k in range(d_basis.shape[1]):
            h = harmonics[i, k]
            d_basis[i, k] = red * h[0] + green * h[1] + blue * h[2]


class _Colour(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, harmonics, basis):
        h, b = harmonics.detach().contiguous(), basis.detach().contiguous()
        colour = h.new_empty(h.shape[0], 3)
        _forward(h.numpy(), b.numpy(), colour.numpy())
        ctx.save_for_backward(h, b, colour)
        return colour

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient):  # type: ignore[override]
        h, b, colour = ctx.saved_tensors
        d_harmonics = torch.empty_like(h)
        d_basis = b.new_empty(b.shape if ctx.needs_input_grad[1] else (b.shape[0], 0))
        match_threads()
        given = (h, b, colour, gradient.contiguous(), d_harmonics, d_basis)
        _backward(*(x.numpy() for x in given))
        return d_harmonics, d_basis if ctx.needs_input_grad[1] else None


def splat_colour(harmonics: Tensor, directions: Tensor, degree: int) -> Tensor:
    """float32 and below; float64 is for checking, and goes to the definition."""
    if torch.float64 in (harmonics.dtype, directions.dtype):
        return _splat_colour(harmonics, directions, degree)
    match_threads()
    basis = spherical_harmonics(directions.float(), degree)
    return _Colour.apply(harmonics.float(), basis).to(harmonics.dtype)  # type: ignore[union-attr]
