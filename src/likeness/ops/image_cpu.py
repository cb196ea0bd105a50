"""CPU twin of the picture loss: one way down each channel, the gradient in the same pass.

Rows are blurred along as they come into a ring of eleven; the middle one of them is then blurred
across, compared, and its share of the gradient goes along into a second ring, five rows behind.
So what is blurred twice stays near. Two times eight pixels are worked on as one.
"""

import numba as nb
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.ops.image import C1, C2, WINDOW, window
from likeness.ops.jit import njit
from likeness.ops.lanes import LANES, added, halves_added, higher, where_least
from likeness.ops.lanes_memory import load_both, store
from likeness.ops.twins import match_threads, threads

_FAST = {"contract", "nsz", "arcp"}
_HALF = WINDOW // 2
WIDE = 2 * LANES
"""Pixels that are worked on as one."""
TAPS = window().float().numpy()
_MEANS, _PARTS = 5, 3  # what is blurred of two pictures, and of the gradient
f32 = np.float32


@njit(error_model="numpy", fastmath=_FAST)
def _blurred(rows, at, taps):
    """Two times eight sums over eleven rows, of which `at` says where they begin."""
    total = load_both(rows, at[5]) * taps[5]
    total = total + (load_both(rows, at[0]) + load_both(rows, at[10])) * taps[0]
    total = total + (load_both(rows, at[1]) + load_both(rows, at[9])) * taps[1]
    total = total + (load_both(rows, at[2]) + load_both(rows, at[8])) * taps[2]
    total = total + (load_both(rows, at[3]) + load_both(rows, at[7])) * taps[3]
    return total + (load_both(rows, at[4]) + load_both(rows, at[6])) * taps[4]


@njit(error_model="numpy")
def _beside(at):
    """Eleven places, one after the other."""
    return (
        at, at + 1, at + 2, at + 3, at + 4, at + 5, at + 6, at + 7, at + 8, at + 9, at + 10,
    )  # fmt: skip


@njit(error_model="numpy")
def _ring(middle, size):
    """Where the eleven rows around `middle` are in a ring."""
    a = (middle + WINDOW - _HALF) % WINDOW
    return (
        a * size, (a + 1) % WINDOW * size, (a + 2) % WINDOW * size, (a + 3) % WINDOW * size,
        (a + 4) % WINDOW * size, (a + 5) % WINDOW * size, (a + 6) % WINDOW * size,
        (a + 7) % WINDOW * size, (a + 8) % WINDOW * size, (a + 9) % WINDOW * size,
        (a + 10) % WINDOW * size,
    )  # fmt: skip


@njit(error_model="numpy")
def _moved(at, by):
    return (
        at[0] + by, at[1] + by, at[2] + by, at[3] + by, at[4] + by, at[5] + by, at[6] + by,
        at[7] + by, at[8] + by, at[9] + by, at[10] + by,
    )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def _tap(a, b, at, t, means):
    """Means of x, y, x2, y2, xy with one more neighbour."""
    x, y = load_both(a, at), load_both(b, at)
    tx, ty = x * t, y * t
    return (
        means[0] + tx, means[1] + ty, means[2] + tx * x, means[3] + ty * y, means[4] + tx * y,
    )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def _means_along(a, b, taps, ring, to, across):
    """Blurs along rows with borders, `a` and `b`, and along their squares and product."""
    none = load_both(a, 0) * f32(0)
    for j in range(0, across, WIDE):
        m = (none, none, none, none, none)
        m = _tap(a, b, j, taps[0], m)
        m = _tap(a, b, j + 1, taps[1], m)
        m = _tap(a, b, j + 2, taps[2], m)
        m = _tap(a, b, j + 3, taps[3], m)
        m = _tap(a, b, j + 4, taps[4], m)
        m = _tap(a, b, j + 5, taps[5], m)
        m = _tap(a, b, j + 6, taps[4], m)
        m = _tap(a, b, j + 7, taps[3], m)
        m = _tap(a, b, j + 8, taps[2], m)
        m = _tap(a, b, j + 9, taps[1], m)
        m = _tap(a, b, j + 10, taps[0], m)
        store(ring, to + j, m[0])
        store(ring, to + across + j, m[1])
        store(ring, to + 2 * across + j, m[2])
        store(ring, to + 3 * across + j, m[3])
        store(ring, to + 4 * across + j, m[4])


@njit(error_model="numpy", fastmath=_FAST)
def _compared(ring, at, across, taps, x, y, place, w, where, structure, parts, room):
    """A row: how far apart the pictures are, in all; in rows with borders, what the structural
    term's gradient is by mean, square and product."""
    one, two = f32(1), f32(2)
    total = load_both(w, where) * f32(0)
    for j in range(0, across, WIDE):
        mx, my = _blurred(ring, _moved(at, j), taps), _blurred(ring, _moved(at, across + j), taps)
        xx = _blurred(ring, _moved(at, 2 * across + j), taps) - mx * mx
        yy = _blurred(ring, _moved(at, 3 * across + j), taps) - my * my
        xy = _blurred(ring, _moved(at, 4 * across + j), taps) - mx * my
        a, b = two * mx * my + f32(C1), two * xy + f32(C2)
        d, e = mx * mx + my * my + f32(C1), xx + yy + f32(C2)
        by_d, by_e = one / d, one / e
        inverse = by_d * by_e
        value = a * b * inverse
        weight = load_both(w, where + j)
        apart = load_both(x, place + j) - load_both(y, place + j)
        apart = higher(apart, f32(0) - apart)
        total = total + weight * ((one - structure) * apart + structure * (one - value))
        g = weight * (f32(0) - structure)
        by_product = two * a * inverse
        by_square = f32(0) - value * by_e
        by_mean = two * my * b * inverse - two * mx * value * by_d
        store(parts, _HALF + j, g * (by_mean - two * mx * by_square - my * by_product))
        store(parts, room + _HALF + j, g * by_square)
        store(parts, 2 * room + _HALF + j, g * by_product)
    return added(halves_added(total))


