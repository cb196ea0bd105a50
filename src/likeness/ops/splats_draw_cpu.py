"""Packed splats drawn tile by tile, and back.

Inside a tile of 16x16 pixels the loop runs over splats and touches only the rows and groups of 8
pixels within reach, in a form that vectorises. The backward pass walks front to back as well: with
D the dot product of the pixel's gradient with its final colour and P its running part, the
derivative by alpha is T d - (D - P) / (1 - alpha). Each splat writes its sums per tile into a slot
of its own and a second loop adds them, so that nothing is atomic and results do not depend on the
number of threads.
"""

import numba as nb
import numpy as np

from likeness.ops.jit import njit
from likeness.ops.lanes import (
    LANES,
    added,
    down,
    each_added,
    higher,
    load,
    lower,
    picked,
    power_of_two,
    prefetch,
    root,
    steps,
    store,
    up,
    where_least,
    which,
)
from likeness.ops.splats_pack_cpu import FALL, HEAD, TILE

CHANNELS = 3
"""Of a picture; more are drawn in turn, so that sums stay in registers."""
SUMS = 9
"""Of a splat in a tile: moments, and a gradient for each channel."""
_PIXELS = TILE * TILE
_FAST = {"contract", "nsz", "arcp", "nnan", "ninf"}
_MOMENTS = 6
_STRETCH = 16  # splats of a tile that are taken together, the next ones asked for meanwhile
_OUT = _REST = _PIXELS  # offsets into a worker's scratch array, which light left begins
_ALPHA = _REST + _PIXELS
_GRAD = _ALPHA + _PIXELS
_TWO, _THREE = _PIXELS, 2 * _PIXELS  # from the first channel to the second, the third
_LOG2E = np.float32(1.4426950408889634)
f32 = np.float32
_GENTLE = f32(64)  # squared rows times curvature, up to which `_slope` may be used


@njit(error_model="numpy", fastmath=_FAST)
def _spans(packed, lists, first, end, left, top, spans, edges):
    """Which rows of a tile the splats of a stretch of its list reach, in either half of its
    columns: (place in the list, half, first row, rows), as many as are returned.

    Found for a stretch at once, because the loops over rows would otherwise wait for it. An ellipse
    is highest (and lowest) at `peak` from its middle, or at the nearest of the columns; at dx its
    border is at -tilt dx plus and minus sqrt(tall - wide dx^2).
    """
    found, none, size = 0, steps(f32(0)) * f32(0), f32(TILE)
    for begin in range(first, end, LANES):
        x = picked(packed, lists, begin, end - 1, 0)
        middle = picked(packed, lists, begin, end - 1, 1) - (f32(top) + f32(0.5))
        peak = picked(packed, lists, begin, end - 1, 6)
        tilt = picked(packed, lists, begin, end - 1, 7)
        tall = picked(packed, lists, begin, end - 1, 8)
        wide = picked(packed, lists, begin, end - 1, 9)
        reach = picked(packed, lists, begin, end - 1, 10)
        for half in range(2):
            near = (f32(left + LANES * half) + f32(0.5)) - x
            far = near + f32(LANES - 1)
            below = lower(higher(none - peak, near), far)
            above = lower(higher(peak, near), far)
            low = none - tilt * above - root(higher(tall - wide * above * above, f32(0)))
            high = root(higher(tall - wide * below * below, f32(0))) - tilt * below
            start = up(higher(lower(middle + low, size), f32(0)))
            stop = down(higher(lower(middle + high, size - f32(1)), f32(-1)))
            count = which(
                reach, near, which(far + reach, f32(0), stop + f32(1) - start, none), none
            )
            store(edges, 2 * LANES * half, start)
            store(edges, 2 * LANES * half + LANES, count)
        for half in range(2):
            for i in range(min(end - begin, LANES)):
                rows = np.int64(edges[2 * LANES * half + LANES + i])
                spans[found, 0], spans[found, 1] = begin + i, half
                spans[found, 2], spans[found, 3] = np.int64(edges[2 * LANES * half + i]), rows
                found += rows > 0
    return found


@njit(error_model="numpy", fastmath=_FAST)
def _slope(packed, k, dx, top, lean, cc, factors):
    """By what a Gaussian's columns are multiplied from the first row of a span to the second; from
    then on that ratio falls by the same factor each row. Nothing in columns beyond its reach.

    Two exponentials a span instead of one a row. Where few rows are steep (see `_GENTLE`), nothing
    within reach falls below 2^-120 on the way, so that no number here is too small to be one.
    """
    bend = lower(higher(f32(0) - (lean + cc * (f32(2) * top + f32(1))), f32(-120)), f32(120))
    within = packed[k, 10] * packed[k, 10] - dx * dx
    return where_least(within, f32(0), power_of_two(bend, factors))


