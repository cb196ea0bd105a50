"""CPU twins of the splat stages.

Rasterising works on tiles of 16x16 pixels. Splats are packed in the order given, their places
sorted once by depth (radix sort of the bits) and dealt to the tiles they touch by a counting sort,
so that every list is in order. Inside
a tile the loop runs over splats and touches only the rows and groups of 8 pixels within reach, in a
form that vectorises. The backward pass walks front to back as well: with D the dot product of the
pixel's gradient with its final colour and P its running part, the derivative by alpha is
T d - (D - P) / (1 - alpha). Each splat writes its sums per tile into a slot of its own and a second
loop adds them, so that nothing is atomic and results do not depend on the number of threads.
"""

import numba as nb
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.ops import splats_project_cpu
from likeness.ops.jit import njit
from likeness.ops.lanes import (
    FACTORS,
    LANES,
    TERMS,
    added,
    down,
    each_added,
    higher,
    load,
    logarithm_of_two,
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
from likeness.ops.splats import DILATION, NEAR, WIDE
from likeness.ops.twins import match_threads

TILE = 16
_PIXELS = TILE * TILE
_FAST = {"contract", "nsz", "arcp", "nnan", "ninf"}
_MOMENTS = 6
_SUMS = 9  # of a splat in a tile: moments, and a gradient for each channel
_HEAD = 12  # numbers of a packed splat before its features
_FALL = 15  # where a packed splat keeps what its ratio of rows is multiplied by from row to row
_CHANNELS = 3  # of a picture; more are drawn in turn, so that sums stay in registers
_SIZES = 8  # of those, what follows from the others, and the reach up and down
_DIGIT = 12  # bits of depth that are sorted at once
_LINE = 16  # numbers that come from memory together; a splat begins a line
_STRETCH = 16  # splats of a tile that are taken together, the next ones asked for meanwhile
_OUT = _REST = _PIXELS  # offsets into a worker's scratch array, which light left begins
_ALPHA = _REST + _PIXELS
_GRAD = _ALPHA + _PIXELS
_TWO, _THREE = _PIXELS, 2 * _PIXELS  # from the first channel to the second, the third
_LOG2E = np.float32(1.4426950408889634)
_LN2, _LN255 = np.float32(0.6931471805599453), np.float32(5.541263545158426)

f32 = np.float32
_GENTLE = f32(64)  # squared rows times curvature, up to which `_slope` may be used


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _pack(xy, depth, conic, features, opacity, width, height, factors, terms, packed, reach, tiles):
    """A line of numbers for each splat, with what `_spans` needs, and the box of tiles of each,
    first and last column and row; empty where it is not drawn. `tiles` is how many those are."""
    count = depth.shape[0]
    for group in nb.prange((count + LANES - 1) // LANES):
        first = group * LANES
        own = min(LANES, count - first)
        b = np.zeros((6 + _SIZES) * LANES, np.float32)
        for i in range(own):
            j = first + i
            b[i], b[LANES + i], b[5 * LANES + i] = xy[j, 0], xy[j, 1], opacity[j]
            for k in range(3):
                b[(2 + k) * LANES + i] = conic[j, k]
        ca, cb, cc = load(b, 2 * LANES), load(b, 3 * LANES), load(b, 4 * LANES)
        sizes_of(ca, cb, cc, ca * cc - cb * cb, load(b, 5 * LANES), factors, terms, b, 6 * LANES)
        for i in range(own):
            j = first + i
            reach[j, 0], reach[j, 1], reach[j, 2], reach[j, 3], tiles[j] = 0, -1, 0, -1, 0
            f0, f1, f2 = features[j, 0], features[j, 1], features[j, 2]
            if not (depth[j] > f32(0) and opacity[j] >= f32(1 / 255) and np.isfinite(f0 + f1 + f2)):
                continue
            for k in range(6 + _SIZES - 1):
                packed[j, k] = b[k * LANES + i]
            packed[j, _HEAD], packed[j, _HEAD + 1], packed[j, _HEAD + 2] = f0, f1, f2
            packed[j, _FALL] = b[12 * LANES + i]
            rx, ry = b[10 * LANES + i], b[13 * LANES + i]
            tiles[j] = box_of(xy[j, 0], xy[j, 1], rx, ry, width, height, reach, j)


@njit(error_model="numpy", fastmath=_FAST)
def sizes_of(ca, cb, cc, determinant, opacity, factors, terms, out, at):
    """For eight splats, from `at` on in `out`: what `_spans` needs (peak, tilt, tall, wide, reach
    sideways), logarithm of opacity, by how much ratios of rows fall, and the reach up and down."""
    # A hundredth more than where alpha falls below 1/255, so that rounding here never drops a pixel
    # that the test of alpha would keep.
    faint = logarithm_of_two(higher(opacity, f32(1e-9)), terms)
    level = f32(2.01) * (faint * _LN2 + _LN255) + f32(0.01)
    room, inverse, flat = higher(level, f32(0)), f32(1) / determinant, f32(1) / cc
    wide, tall = root(room * cc * inverse), root(room * ca * inverse)
    store(out, at, tall * cb / ca)
    store(out, at + LANES, cb * flat)
    store(out, at + 2 * LANES, level * flat)
    store(out, at + 3 * LANES, determinant * flat * flat)
    store(out, at + 4 * LANES, wide)
    store(out, at + 5 * LANES, faint)
    falls = power_of_two(higher(cc * (f32(0) - _LOG2E), f32(-120)), factors)
    store(out, at + 6 * LANES, falls)
    store(out, at + 7 * LANES, tall)


@njit(error_model="numpy")
def box_of(x, y, rx, ry, width, height, reach, j):
    """Writes the tiles whose pixel centres are within (rx, ry) of a place; says how many."""
    if not (np.isfinite(x + y) and np.isfinite(rx + ry)):
        return 0
    first = max(0, int(np.ceil(max(x - rx, f32(-1)) - f32(0.5))))
    last = min(width - 1, int(np.floor(min(x + rx, f32(width + 1)) - f32(0.5))))
    top = max(0, int(np.ceil(max(y - ry, f32(-1)) - f32(0.5))))
    bottom = min(height - 1, int(np.floor(min(y + ry, f32(height + 1)) - f32(0.5))))
    if first > last or top > bottom:
        return 0
    reach[j, 0], reach[j, 1] = first // TILE, last // TILE
    reach[j, 2], reach[j, 3] = top // TILE, bottom // TILE
    return (reach[j, 1] - reach[j, 0] + 1) * (reach[j, 3] - reach[j, 2] + 1)


@njit(cache=True, error_model="numpy")
def _order(depth, tiles):
    """Splats that are drawn, nearest first."""
    count, kept = depth.shape[0], 0
    keys, order = np.empty(count, np.uint32), np.empty(count, np.int32)
    for i in range(count):
        if tiles[i] > 0:
            order[kept], keys[kept] = i, np.float32(depth[i]).view(np.uint32)
            kept += 1
    keys, order = keys[:kept], order[:kept]
    return nearest_first(keys, order, np.empty_like(keys), np.empty_like(order))


@njit(error_model="numpy")
def nearest_first(keys, order, other_keys, other):
    """`order` in the stable order of its keys, bits of depths. The bits that all share are left
    out, so that two passes of twelve do for a head; the other arrays are to work in."""
    total = keys.shape[0]
    least, most = np.uint32(0xFFFFFFFF), np.uint32(0)
    for n in range(total):
        least, most = min(least, keys[n]), max(most, keys[n])
    for n in range(total):
        keys[n] -= least
    shift, mask = np.uint32(0), np.uint32((1 << _DIGIT) - 1)
    counts = np.empty(1 << _DIGIT, np.int32)
    while total > 0 and shift < np.uint32(32) and (most - least) >> shift != 0:
        counts[:] = 0
        for n in range(total):
            counts[(keys[n] >> shift) & mask] += 1
        at = 0
        for d in range(1 << _DIGIT):
            here = counts[d]
            counts[d] = at
            at += here
        for n in range(total):
            d = (keys[n] >> shift) & mask
            to = counts[d]
            counts[d] = to + 1
            other_keys[to], other[to] = keys[n], order[n]
        keys, other_keys = other_keys, keys
        order, other = other, order
        shift += np.uint32(_DIGIT)
    return order


@njit(parallel=True, cache=True, error_model="numpy")
def count_tiles(reach, order, columns, rows, strips, sizes):
    """How many splats each tile has; every worker looks after some rows of tiles."""
    for strip in nb.prange(strips):
        first, end = strip * rows // strips, (strip + 1) * rows // strips
        for n in range(order.shape[0]):
            j = order[n]
            for ty in range(max(reach[j, 2], first), min(reach[j, 3] + 1, end)):
                for tx in range(reach[j, 0], reach[j, 1] + 1):
                    sizes[ty * columns + tx] += 1


@njit(parallel=True, cache=True, error_model="numpy")
def _deal(reach, slot, order, columns, rows, strips, cursor, lists, slots):
    """Fill the tiles' lists in depth order; `slots` says where a pair's sums go. `cursor` begins
    as where each list does."""
    for strip in nb.prange(strips):
        first, end = strip * rows // strips, (strip + 1) * rows // strips
        for n in range(order.shape[0]):
            j = order[n]
            wide = reach[j, 1] + 1 - reach[j, 0]
            for ty in range(max(reach[j, 2], first), min(reach[j, 3] + 1, end)):
                at = slot[j] + (ty - reach[j, 2]) * wide
                for tx in range(reach[j, 0], reach[j, 1] + 1):
                    to = cursor[ty * columns + tx]
                    cursor[ty * columns + tx] = to + 1
                    lists[to] = j
                    slots[to] = at + tx - reach[j, 0]


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
    b = np.empty(_OUT + _CHANNELS * _PIXELS, np.float32)
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
            c0, c1, c2 = packed[k, _HEAD], packed[k, _HEAD + 1], packed[k, _HEAD + 2]
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
            ratio, fall = _slope(packed, k, dx, dy, lean, cc, factors), packed[k, _FALL]
            a = power_of_two(higher(across - dy * (lean + cc * dy), f32(-120)), factors)
            a = where_least(packed[k, 10] * packed[k, 10] - dx * dx, f32(0), a)
            for _ in range(count):
                _blend(b, base, a, c0, c1, c2)
                a = a * ratio
                ratio = ratio * fall
                base += TILE


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _forward(packed, starts, lists, width, height, picture, alpha, factors, workers):
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
                for c in range(_CHANNELS):
                    for x in range(across_tile):
                        picture[c, top + y, left + x] = b[_OUT + (c << 8) + (y << 4) + x]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _backward(
    packed, starts, lists, slots, width, height, picture, alpha, d_picture, d_alpha, part, factors,
    workers,
):  # fmt: skip
    """Adds each splat's sums in a tile to its slot of `part`."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for worker in nb.prange(workers):
        # One scratch array: light left, what is left of the total, gradient of alpha, gradients of
        # features.
        b = np.empty(_GRAD + _CHANNELS * _PIXELS, np.float32)
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
                for c in range(_CHANNELS):
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
                    c0, c1, c2 = packed[k, _HEAD], packed[k, _HEAD + 1], packed[k, _HEAD + 2]
                    p0, py1, py2, f0, f1, f2 = none, none, none, none, none, none
                    dx = steps(f32(left + LANES * half) + f32(0.5) - px)
                    across, lean = ca * dx * dx + o, cb * dx
                    dy = f32(top + spans[n, 2]) + f32(0.5) - py
                    base = spans[n, 2] * TILE + half * LANES
                    count = spans[n, 3]
                    steep = f32((count + 1) * (count + 1)) * cc > _GENTLE
                    ratio, fall = _slope(packed, k, dx, dy, lean, cc, factors), packed[k, _FALL]
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
                    to = s * _SUMS
                    px = p0 * dx
                    sums = each_added(p0, px, py1, px * dx, py1 * dx, py2, f0, f1)
                    store(part, to, load(part, to) + sums)
                    part[to + 8] += added(f2)


@njit(parallel=True, cache=True, error_model="numpy")
def _gather(packed, slot, part, d_xy, d_conic, d_features, d_opacity):
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
            for c in range(_CHANNELS):
                d_features[i, c] += part[e, _MOMENTS + c]
        a, b, c2 = packed[i, 2], packed[i, 3], packed[i, 4]
        d_xy[i, 0] = a * sx + b * sy
        d_xy[i, 1] = b * sx + c2 * sy
        d_conic[i, 0] = f32(-0.5) * xx
        d_conic[i, 1] = -xy
        d_conic[i, 2] = f32(-0.5) * yy
        d_opacity[i] = s0 / packed[i, 5]


class _Rasterise(torch.autograd.Function):
    """Of three features a splat."""

    @staticmethod
    def forward(ctx, xy, depth, conic, features, opacity, width, height):
        given = [x.detach().contiguous() for x in (xy, depth, conic, features, opacity)]
        columns, rows = -(-width // TILE), -(-height // TILE)
        xy_, depth_, conic_, features_, opacity_ = (x.numpy() for x in given)
        count = depth_.shape[0]
        packed = torch.empty(count, _LINE).numpy()
        reach, slot = np.empty((count, 4), np.int16), np.zeros(count + 1, np.int64)
        _pack(
            xy_, depth_, conic_, features_, opacity_, width, height, FACTORS, TERMS, packed, reach,
            slot[1:],
        )  # fmt: skip
        order = _order(depth_, slot[1:])
        np.cumsum(slot, out=slot)
        strips = min(rows, nb.get_num_threads())
        starts = np.zeros(rows * columns + 1, np.int64)
        count_tiles(reach, order, columns, rows, strips, starts[1:])
        np.cumsum(starts, out=starts)
        lists, slots = np.empty(slot[-1], np.int32), np.empty(slot[-1], np.int64)
        _deal(reach, slot, order, columns, rows, strips, starts[:-1].copy(), lists, slots)
        picture, alpha = xy.new_empty(_CHANNELS, height, width), xy.new_empty(height, width)
        workers = max(1, min(64, rows * columns))
        _forward(
            packed, starts, lists, width, height, picture.numpy(), alpha.numpy(), FACTORS, workers
        )  # fmt: skip
        ctx.save_for_backward(picture, alpha)
        ctx.state = (packed, starts, lists, slots, slot, workers)
        ctx.shape = (features.shape[0], width, height)
        return picture.permute(1, 2, 0), alpha

    @staticmethod
    def backward(ctx, d_picture, d_alpha):  # type: ignore[override]
        picture, alpha = ctx.saved_tensors
        packed, starts, lists, slots, slot, workers = ctx.state
        count, width, height = ctx.shape
        d_picture, d_alpha = d_picture.permute(2, 0, 1).contiguous(), d_alpha.contiguous()
        part = d_picture.new_zeros(lists.shape[0], _SUMS).numpy()
        match_threads()
        _backward(
            packed, starts, lists, slots, width, height, picture.numpy(), alpha.numpy(),
            d_picture.numpy(), d_alpha.numpy(), part.reshape(-1), FACTORS, workers,
        )  # fmt: skip
        new = d_picture.new_zeros
        d_xy, d_conic = new(count, 2), new(count, 3)
        d_features, d_opacity = new(count, _CHANNELS), new(count)
        _gather(
            packed, slot, part, d_xy.numpy(), d_conic.numpy(),
            d_features.numpy(), d_opacity.numpy(),
        )  # fmt: skip
        return d_xy, None, d_conic, d_features, d_opacity, None, None


def rasterise_splats(
    xy: Tensor,
    depth: Tensor,
    conic: Tensor,
    features: Tensor,
    opacity: Tensor,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """The twin of `ops.splats`; float32 inside, whatever comes in."""
    match_threads()
    dtype, channels = features.dtype, features.shape[1]
    on_screen = [x.float() for x in (xy, depth, conic)]
    features, opacity = features.float(), opacity.float()
    if channels > _CHANNELS:  # a splat one of whose features is no number is in no part
        opacity = torch.where(torch.isfinite(features).all(-1), opacity, 0)
    if channels % _CHANNELS or not channels:
        features = F.pad(features, (0, _CHANNELS - channels % _CHANNELS))
    parts = [
        _Rasterise.apply(*on_screen, some, opacity, width, height)
        for some in features.split(_CHANNELS, -1)
    ]
    pictures, alphas = zip(*parts)  # type: ignore[arg-type]
    picture = pictures[0] if len(parts) == 1 else torch.cat(pictures, -1)
    if channels < picture.shape[-1]:
        picture = picture[..., :channels]
    if not picture.requires_grad:  # losses want it by channels, as it is, and go back that way
        picture = picture.contiguous()
    return picture.to(dtype), alphas[0].to(dtype)


def project_splats(
    means: Tensor,
    rotation: Tensor,
    scale: Tensor,
    intrinsics: Tensor,
    pose: Tensor,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The twin of `ops.splats`; float32 inside, whatever comes in."""
    reach = (
        WIDE * 0.5 * width / float(intrinsics[0, 0]),
        WIDE * 0.5 * height / float(intrinsics[1, 1]),
    )
    return splats_project_cpu.project_splats(
        means, rotation, scale, intrinsics, pose, reach, NEAR, DILATION
    )
