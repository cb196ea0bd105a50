"""CPU twin of the Adam update: one pass over memory."""

import math
from collections.abc import Sequence

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.adam import Update, _adam_step, _adam_step_of_product
from likeness.ops.jit import njit
from likeness.ops.lanes import LANES, added, higher, sound, steps, where_least, which
from likeness.ops.lanes import root as root_of
from likeness.ops.lanes_memory import load, store
from likeness.ops.twins import match_threads

_BLOCK = 16384
_RUN = 64  # entries that are looked at together
_PART = (
    4096  # entries of a table before the next table's turn: their gradients' parts stay in cache
)
_TOGETHER = 16  # tensors that are updated in one pass
_NOTHING = np.empty(0, np.float32)
_FAST = {"contract", "nsz", "arcp"}
f32 = np.float32


@njit(error_model="numpy", fastmath=_FAST)
def _run(parameter, gradient, mean, square, size, root, b1, b2, eps, rests):
    for i in range(parameter.shape[0]):
        g = gradient[i]
        g = g if abs(g) < f32(3e38) else f32(0)  # NaN compares false
        m = b1 * mean[i] + (f32(1) - b1) * g
        v = b2 * square[i] + (f32(1) - b2) * g * g
        change = size * m / (np.sqrt(v) * root + eps)
        still = rests and g == f32(0)
        mean[i] = mean[i] if still else m
        square[i] = square[i] if still else v
        parameter[i] -= f32(0) if still else change


@njit(error_model="numpy", fastmath=_FAST)
def _eight(gradient, parameter, mean, square, i, size, root, b1, b2, eps, least):
    """Eight entries; those with a gradient shorter than `least` rest."""
    g = sound(gradient)
    length = higher(g, f32(0) - g)
    m, v = load(mean, i), load(square, i)
    m_new = b1 * m + (f32(1) - b1) * g
    v_new = b2 * v + (f32(1) - b2) * g * g
    change = size * m_new / (root_of(v_new) * root + eps)
    store(mean, i, which(length, least, m_new, m))
    store(square, i, which(length, least, v_new, v))
    store(parameter, i, load(parameter, i) - where_least(length, least, change))


@njit(error_model="numpy", fastmath=_FAST)
def _entries(parameter, gradient, mean, square, begin, end, size, root, b1, b2, eps, rests):
    """Runs where gradient, mean and square are zero stay as they are: much of a table is of what
    nothing draws from."""
    least = f32(1e-45) if rests else f32(-1)  # of a gradient that moves anything
    for first in range(begin, end, _RUN):
        last = min(end, first + _RUN)
        if (
            last - first == _RUN
            and _all_zero(gradient, first)
            and (rests or (_all_zero(mean, first) and _all_zero(square, first)))
        ):
            continue
        whole = first + (last - first) // LANES * LANES
        for i in range(first, whole, LANES):
            _eight(load(gradient, i), parameter, mean, square, i, size, root, b1, b2, eps, least)
        _run(
            parameter[whole:last], gradient[whole:last], mean[whole:last], square[whole:last],
            size, root, b1, b2, eps, rests,
        )  # fmt: skip


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _steps(parameters, gradients, means, squares, numbers, rests, jobs):
    """Jobs are a tensor and a block of it each; a row of `numbers` is one tensor's."""
    for job in nb.prange(jobs.shape[0]):
        n, begin = jobs[job, 0], jobs[job, 1] * _BLOCK
        size, root, b1, b2, eps = numbers[n]
        _entries(
            parameters[n], gradients[n], means[n], squares[n], begin,
            min(begin + _BLOCK, parameters[n].shape[0]), size, root, b1, b2, eps, rests[n],
        )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def _all_zero(values, first):
    """Whether a run has no other number; what is no number counts as zero."""
    none = steps(f32(0)) * f32(0)
    most = none
    for i in range(first, first + _RUN, LANES):
        value = sound(load(values, i))
        most = higher(most, higher(value, none - value))
    return added(most) == f32(0)


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
    adam_steps([Update(parameter, gradient, mean, square, step, rate, betas, eps, resting)])


