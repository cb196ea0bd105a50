"""GPU twin of packed compositing, in Triton: a lane per ray, sample after sample, as on a CPU.

Rays of equal length lie well for plain torch, so `composite` has no twin here. Runs on a CPU in
Triton's interpreter, for tests.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from likeness.ops.gpu_jit import jit
from likeness.ops.volumes import Composite, _composite_packed

_BLOCK = 32


@jit
def _expm1(x):
    """exp(x) - 1 for x <= 0, exact near 0 too."""
    series = x * (1 + x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24))))
    return tl.where(x > -0.02, series, tl.exp(x) - 1)


@jit
def _blend(
    density, step, values, offsets, rays, stop, out, opacity, weights, behind,
    channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    ray = tl.program_id(0) * block + tl.arange(0, block)
    here, c = ray < rays, tl.arange(0, padded)
    first = tl.load(offsets + ray, mask=here, other=0)
    last = tl.load(offsets + ray + 1, mask=here, other=0)
    thickness = tl.zeros([block], tl.float32)
    light, total = thickness + 1, thickness
    gathered = tl.zeros([block, padded], tl.float32)
    for j in range(0, tl.max(last - first, 0)):
        i = first + j
        used = i < last
        lit = used & (light >= stop)
        now = tl.load(density + i, mask=lit, other=0.0) * tl.load(step + i, mask=lit, other=0.0)
        weight = tl.where(lit, light * -_expm1(-now), 0.0)
        thickness += tl.where(lit, now, 0.0)
        light = tl.where(lit, tl.exp(-thickness), light)
        total += weight
        tl.store(weights + i, weight, mask=used)
        tl.store(behind + i, tl.where(lit, light, -1.0), mask=used)
        place = values + i[:, None] * channels + c[None, :]
        value = tl.load(place, mask=lit[:, None] & (c < channels)[None, :], other=0.0)
        gathered += weight[:, None] * value
    tl.store(opacity + ray, total, mask=here)
    place = out + ray[:, None] * channels + c[None, :]
    tl.store(place, gathered, mask=here[:, None] & (c < channels)[None, :])


@jit
def _blend_gradient(
    values, offsets, rays, weights, behind, g_out, g_opacity, g_weights, g_thickness, g_values,
    channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """From the far end forward; see `volumes_cpu.blend_gradient`."""
    ray = tl.program_id(0) * block + tl.arange(0, block)
    here, c = ray < rays, tl.arange(0, padded)
    first = tl.load(offsets + ray, mask=here, other=0)
    last = tl.load(offsets + ray + 1, mask=here, other=0)
    channel = (c < channels)[None, :]
    upstream = tl.load(
        g_out + ray[:, None] * channels + c[None, :], mask=here[:, None] & channel, other=0.0
    )
    g_whole = tl.load(g_opacity + ray, mask=here, other=0.0)
    farther = tl.zeros([block], tl.float32)
    for j in range(0, tl.max(last - first, 0)):
        i = last - 1 - j
        used = i >= first
        left = tl.load(behind + i, mask=used, other=-1.0)
        lit = left >= 0
        weight = tl.load(weights + i, mask=lit, other=0.0)
        place = i[:, None] * channels + c[None, :]
        value = tl.load(values + place, mask=lit[:, None] & channel, other=0.0)
        slope = g_whole + tl.load(g_weights + i, mask=lit, other=0.0)
        slope += tl.sum(upstream * value, 1)
        tl.store(g_thickness + i, tl.where(lit, left * slope - farther, 0.0), mask=used)
        tl.store(g_values + place, weight[:, None] * upstream, mask=used[:, None] & channel)
        farther += weight * slope


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, density, step, values, offsets, stop):
        given = [x.detach().float().contiguous() for x in (density, step, values)]
        offsets, rays = offsets.long().contiguous(), offsets.shape[0] - 1
        new, channels = given[0].new_zeros, values.shape[1]
        out, opacity = new(rays, channels), new(rays)
        weights, behind = new(density.shape), new(density.shape)
        ctx.shape = {
            "channels": channels,
            "padded": triton.next_power_of_2(max(channels, 1)),
            "block": _BLOCK,
        }
        if rays > 0:
            _blend[(triton.cdiv(rays, _BLOCK),)](
                *given, offsets, rays, float(stop), out, opacity, weights, behind, **ctx.shape
            )
        ctx.save_for_backward(density, step, values, offsets, weights, behind)
        return out.to(values.dtype), opacity.to(density.dtype), weights.to(density.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_out, g_opacity, g_weights):  # type: ignore[override]
        density, step, values, offsets, weights, behind = ctx.saved_tensors
        wide = values.float().contiguous()
        thickness, to_values = torch.zeros_like(weights), torch.zeros_like(wide)
        upstream = [x.float().contiguous() for x in (g_out, g_opacity, g_weights)]
        rays = offsets.shape[0] - 1
        if rays > 0:
            _blend_gradient[(triton.cdiv(rays, _BLOCK),)](
                wide, offsets, rays, weights, behind, *upstream, thickness, to_values, **ctx.shape
            )
        return (
            (thickness * step).to(density.dtype),
            (thickness * density).to(step.dtype),
            to_values.to(values.dtype),
            None,
            None,
        )


def composite_packed(
    density: Tensor, step: Tensor, values: Tensor, offsets: Tensor, t: Tensor | None, stop: float
) -> Composite:
    if any(x.dtype == torch.float64 for x in (density, step, values)):
        return _composite_packed(density, step, values, offsets, t, stop)
    channels = values if t is None else torch.cat([values, t[:, None]], dim=-1)
    out, opacity, weights = _Blend.apply(density, step, channels, offsets, stop)  # type: ignore[misc]
    if t is None:
        return Composite(out, opacity, None, weights)
    return Composite(out[:, :-1], opacity, out[:, -1], weights)
