"""CPU twin of skinning: one pass over the vertices forth, one over the shapes back."""

from typing import Any

import numba as nb
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.ops.jit import njit
from likeness.ops.lanes import LANES, added, steps
from likeness.ops.lanes_memory import load, store
from likeness.ops.skin import RUN, _skinned
from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp"}
_BLOCK = 512  # vertices whose sums are taken together
f32 = np.float32


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def displace(template, shapes, runs, weights, out):
    """All flat, but `runs`."""
    count = template.shape[0]
    for run in nb.prange(runs.shape[1]):
        first, last = 3 * run * RUN, min(3 * (run + 1) * RUN, count)
        for i in range(first, last):
            out[i] = template[i]
        whole = first + (last - first) // LANES * LANES
        for k in range(weights.shape[0]):
            w = weights[k]
            if w == f32(0) or not runs[k, run]:
                continue
            row = k * count
            for i in range(first, whole, LANES):
                store(out, i, load(out, i) + load(shapes, row + i) * w)
            for i in range(whole, last):
                out[i] += w * shapes[row + i]


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def turn(moved, skin, motions, vertices):
    """Turns those vertices in place: so few that to wake another worker takes longer."""
    for n in range(moved.shape[0]):
        v = moved[n]
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        for i in range(3):
            at = vertices[v, i]
            for j in range(skin.shape[1]):
                m = motions[j, i]
                moved_to = m[0] * x + m[1] * y + m[2] * z + m[3]
                at += skin[n, j] * (moved_to - (x if i == 0 else (y if i == 1 else z)))
            vertices[v, i] = at


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _turn_back(moved, skin, motions, before, gradient, sums):
    """Gradients of vertices in place, from after their turn to before it; per block those of the
    motions (12 numbers each)."""
    for block in range(sums.shape[0]):
        for n in range(block * _BLOCK, min((block + 1) * _BLOCK, moved.shape[0])):
            v = moved[n]
            g0, g1, g2 = gradient[v, 0], gradient[v, 1], gradient[v, 2]
            for j in range(skin.shape[1]):
                s, m = skin[n, j], motions[j]
                if s == f32(0):
                    continue
                for i in range(3):
                    g = s * (g0 if i == 0 else (g1 if i == 1 else g2))
                    for k in range(3):
                        sums[block, 12 * j + 4 * i + k] += g * before[v, k]
                        gradient[v, k] += g * (m[i, k] - (f32(1) if i == k else f32(0)))
                    sums[block, 12 * j + 4 * i + 3] += g


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _weigh_back(shapes, runs, gradient, d_weights):
    count = gradient.shape[0]
    for k in nb.prange(d_weights.shape[0]):
        total, row = 0.0, k * count
        for run in range(runs.shape[1]):
            if not runs[k, run]:
                continue
            first, last = 3 * run * RUN, min(3 * (run + 1) * RUN, count)
            whole = first + (last - first) // LANES * LANES
            part = steps(f32(0)) * f32(0)
            for i in range(first, whole, LANES):
                part = part + load(shapes, row + i) * load(gradient, i)
            total += np.float64(added(part))
            for i in range(whole, last):
                total += np.float64(shapes[row + i] * gradient[i])
        d_weights[k] = total


class _Skinned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, template, shapes, runs, weights, moved, skin, motions):
        given = [x.detach().contiguous() for x in (template, shapes, runs, weights)]
        plain = motions.detach().contiguous()
        before = torch.empty_like(given[0])
        template, shapes, runs, weights = given
        flat = (template.view(-1).numpy(), shapes.view(-1).numpy(), runs.numpy(), weights.numpy())
        displace(*flat, before.view(-1).numpy())
        out = before.clone()
        turn(moved.numpy(), skin.numpy(), plain.numpy(), out.numpy())
        ctx.save_for_backward(shapes, runs, moved, skin, plain, before)
        return out

    @staticmethod
    def backward(ctx: Any, d_out):  # type: ignore[override]
        shapes, runs, moved, skin, motions, before = ctx.saved_tensors
        gradient = d_out.clone(memory_format=torch.contiguous_format)
        match_threads()
        d_weights, by_motion = unskinned(shapes, runs, moved, skin, motions, before, gradient)
        d_motions = F.pad(by_motion.view(-1, 3, 4), (0, 0, 0, 1))
        return None, None, None, d_weights, None, None, d_motions


def unskinned(
    shapes: Tensor,
    runs: Tensor,
    moved: Tensor,
    skin: Tensor,
    motions: Tensor,
    before: Tensor,
    gradient: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of weights, and of the joints' motions (12 numbers each), from those of vertices,
    which are changed; `before` is where vertices were before joints turned them."""
    sums = gradient.new_zeros(max(1, -(-len(moved) // _BLOCK)), 12 * len(motions))
    _turn_back(
        *(x.numpy() for x in (moved, skin, motions, before, gradient, sums)),
    )
    d_weights = gradient.new_empty(len(shapes))
    flat = (shapes.view(-1).numpy(), runs.numpy(), gradient.view(-1).numpy())
    _weigh_back(*flat, d_weights.numpy())
    return d_weights, sums.double().sum(0).float()


def skinned(
    template: Tensor,
    shapes: Tensor,
    runs: Tensor,
    weights: Tensor,
    moved: Tensor,
    skin: Tensor,
    motions: Tensor,
) -> Tensor:
    """The twin of `ops.skin` in float32; anything else takes the definition."""
    given = (template, shapes, weights, skin, motions)
    if any(x.dtype != torch.float32 for x in given):
        return _skinned(template, shapes, runs, weights, moved, skin, motions)
    match_threads()
    return _Skinned.apply(template, shapes, runs, weights, moved, skin, motions)  # type: ignore[return-value]