def adam_steps(updates: Sequence[Update]) -> None:
    """The same for many tensors: one pass over all of them."""
    fit: list[Update] = []
    for u in updates:
        tensors = (u.parameter, u.gradient, u.mean, u.square)
        if all(t.dtype is torch.float32 and t.is_contiguous() for t in tensors):
            fit.append(u)
        else:
            _adam_step(*tensors, u.step, u.rate, u.betas, u.eps, u.resting)
    match_threads()
    for first in range(0, len(fit), _TOGETHER):
        _together(fit[first : first + _TOGETHER])


def _together(updates: list[Update]) -> None:
    spare = [_NOTHING] * (_TOGETHER - len(updates))  # one kernel for any number
    flat = (
        tuple([*(getattr(u, name).detach().view(-1).numpy() for u in updates), *spare])
        for name in ("parameter", "gradient", "mean", "square")
    )
    numbers = np.array([_numbers(u.step, u.rate, u.betas, u.eps) for u in updates], np.float32)
    blocks = [-(-u.parameter.numel() // _BLOCK) for u in updates]
    jobs = np.array([(n, k) for n, count in enumerate(blocks) for k in range(count)], np.int64)
    rests = np.array([u.resting for u in updates])
    _steps(*flat, numbers, rests, jobs.reshape(-1, 2))


def _numbers(
    step: int, rate: float, betas: tuple[float, float], eps: float
) -> tuple[np.float32, ...]:
    """Length of a step, what roots are multiplied by, and the rest, as kernels take them."""
    root = 1 / math.sqrt(1 - betas[1] ** step)
    numbers = (rate / (1 - betas[0] ** step), root, *betas, eps)
    return tuple(np.float32(x) for x in numbers)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _product_step(parameter, weights, parts, mean, square, size, root, b1, b2, eps, rests):
    """Tables one after the other, all flat but weights and parts. Runs that no part pulls at rest
    in tables whose means are zero there, or in all."""
    (terms, tables), count = weights.shape, parts.shape[1]
    flat, least = parts.reshape(-1), f32(1e-45) if rests else f32(-1)
    for block in nb.prange((count + _PART - 1) // _PART):
        begin, end = block * _PART, min(count, (block + 1) * _PART)
        pulls = _pulls(parts, begin, end)
        g = np.empty(LANES, np.float32)
        for table in range(tables):
            row = table * count
            for first in range(begin, end, _RUN):
                last = min(end, first + _RUN)
                if not pulls[(first - begin) // _RUN] and (
                    rests
                    or (
                        last - first == _RUN
                        and _all_zero(mean, row + first)
                        and _all_zero(square, row + first)
                    )
                ):
                    continue
                whole = first + (last - first) // LANES * LANES
                for i in range(first, whole, LANES):
                    pull = load(flat, i) * weights[0, table]
                    for b in range(1, terms):
                        pull = pull + load(flat, b * count + i) * weights[b, table]
                    _eight(
                        pull, parameter, mean, square, row + i, size, root, b1, b2, eps, least
                    )  # fmt: skip
                for i in range(whole, last):
                    g[i - whole] = f32(0)
                    for b in range(terms):
                        g[i - whole] += weights[b, table] * parts[b, i]
                _run(
                    parameter[row + whole : row + last], g, mean[row + whole : row + last],
                    square[row + whole : row + last], size, root, b1, b2, eps, rests,
                )  # fmt: skip


@njit(error_model="numpy")
def _pulls(parts, begin, end):
    """In which runs any part is not zero."""
    found = np.zeros(_PART // _RUN, np.bool_)
    for b in range(parts.shape[0]):
        for i in range(begin, end):
            found[(i - begin) // _RUN] |= parts[b, i] != f32(0)
    return found


def adam_step_of_product(
    parameter: Tensor,
    weights: Tensor,
    parts: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    resting: bool = False,
) -> None:
    """The twin of `ops.adam`: gradients are made a few at a time, where they are needed."""
    kept = (parameter, mean, square)
    if any(t.dtype is not torch.float32 or not t.is_contiguous() for t in kept):
        rest = (step, rate, betas, eps, resting)
        _adam_step_of_product(parameter, weights, parts, mean, square, *rest)
        return
    if not len(weights):
        weights, parts = weights.new_zeros(1, weights.shape[1]), parts.new_zeros(1, parts.shape[1])
    match_threads()
    p, m, v = (t.detach().view(-1).numpy() for t in kept)
    w, x = (t.detach().float().contiguous().numpy() for t in (weights, parts))
    _product_step(p, w, x, m, v, *_numbers(step, rate, betas, eps), resting)
