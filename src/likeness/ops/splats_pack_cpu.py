"""Splats on screen, packed and dealt to the tiles they touch, nearest first.

What is drawn of a block of splats leaves a line of 16 numbers each, one after another, in the order
splats were given: x, y, what `splats_draw_cpu` needs to find rows (peak, tilt, tall, wide, reach
sideways), binary logarithm of opacity; curvatures of the exponent, by what ratios of pairs of rows
fall, three features, by what ratios of rows fall. Only the places of lines are sorted by depth
(radix sort of the bits), a strip of the picture by each worker, and dealt to tiles by a counting
sort, so that every tile's list is in order.
"""

import numba as nb
import numpy as np

from likeness.ops.jit import njit
from likeness.ops.lanes import (
    LANES,
    down,
    finite,
    higher,
    logarithm_of_two,
    lower,
    power_of_two,
    root,
    steps,
    up,
    where_least,
)
from likeness.ops.lanes_memory import load, prefetch, store, store_eights

TILE = 16
LINE = 16
BLOCK = 256
"""Splats that a worker packs together; lines of a block begin at the block's first place."""
X, Y, PEAK, TILT, TALL, WIDE, REACH, FAINT = range(LANES)
ACROSS, LEAN, DOWN, FALL, RED, GREEN, BLUE, FALL_OF_ROW = range(LANES, LINE)
"""Where each number of a line is."""
FINE, COLUMNS, ROWS, TILES, DEPTH = (k * LANES for k in range(5))
"""Where a sheet of eight splats says whether they are drawn, which tiles, how many, how far."""
SHEET = 5 * LANES
_BITS = 12
_MANY = 1 << _BITS  # tiles in a row at most: first and last are written as one number
_AHEAD = 16  # splats before their turn, their tiles are asked for
_DIGIT = 12  # bits of depth that are sorted at once
_FAST = {"contract", "nsz", "arcp", "nnan", "ninf"}
f32 = np.float32
_LOG2E = f32(1.4426950408889634)
_LN2, _LN255 = f32(0.6931471805599453), f32(5.541263545158426)


@njit(error_model="numpy", fastmath=_FAST)
def write_lines(
    x, y, ca, cb, cc, determinant, opacity, red, green, blue, factors, terms, width, height, lines,
    sheet,
):  # fmt: skip
    """Eight splats with their conics, as lines, and in a `sheet` the tiles of each whose pixel
    centres are within its reach."""
    # A hundredth more than where alpha falls below 1/255, so that rounding here never drops a pixel
    # that the test of alpha would keep.
    faint = logarithm_of_two(higher(opacity, f32(1e-9)), terms)
    level = f32(2.01) * (faint * _LN2 + _LN255) + f32(0.01)
    room, inverse, flat = higher(level, f32(0)), f32(1) / determinant, f32(1) / cc
    wide, tall = root(room * cc * inverse), root(room * ca * inverse)
    store_eights(
        lines, 0, LINE, x, y, tall * cb / ca, cb * flat, level * flat, determinant * flat * flat,
        wide, faint,
    )  # fmt: skip
    fall = power_of_two(higher(cc * (f32(0) - _LOG2E), f32(-30)), factors)
    store_eights(
        lines, LANES, LINE, ca * (f32(-0.5) * _LOG2E), cb * _LOG2E, cc * (f32(0.5) * _LOG2E),
        fall * fall * fall * fall, red, green, blue, fall,
    )  # fmt: skip
    none, half, share = steps(f32(0)) * f32(0), f32(0.5), f32(1 / TILE)
    first = higher(up(higher(x - wide, f32(-1)) - half), f32(0))
    last = lower(down(lower(x + wide, f32(width + 1)) - half), f32(width - 1))
    top = higher(up(higher(y - tall, f32(-1)) - half), f32(0))
    bottom = lower(down(lower(y + tall, f32(height + 1)) - half), f32(height - 1))
    some = where_least(last, first, where_least(bottom, top, none + f32(1)))
    first, last = down(first * share), down(last * share)
    top, bottom = down(top * share), down(bottom * share)
    store(sheet, COLUMNS, first + last * f32(_MANY))
    store(sheet, ROWS, top + bottom * f32(_MANY))
    store(sheet, TILES, some * (last - first + f32(1)) * (bottom - top + f32(1)))


