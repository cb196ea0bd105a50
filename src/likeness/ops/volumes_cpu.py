"""Packed compositing on a CPU, one ray after another; hand-written backward."""

import math
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from likeness.ops.twins import match_threads
from likeness.ops.volumes import Composite, _composite, _composite_packed

_FAST = {"nsz", "arcp", "contract", "afn"}
_BLOCK = 64  # rays per work item


def composite(
    density: Tensor, step: Tensor, values: Tensor, t: Tensor | None, stop: float
) -> Composite:
    """The dense form: packed rays that happen to be equally long."""
    if _for_checking(density, step, values):
        return _composite(density, step, values, t, stop)
    rays, samples = density.shape[:-1], density.shape[-1]
    offsets = torch.arange(rays.numel() + 1) * samples
    result = composite_packed(
        density.reshape(-1),
        step.expand(density.shape).reshape(-1),
        values.expand(*density.shape, values.shape[-1]).reshape(-1, values.shape[-1]),
        offsets,
        None if t is None else t.expand(density.shape).reshape(-1),
        stop,
    )
    return Composite(
        result.values.reshape(*rays, -1),
        result.opacity.reshape(rays),
        None if result.depth is None else result.depth.reshape(rays),
        result.weights.reshape(density.shape),
    )


def composite_packed(
    density: Tensor, step: Tensor, values: Tensor, offsets: Tensor, t: Tensor | None, stop: float
) -> Composite:
    if _for_checking(density, step, values):
        return _composite_packed(density, step, values, offsets, t, stop)
    channels = values if t is None else torch.cat([values, t[:, None]], dim=-1)
    out, opacity, weights = _Blend.apply(density, step, channels, offsets, stop)  # type: ignore[misc]
    if t is None:
        return Composite(out, opacity, None, weights)
    return Composite(out[:, :-1], opacity, out[:, -1], weights)


def _for_checking(*tensors: Tensor) -> bool:
    """float64 is for checking, and goes to the definition."""
    return any(x.dtype == torch.float64 for x in tensors)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, density: Tensor, step: Tensor, values: Tensor, offsets: Tensor, stop: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        match_threads()
        rays = offsets.shape[0] - 1
        out, opacity = torch.empty(rays, values.shape[1]), torch.empty(rays)
        weights, behind = torch.empty(density.shape), torch.empty(density.shape)
        inputs = (_numpy(density), _numpy(step), _numpy(values), _rows(offsets))
        filled = (out.numpy(), opacity.numpy(), weights.numpy(), behind.numpy())
        blend(*inputs, stop, _BLOCK, *filled)
        ctx.save_for_backward(density, step, values, offsets, weights, behind)
        return out.to(values.dtype), opacity.to(density.dtype), weights.to(density.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, g_out: Tensor, g_opacity: Tensor, g_weights: Tensor
    ) -> tuple[Tensor | None, ...]:
        match_threads()
        density, step, values, offsets, weights, behind = ctx.saved_tensors
        thickness, to_values = torch.empty(density.shape), torch.empty(values.shape)
        kept = (_numpy(values), _rows(offsets), weights.numpy(), behind.numpy())
        upstream = (_numpy(g_out), _numpy(g_opacity), _numpy(g_weights))
        blend_gradient(*kept, _BLOCK, *upstream, thickness.numpy(), to_values.numpy())
        return (
            (thickness * step).to(density.dtype),
            (thickness * density).to(step.dtype) if ctx.needs_input_grad[1] else None,
            to_values.to(values.dtype),
            None,
            None,
        )


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().float().contiguous().numpy()


def _rows(offsets: Tensor) -> np.ndarray:
    return offsets.detach().long().contiguous().numpy()


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def blend(density, step, values, offsets, stop, block, out, opacity, weights, behind):
    """Fill values (R, C), opacity (R), and per sample its weight and the light left behind it.

    `behind` is negative for samples past the early stop.
    """
    rays, channels = opacity.shape[0], values.shape[1]
    for item in prange((rays + block - 1) // block):
        for ray in range(item * block, min((item + 1) * block, rays)):
            thickness, light, total = 0.0, 1.0, 0.0
            for c in range(channels):
                out[ray, c] = 0
            for i in range(offsets[ray], offsets[ray + 1]):
                if light < stop:
                    weights[i], behind[i] = 0, -1
                    continue
                here = np.float64(density[i] * step[i])
                weight = light * -math.expm1(-here)
                thickness += here
                light = math.exp(-thickness)
                weights[i], behind[i] = weight, light
                total += weight
                for c in range(channels):
                    out[ray, c] += np.float32(weight) * values[i, c]
            opacity[ray] = total


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def blend_gradient(
    values, offsets, weights, behind, block, g_out, g_opacity, g_weights, g_thickness, g_values
):
    """Fill the gradient of density * step (N) and of values (N, C), from the far end forward.

    With d the gradient of a weight, thickness gets `behind * d` less what lies behind of `w * d`.
    """
    rays, channels = g_opacity.shape[0], values.shape[1]
    for item in prange((rays + block - 1) // block):
        for ray in range(item * block, min((item + 1) * block, rays)):
            farther = 0.0
            for j in range(offsets[ray + 1] - offsets[ray]):
                i = offsets[ray + 1] - 1 - j
                if behind[i] < 0:
                    g_thickness[i] = 0
                    for c in range(channels):
                        g_values[i, c] = 0
                    continue
                slope = g_opacity[ray] + g_weights[i]
                for c in range(channels):
                    slope += g_out[ray, c] * values[i, c]
                    g_values[i, c] = weights[i] * g_out[ray, c]
                g_thickness[i] = behind[i] * slope - farther
                farther += weights[i] * np.float64(slope)
