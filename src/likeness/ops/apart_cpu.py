"""CPU twin of comparing with a frame: three passes over rows, the gradient of the picture among
them, and one back."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.apart import _apart
from likeness.ops.image_cpu import TAPS, WIDE, compare, strips_for
from likeness.ops.jit import njit
from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp", "reassoc"}
_FIGURES = 4  # of a row: behind, matte, floating; and its weight
f32 = np.float32


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _compose(person, alpha, behind, frame, matte, weight, nobody, x, y, w, sums):
    """The person before the backdrop, and the frame, both channels first; `sums` of each row."""
    height, width = alpha.shape
    for r in nb.prange(height):
        apart, away, floating, weighs = f32(0), f32(0), f32(0), f32(0)
        for j in range(width):
            left = f32(1) - alpha[r, j]
            empty = f32(1) if matte[r, j] < nobody else f32(0)
            b0, b1, b2 = behind[r, j, 0], behind[r, j, 1], behind[r, j, 2]
            f0, f1, f2 = frame[r, j, 0], frame[r, j, 1], frame[r, j, 2]
            x[0, r, j] = person[0, r, j] + left * b0
            x[1, r, j] = person[1, r, j] + left * b1
            x[2, r, j] = person[2, r, j] + left * b2
            y[0, r, j], y[1, r, j], y[2, r, j] = f0, f1, f2
            w[r, j] = weight[r, j]
            apart += empty * (abs(b0 - f0) + abs(b1 - f1) + abs(b2 - f2))
            away += abs(alpha[r, j] - matte[r, j])
            floating += empty * alpha[r, j]
            weighs += weight[r, j]
        for j in range(width, w.shape[1]):
            w[r, j] = f32(0)
            for c in range(3):
                x[c, r, j], y[c, r, j] = f32(0), f32(0)
        sums[r, 0], sums[r, 1], sums[r, 2], sums[r, 3] = apart, away, floating, weighs


@njit(error_model="numpy", fastmath=_FAST)
def _sign(a):
    return f32(1) if a > f32(0) else (f32(-1) if a < f32(0) else f32(0))


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _back(gradient, alpha, behind, frame, matte, nobody, pulls, d_person, d_alpha, d_behind):
    """`pulls` are by how much each pixel's figures count."""
    height, width = alpha.shape
    g, b, m, f = pulls[0], pulls[1], pulls[2], pulls[3]
    for r in nb.prange(height):
        for j in range(width):
            left, empty = f32(1) - alpha[r, j], b if matte[r, j] < nobody else f32(0)
            g0, g1, g2 = g * gradient[0, r, j], g * gradient[1, r, j], g * gradient[2, r, j]
            b0, b1, b2 = behind[r, j, 0], behind[r, j, 1], behind[r, j, 2]
            d_person[0, r, j], d_person[1, r, j], d_person[2, r, j] = g0, g1, g2
            d_behind[r, j, 0] = left * g0 + empty * _sign(b0 - frame[r, j, 0])
            d_behind[r, j, 1] = left * g1 + empty * _sign(b1 - frame[r, j, 1])
            d_behind[r, j, 2] = left * g2 + empty * _sign(b2 - frame[r, j, 2])
            held = m * _sign(alpha[r, j] - matte[r, j])
            held += f if matte[r, j] < nobody else f32(0)
            d_alpha[r, j] = held - (g0 * b0 + g1 * b1 + g2 * b2)


class _Comparing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, person, alpha, behind, frame, matte, weight, structure, nobody):
        height, width = alpha.shape
        across, new = -(-width // WIDE) * WIDE, alpha.new_empty
        person = person.detach().permute(2, 0, 1).contiguous()
        given = [x.detach().contiguous() for x in (alpha, behind, frame, matte, weight)]
        x, y, w = new(3, height, across), new(3, height, across), new(height, across)
        rows, sums = np.empty((height, _FIGURES), np.float32), np.empty(3 * height)
        match_threads()
        _compose(
            person.numpy(), *(z.numpy() for z in given), f32(nobody),
            *(z.numpy() for z in (x, y, w)), rows,
        )  # fmt: skip
        gradient = new(3, height, across if any(ctx.needs_input_grad) else 0)
        flat = (z.view(-1).numpy() for z in (x, y, w))
        strips = strips_for(3, height)
        compare(*flat, height, TAPS, f32(structure), strips, sums, gradient.view(-1).numpy())
        totals, pixels = rows.astype(np.float64).sum(0), max(1, height * width)
        scale = 1 / (3 * max(float(totals[3]), 1e-12))
        ctx.save_for_backward(gradient, *given[:4])
        ctx.scales = (scale, 1 / (3 * pixels), 1 / pixels, 1 / pixels)
        ctx.nobody = f32(nobody)
        found = (float(sums.sum()), *totals[:3].tolist())
        return tuple(new(()).fill_(a * b) for a, b in zip(found, ctx.scales))

    @staticmethod
    def backward(ctx, *d_figures):  # type: ignore[override]
        gradient, alpha, behind, frame, matte = ctx.saved_tensors
        height, width = alpha.shape
        d_person, new = gradient.new_empty(3, height, width), gradient.new_empty
        d_alpha, d_behind = new(height, width), new(height, width, 3)
        pulls = np.array([float(d) * s for d, s in zip(d_figures, ctx.scales)], np.float32)
        match_threads()
        _back(
            *(z.numpy() for z in (gradient, alpha, behind, frame, matte)), ctx.nobody, pulls,
            *(z.numpy() for z in (d_person, d_alpha, d_behind)),
        )  # fmt: skip
        return d_person.permute(1, 2, 0), d_alpha, d_behind, None, None, None, None, None


def apart(
    person: Tensor,
    alpha: Tensor,
    behind: Tensor,
    frame: Tensor,
    matte: Tensor,
    weight: Tensor,
    structure: float,
    nobody: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The twin of `ops.apart`, for float32 pictures of three channels; else the definition."""
    given = (person, alpha, behind, frame, matte, weight)
    if person.shape[-1] != 3 or any(x.dtype != torch.float32 for x in given):
        return _apart(*given, structure, nobody)
    return _Comparing.apply(*given, structure, nobody)  # type: ignore[return-value]
