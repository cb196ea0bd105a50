"""Splats on screen, packed and dealt to the tiles they touch, nearest first.

A splat's numbers lie in one line of memory, in the order splats were given; only their places are
sorted by depth (radix sort of the bits) and dealt to tiles by a counting sort, so that every tile's
list is in order.
"""

import numba as nb
import numpy as np

from likeness.ops.jit import njit
from likeness.ops.lanes import (
    LANES,
    higher,
    load,
    logarithm_of_two,
    power_of_two,
    root,
    store,
)

TILE = 16
HEAD = 12
"""Numbers of a packed splat before its features."""
FALL = 15
"""Where a packed splat keeps what its ratio of rows is multiplied by from row to row."""
LINE = 16
"""Numbers that come from memory together; a splat begins a line."""
_FAST = {"contract", "nsz", "arcp", "nnan", "ninf"}
_SIZES = 8  # of a packed splat, what follows from the others, and the reach up and down
_DIGIT = 12  # bits of depth that are sorted at once
_LOG2E = np.float32(1.4426950408889634)
_LN2, _LN255 = np.float32(0.6931471805599453), np.float32(5.541263545158426)
f32 = np.float32


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def pack(xy, depth, conic, features, opacity, width, height, factors, terms, packed, reach, tiles):
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
            packed[j, HEAD], packed[j, HEAD + 1], packed[j, HEAD + 2] = f0, f1, f2
            packed[j, FALL] = b[12 * LANES + i]
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
def in_order(depth, tiles):
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
def deal(reach, slot, order, columns, rows, strips, cursor, lists, slots):
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