@njit(error_model="numpy", fastmath=_FAST)
def _gradient(ring, at, across, taps, x, y, place, w, where, structure, out):
    for j in range(0, across, WIDE):
        a, b = load_both(x, place + j), load_both(y, place + j)
        by_mean = _blurred(ring, _moved(at, j), taps)
        by_square = _blurred(ring, _moved(at, across + j), taps)
        by_product = _blurred(ring, _moved(at, 2 * across + j), taps)
        weight = load_both(w, where + j) * (f32(1) - structure)
        apart = a - b
        straight = where_least(apart, f32(1e-38), weight)
        straight = straight - where_least(f32(0) - apart, f32(1e-38), weight)
        store(out, place + j, straight + by_mean + f32(2) * a * by_square + b * by_product)


@njit(error_model="numpy")
def _bordered(plane, place, there, across, to):
    """A row into the middle of one with borders; zeros where there is none."""
    for j in range(0, across, WIDE):
        value = load_both(plane, place + j if there else 0)
        store(to, _HALF + j, value if there else value * f32(0))


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def compare(x, y, weight, height, taps, structure, strips, sums, gradient):
    """Sums of the weighed loss for each row of each channel, and its gradient by `x` unless that
    is empty. All flat; rows have a multiple of `WIDE` numbers, and no weight where there is no
    pixel. Each channel is done in so many strips."""
    across, channels = weight.shape[0] // height, x.shape[0] // weight.shape[0]
    room, back = across + 2 * _HALF + WIDE, gradient.shape[0] > 0
    t = (taps[0], taps[1], taps[2], taps[3], taps[4], taps[5])
    for job in nb.prange(channels * strips):
        c, strip = job // strips, job % strips
        begin, end = strip * height // strips, (strip + 1) * height // strips
        means = np.zeros(WINDOW * _MEANS * across, np.float32)
        pulls = np.zeros(WINDOW * _PARTS * across, np.float32)
        a, b = np.zeros(room, np.float32), np.zeros(room, np.float32)
        parts = np.zeros(_PARTS * room, np.float32)
        for newest in range(begin - 2 * _HALF, end + 2 * _HALF):
            place, there = (c * height + newest) * across, 0 <= newest < height
            _bordered(x, place, there, across, a)
            _bordered(y, place, there, across, b)
            _means_along(a, b, t, means, newest % WINDOW * _MEANS * across, across)
            row = newest - _HALF
            if row < begin - _HALF:
                continue
            place, where = (c * height + row) * across, row * across
            if 0 <= row < height:
                total = _compared(
                    means, _ring(row, _MEANS * across), across, t, x, y, place, weight, where,
                    structure, parts, room,
                )  # fmt: skip
                if begin <= row < end:
                    sums[c * height + row] = total
            else:
                parts[:] = f32(0)
            if not back:
                continue
            to = row % WINDOW * _PARTS * across
            for k in range(_PARTS):
                for j in range(0, across, WIDE):
                    at = _beside(k * room + j)
                    store(pulls, to + k * across + j, _blurred(parts, at, t))
            row -= _HALF
            if begin <= row < end:
                place, where = (c * height + row) * across, row * across
                at = _ring(row, _PARTS * across)
                _gradient(pulls, at, across, t, x, y, place, weight, where, structure, gradient)


def strips_for(channels: int, height: int) -> int:
    """In how many strips channels are done, so that all workers have as much to do."""
    workers = threads()
    return 1 if channels % workers == 0 else max(1, min(workers, height // (2 * WINDOW)))


def _padded(planes: Tensor) -> np.ndarray:
    """Rows of a multiple of `WIDE`, all flat."""
    return F.pad(planes, (0, -planes.shape[-1] % WIDE)).view(-1).numpy()


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, drawn, truth, structure, weight):
        height, width, channels = drawn.shape
        x, y = (_padded(z.detach().permute(2, 0, 1).contiguous()) for z in (drawn, truth))
        w = drawn.new_ones(height, width) if weight is None else weight.detach()
        sums, wide = np.empty(channels * height), _padded(w.contiguous())
        gradient = torch.empty(channels, height, len(wide) // height * drawn.requires_grad)
        match_threads()
        strips, flat = strips_for(channels, height), gradient.view(-1).numpy()
        compare(x, y, wide, height, TAPS, f32(structure), strips, sums, flat)
        scale = 1.0 / (channels * max(float(w.sum()), 1e-12))
        if drawn.requires_grad:
            ctx.save_for_backward(gradient[..., :width].permute(1, 2, 0))
            ctx.scale = scale
        return drawn.new_tensor(float(sums.sum() * scale))

    @staticmethod
    def backward(ctx, d_loss):  # type: ignore[override]
        return ctx.saved_tensors[0] * (d_loss * ctx.scale), None, None, None


def l1_dssim(drawn: Tensor, truth: Tensor, structure: float, weight: Tensor | None) -> Tensor:
    """The twin of `ops.image`; float32 inside, whatever comes in."""
    wide = None if weight is None else weight.float()
    return _Loss.apply(drawn.float(), truth.float(), structure, wide).to(drawn.dtype)  # type: ignore[union-attr]