@njit(error_model="numpy", fastmath=_FAST)
def _finished(b):
    """Whether no pixel of a tile lets light through any more."""
    most = load(b, 0)
    for j in range(1, _PIXELS // LANES):
        most = higher(most, load(b, j * LANES))
    return added(higher(most, f32(0))) == f32(0)


@njit(error_model="numpy", fastmath=_FAST)
def _blend(b, base, raw, c0, c1, c2):
    """A splat's part in eight pixels of a row."""
    a = where_least(raw, f32(1 / 255), lower(raw, f32(0.99)))
    t = load(b, base)
    part = t * a
    left_over = t - part
    weight = where_least(left_over, f32(1e-4), part)
    store(b, base, which(left_over, f32(1e-4), left_over, lower(t, f32(0) - t)))
    to = _OUT + base
    store(b, to, load(b, to) + weight * c0)
    store(b, to + _TWO, load(b, to + _TWO) + weight * c1)
    store(b, to + _THREE, load(b, to + _THREE) + weight * c2)


@njit(error_model="numpy")
def new_tile():
    """Arrays that a worker draws tiles with: light left and features, spans, edges."""
    b = np.empty(_OUT + CHANNELS * _PIXELS, np.float32)
    return b, np.empty((2 * _STRETCH, 4), np.int64), np.empty(4 * LANES, np.float32)


@njit(error_model="numpy", fastmath=_FAST)
def draw_tile(packed, starts, lists, tile, left, top, factors, b, spans, edges):
    """Fills `b`: light left (below nothing: what was left when the pixel ended), then features."""
    b[:_PIXELS] = f32(1)
    b[_OUT:] = f32(0)
    end = starts[tile + 1]
    for first in range(starts[tile], end, _STRETCH):
        if first > starts[tile] and _finished(b):
            break
        until = min(first + _STRETCH, end)
        number = _spans(packed, lists, first, until, left, top, spans, edges)
        for n in range(number):
            at, half = spans[n, 0], spans[n, 1]
            k = lists[at]
            prefetch(packed, np.int64(lists[min(at + _STRETCH, end - 1)]))
            px, py, o = packed[k, 0], packed[k, 1], packed[k, 11]
            ca, cb = f32(-0.5) * _LOG2E * packed[k, 2], _LOG2E * packed[k, 3]
            cc = f32(0.5) * _LOG2E * packed[k, 4]
            c0, c1, c2 = packed[k, HEAD], packed[k, HEAD + 1], packed[k, HEAD + 2]
            dx = steps(f32(left + LANES * half) + f32(0.5) - px)
            across, lean = ca * dx * dx + o, cb * dx
            dy = f32(top + spans[n, 2]) + f32(0.5) - py
            base = spans[n, 2] * TILE + half * LANES
            count = spans[n, 3]
            if f32((count + 1) * (count + 1)) * cc > _GENTLE:
                for _ in range(count):
                    power = higher(across - dy * (lean + cc * dy), f32(-120))
                    _blend(b, base, power_of_two(power, factors), c0, c1, c2)
                    dy += f32(1)
                    base += TILE
                continue
            ratio, fall = _slope(packed, k, dx, dy, lean, cc, factors), packed[k, FALL]
            a = power_of_two(higher(across - dy * (lean + cc * dy), f32(-120)), factors)
            a = where_least(packed[k, 10] * packed[k, 10] - dx * dx, f32(0), a)
            for _ in range(count):
                _blend(b, base, a, c0, c1, c2)
                a = a * ratio
                ratio = ratio * fall
                base += TILE


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def forward(packed, starts, lists, width, height, picture, alpha, factors, workers):
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for worker in nb.prange(workers):
        b, spans, edges = new_tile()
        for tile in range(worker, rows * columns, workers):
            left, top = (tile % columns) * TILE, (tile // columns) * TILE
            draw_tile(packed, starts, lists, tile, left, top, factors, b, spans, edges)
            across_tile = min(TILE, width - left)
            for y in range(min(TILE, height - top)):
                for x in range(across_tile):
                    alpha[top + y, left + x] = f32(1) - abs(b[(y << 4) + x])
                for c in range(CHANNELS):
                    for x in range(across_tile):
                        picture[c, top + y, left + x] = b[_OUT + (c << 8) + (y << 4) + x]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def backward(
    packed, starts, lists, slots, width, height, picture, alpha, d_picture, d_alpha, part, factors,
    workers,
):  # fmt: skip
    """Adds each splat's sums in a tile to its slot of `part`."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for worker in nb.prange(workers):
        # One scratch array: light left, what is left of the total, gradient of alpha, gradients of
        # features.
        b = np.empty(_GRAD + CHANNELS * _PIXELS, np.float32)
        spans, edges = np.empty((2 * _STRETCH, 4), np.int64), np.empty(4 * LANES, np.float32)
        none = steps(f32(0)) * f32(0)
        for tile in range(worker, rows * columns, workers):
            left, top = (tile % columns) * TILE, (tile // columns) * TILE
            end = starts[tile + 1]
            if starts[tile] == end:
                continue
            b[:] = f32(0)
            across_tile = min(TILE, width - left)
            for y in range(min(TILE, height - top)):
                j = y << 4
                for x in range(across_tile):
                    b[j + x] = f32(1)
                    b[_ALPHA + j + x] = d_alpha[top + y, left + x]
                    b[_REST + j + x] = d_alpha[top + y, left + x] * alpha[top + y, left + x]
                for c in range(CHANNELS):
                    for x in range(across_tile):
                        d = d_picture[c, top + y, left + x]
                        b[_GRAD + (c << 8) + j + x] = d
                        b[_REST + j + x] += d * picture[c, top + y, left + x]
            for first in range(starts[tile], end, _STRETCH):
                if first > starts[tile] and _finished(b):
                    break
                until = min(first + _STRETCH, end)
                number = _spans(packed, lists, first, until, left, top, spans, edges)
                for n in range(number):
                    at, half = spans[n, 0], spans[n, 1]
                    k, s = lists[at], slots[at]
                    prefetch(packed, np.int64(lists[min(at + _STRETCH, end - 1)]))
                    px, py, o = packed[k, 0], packed[k, 1], packed[k, 11]
                    ca, cb = f32(-0.5) * _LOG2E * packed[k, 2], _LOG2E * packed[k, 3]
                    cc = f32(0.5) * _LOG2E * packed[k, 4]
                    c0, c1, c2 = packed[k, HEAD], packed[k, HEAD + 1], packed[k, HEAD + 2]
                    p0, py1, py2, f0, f1, f2 = none, none, none, none, none, none
                    dx = steps(f32(left + LANES * half) + f32(0.5) - px)
                    across, lean = ca * dx * dx + o, cb * dx
                    dy = f32(top + spans[n, 2]) + f32(0.5) - py
                    base = spans[n, 2] * TILE + half * LANES
                    count = spans[n, 3]
                    steep = f32((count + 1) * (count + 1)) * cc > _GENTLE
                    ratio, fall = _slope(packed, k, dx, dy, lean, cc, factors), packed[k, FALL]
                    raw = power_of_two(higher(across - dy * (lean + cc * dy), f32(-120)), factors)
                    if not steep:
                        raw = where_least(packed[k, 10] * packed[k, 10] - dx * dx, f32(0), raw)
                    for _ in range(count):
                        a = where_least(raw, f32(1 / 255), lower(raw, f32(0.99)))
                        t = load(b, base)
                        shown = t * a
                        left_over = t - shown
                        weight = where_least(left_over, f32(1e-4), shown)
                        store(b, base, where_least(left_over, f32(1e-4), left_over))
                        to = _GRAD + base
                        u0, u1, u2 = load(b, to), load(b, to + _TWO), load(b, to + _THREE)
                        d = load(b, _ALPHA + base) + u0 * c0 + u1 * c1 + u2 * c2
                        f0 += weight * u0
                        f1 += weight * u1
                        f2 += weight * u2
                        rest = load(b, _REST + base) - weight * d
                        store(b, _REST + base, rest)
                        p = where_least(f32(0.99), raw, a * (t * d - rest / (f32(1) - a)))
                        p = where_least(left_over, f32(1e-4), p)
                        p0 += p
                        py1 += p * dy
                        py2 += p * (dy * dy)
                        dy += f32(1)
                        base += TILE
                        if steep:
                            power = higher(across - dy * (lean + cc * dy), f32(-120))
                            raw = power_of_two(power, factors)
                        else:
                            raw = raw * ratio
                            ratio = ratio * fall
                    to = s * SUMS
                    px = p0 * dx
                    sums = each_added(p0, px, py1, px * dx, py1 * dx, py2, f0, f1)
                    store(part, to, load(part, to) + sums)
                    part[to + 8] += added(f2)


@njit(parallel=True, cache=True, error_model="numpy")
def gather(packed, slot, part, d_xy, d_conic, d_features, d_opacity):
    """Add each splat's own entries and turn moments into gradients."""
    for i in nb.prange(slot.shape[0] - 1):
        first, last = slot[i], slot[i + 1]
        if first == last:
            continue
        s0, sx, sy = f32(0), f32(0), f32(0)
        xx, xy, yy = f32(0), f32(0), f32(0)
        for e in range(first, last):
            s0 += part[e, 0]
            sx += part[e, 1]
            sy += part[e, 2]
            xx += part[e, 3]
            xy += part[e, 4]
            yy += part[e, 5]
            for c in range(CHANNELS):
                d_features[i, c] += part[e, _MOMENTS + c]
        a, b, c2 = packed[i, 2], packed[i, 3], packed[i, 4]
        d_xy[i, 0] = a * sx + b * sy
        d_xy[i, 1] = b * sx + c2 * sy
        d_conic[i, 0] = f32(-0.5) * xx
        d_conic[i, 1] = -xy
        d_conic[i, 2] = f32(-0.5) * yy
        d_opacity[i] = s0 / packed[i, 5]