@njit(error_model="numpy")
def keep(lines, sheet, skip, given, to, packed, reach, keys, origin, tiles, grid, across):
    """Appends those of eight splats that are drawn, from `skip` on, to what is packed up to `to`;
    returns up to where it is then. `given` is the number of the first. `grid` gains a splat at the
    first tile of each and loses it beyond the last, so that its sums over rows and columns count
    the splats of each tile."""
    for lane in range(skip, LANES):
        one, other = load(lines, LINE * lane), load(lines, LINE * lane + LANES)
        if finite(one, other) == 0 or sheet[FINE + lane] < f32(1 / 255):
            continue
        number = np.int32(sheet[TILES + lane])
        if number == 0:
            continue
        store(packed, LINE * to, one)
        store(packed, LINE * to + LANES, other)
        columns, rows = np.int64(sheet[COLUMNS + lane]), np.int64(sheet[ROWS + lane])
        reach[to, 0], reach[to, 1] = columns, rows
        keys[to] = f32(sheet[DEPTH + lane]).view(np.uint32)
        origin[to], tiles[to] = given + lane, number
        first, last = columns & (_MANY - 1), (columns >> _BITS) + 1
        top, bottom = (rows & (_MANY - 1)) * across, ((rows >> _BITS) + 1) * across
        grid[top + first] += 1
        grid[top + last] -= 1
        grid[bottom + first] -= 1
        grid[bottom + last] += 1
        to += 1
    return to


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def pack(
    xy, depth, conic, features, opacity, width, height, factors, terms, packed, reach, keys,
    origin, tiles, grid, kept,
):  # fmt: skip
    """Splats on screen, as they come, into lines; `kept` is how many each block has. A row of
    `grid` for each worker."""
    count, workers, across = depth.shape[0], grid.shape[0], (width + TILE - 1) // TILE + 1
    for worker in nb.prange(workers):
        b, lines = np.zeros(10 * LANES, np.float32), np.empty(LINE * LANES, np.float32)
        sheet = np.empty(SHEET, np.float32)
        for block in range(worker, kept.shape[0], workers):
            to = block * BLOCK
            for first in range(block * BLOCK, min(count, (block + 1) * BLOCK), LANES):
                sheet[FINE : FINE + LANES] = f32(0)
                for i in range(min(LANES, count - first)):
                    j = first + i
                    b[i], b[LANES + i], b[5 * LANES + i] = xy[j, 0], xy[j, 1], opacity[j]
                    for k in range(3):
                        b[(2 + k) * LANES + i] = conic[j, k]
                        b[(6 + k) * LANES + i] = features[j, k]
                    sheet[DEPTH + i] = depth[j]
                    sheet[FINE + i] = opacity[j] if depth[j] > f32(0) else f32(0)
                ca, cb, cc = load(b, 2 * LANES), load(b, 3 * LANES), load(b, 4 * LANES)
                write_lines(
                    load(b, 0), load(b, LANES), ca, cb, cc, ca * cc - cb * cb, load(b, 5 * LANES),
                    load(b, 6 * LANES), load(b, 7 * LANES), load(b, 8 * LANES), factors, terms,
                    width, height, lines, sheet,
                )  # fmt: skip
                to = keep(
                    lines, sheet, 0, first, to, packed, reach, keys, origin, tiles, grid[worker],
                    across,
                )  # fmt: skip
            kept[block] = to - block * BLOCK


@njit(error_model="numpy")
def _nearest_first(keys, order, other_keys, other):
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


@njit(cache=True, error_model="numpy")
def starts_of(grid, columns, rows, starts):
    """Where the list of each tile begins, and after them how long all are; see `keep`."""
    across = columns + 1
    above = np.zeros(across, np.int64)
    total = 0
    for y in range(rows):
        row = 0
        for x in range(columns):
            for worker in range(grid.shape[0]):
                above[x] += grid[worker, y * across + x]
            row += above[x]
            starts[y * columns + x] = total
            total += row
    starts[rows * columns] = total


@njit(cache=True, error_model="numpy")
def running(counts):
    """Counts to how many there are up to each."""
    for n in range(1, counts.shape[0]):
        counts[n] += counts[n - 1]


@njit(error_model="numpy")
def _bounds(starts, columns, rows, strips):
    """Rows of tiles where strips begin, so that their lists are about as long."""
    bounds = np.full(strips + 1, rows, np.int64)
    row = 0
    for strip in range(strips):
        while row < rows and starts[row * columns] * strips < strip * starts[rows * columns]:
            row += 1
        bounds[strip] = row if strip else 0
    return bounds


@njit(error_model="numpy")
def _within(reach, keys, kept, first, end, own_keys, order):
    """Those packed splats that reach into some rows of tiles; returns how many."""
    total = 0
    for block in range(kept.shape[0]):
        for j in range(block * BLOCK, block * BLOCK + kept[block]):
            along = reach[j, 1]
            order[total], own_keys[total] = j, keys[j]
            total += (along & (_MANY - 1)) < end and (along >> _BITS) >= first
    return total


@njit(parallel=True, cache=True, error_model="numpy")
def deal(reach, keys, kept, columns, rows, strips, starts, room, lists, slot, spots):
    """Fill the tiles' lists, nearest first. Unless empty, `spots` gets where in the lists each
    splat is, from its `slot` on. Each worker sorts what reaches into a strip of rows of tiles;
    `room` is for four numbers for each splat, and for one splat more, for each worker."""
    bounds, cursor = _bounds(starts, columns, rows, strips), starts.copy()
    for strip in nb.prange(strips):
        first, end, size = bounds[strip], bounds[strip + 1], keys.shape[0] + 1
        here = 4 * strip * size
        order, other = room[here : here + size], room[here + size : here + 2 * size]
        own_keys = room[here + 2 * size : here + 3 * size].view(np.uint32)
        other_keys = room[here + 3 * size : here + 4 * size].view(np.uint32)
        total = _within(reach, keys, kept, first, end, own_keys, order)
        order = _nearest_first(own_keys[:total], order[:total], other_keys[:total], other[:total])
        for n in range(total):
            j = order[n]
            prefetch(reach, 2 * np.int64(order[min(n + _AHEAD, total - 1)]))
            across, along = reach[j, 0], reach[j, 1]
            left, right = across & (_MANY - 1), (across >> _BITS) + 1
            top = along & (_MANY - 1)
            for y in range(max(top, first), min((along >> _BITS) + 1, end)):
                for x in range(left, right):
                    to = cursor[y * columns + x]
                    cursor[y * columns + x] = to + 1
                    lists[to] = j
                    if spots.shape[0]:
                        spots[slot[j] + (y - top) * (right - left) + x - left] = to
