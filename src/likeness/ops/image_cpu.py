"""CPU twin of the picture loss: blurs by rows that vectorise, the gradient in the same pass."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.image import C1, C2, WINDOW, window
from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp", "reassoc"}
_HALF = WINDOW // 2
f32 = np.float32


@nb.njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _statistics(x, y, taps, across):
    """Rows of x, y, x2, y2, xy blurred along the row: `across` [5, C, H, W]."""
    channels, height, width = x.shape
    for job in nb.prange(channels * height):
        c, r = job // height, job % height
        rows = np.zeros((5, width + 2 * _HALF), np.float32)
        for j in range(width):
            a, b = x[c, r, j], y[c, r, j]
            rows[0, j + _HALF], rows[1, j + _HALF] = a, b
            rows[2, j + _HALF], rows[3, j + _HALF], rows[4, j + _HALF] = a * a, b * b, a * b
        for m in range(5):
            _along(rows[m], taps, across[m, c, r])


@nb.njit(error_model="numpy", fastmath=_FAST)
def _along(padded, taps, out):
    for j in range(out.shape[0]):
        out[j] = padded[j] * taps[0]
    for k in range(1, WINDOW):
        t = taps[k]
        for j in range(out.shape[0]):
            out[j] += t * padded[j + k]


@nb.njit(error_model="numpy", fastmath=_FAST)
def _down(planes, c, r, taps, out):
    height, width = planes.shape[1], planes.shape[2]
    out[:] = f32(0)
    for k in range(max(0, _HALF - r), min(WINDOW, height + _HALF - r)):
        t = taps[k]
        row = planes[c, r + k - _HALF]
        for j in range(width):
            out[j] += t * row[j]


@nb.njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _loss(x, y, weight, across, taps, structure, partial, sums):
    """Per row the weighted loss; `partial` [3, C, H, W] gets dSSIM by mean, square and product."""
    channels, height, width = x.shape
    one, two = f32(1), f32(2)
    for job in nb.prange(channels * height):
        c, r = job // height, job % height
        s = np.empty((5, width), np.float32)
        for m in range(5):
            _down(across[m], c, r, taps, s[m])
        total = f32(0)
        for j in range(width):
            mx, my = s[0, j], s[1, j]
            vx, vy, vxy = s[2, j] - mx * mx, s[3, j] - my * my, s[4, j] - mx * my
            a, b = two * mx * my + f32(C1), two * vxy + f32(C2)
            d, e = mx * mx + my * my + f32(C1), vx + vy + f32(C2)
            inverse = one / (d * e)
            value = a * b * inverse
            w = weight[r, j]
            total += w * (
                (one - structure) * abs(x[c, r, j] - y[c, r, j]) + structure * (one - value)
            )
            g = -structure * w
            by_product = two * a * inverse
            by_square = -value / e
            by_mean = two * my * b * inverse - two * mx * value / d
            partial[0, c, r, j] = g * (by_mean - two * mx * by_square - my * by_product)
            partial[1, c, r, j] = g * by_square
            partial[2, c, r, j] = g * by_product
        sums[job] = total


@nb.njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _partial_across(partial, taps, across):
    channels, height, width = partial.shape[1:]
    for job in nb.prange(channels * height):
        c, r = job // height, job % height
        row = np.zeros(width + 2 * _HALF, np.float32)
        for m in range(3):
            row[_HALF : _HALF + width] = partial[m, c, r]
            _along(row, taps, across[m, c, r])


@nb.njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _gradient(x, y, weight, across, taps, structure, out):
    channels, height, width = x.shape
    for job in nb.prange(channels * height):
        c, r = job // height, job % height
        s = np.empty((3, width), np.float32)
        for m in range(3):
            _down(across[m], c, r, taps, s[m])
        for j in range(width):
            a, b = x[c, r, j], y[c, r, j]
            sign = f32(1) if a > b else (f32(-1) if a < b else f32(0))
            straight = (f32(1) - structure) * sign * weight[r, j]
            out[c, r, j] = straight + s[0, j] + f32(2) * a * s[1, j] + b * s[2, j]


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, drawn, truth, structure, weight):
        x = drawn.detach().permute(2, 0, 1).contiguous()
        y = truth.detach().permute(2, 0, 1).contiguous()
        w = x.new_ones(x.shape[1:]) if weight is None else weight.detach().contiguous()
        channels, height, width = x.shape
        taps = window().float().numpy()
        across = np.empty((5, channels, height, width), np.float32)
        partial = np.empty((3, channels, height, width), np.float32)
        sums = np.empty(channels * height, np.float32)
        s = np.float32(structure)
        match_threads()
        _statistics(x.numpy(), y.numpy(), taps, across)
        _loss(x.numpy(), y.numpy(), w.numpy(), across, taps, s, partial, sums)
        scale = 1.0 / (channels * max(float(w.sum()), 1e-12))
        if drawn.requires_grad:
            gradient = torch.empty_like(x)
            _partial_across(partial, taps, across)
            _gradient(x.numpy(), y.numpy(), w.numpy(), across, taps, s, gradient.numpy())
            ctx.save_for_backward(gradient.permute(1, 2, 0) * scale)
        return drawn.new_tensor(float(sums.astype(np.float64).sum() * scale))

    @staticmethod
    def backward(ctx, d_loss):  # type: ignore[override]
        return ctx.saved_tensors[0] * d_loss, None, None, None


def l1_dssim(drawn: Tensor, truth: Tensor, structure: float, weight: Tensor | None) -> Tensor:
    """The twin of `ops.image`; float32 inside, whatever comes in."""
    wide = None if weight is None else weight.float()
    return _Loss.apply(drawn.float(), truth.float(), structure, wide).to(drawn.dtype)  # type: ignore[union-attr]
