"""Packed splats drawn tile by tile, and back.

Inside a tile of 16x16 pixels the loop runs over splats and touches only what is within reach: eight
columns, and two rows at once on the way forth. The backward pass walks front to back as well: with
D the dot product of the pixel's gradient with its final colour and P its running part, the
derivative by alpha is T d - (D - P) / (1 - alpha). Sums of splats in a tile are written in the
order of its list, and a second loop looks up those of each splat, so that nothing is atomic and
results do not depend on the number of threads.
"""

import numba as nb
import numpy as np

from likeness.ops.jit import njit
from likeness.ops.lanes import (
    LANES,
    added,
    and_below,
    down,
    each_added,
    higher,
    lower,
    power_of_two,
    root,
    steps,
    steps_twice,
    up,
    where_least,
    which,
)
from likeness.ops.lanes_memory import load, load_both, load_turned, number, prefetch, store
from likeness.ops.splats_pack_cpu import (
    ACROSS,
    BLUE,
    DOWN,
    FAINT,
    FALL,
    FALL_OF_ROW,
    GREEN,
    LEAN,
    LINE,
    REACH,
    RED,
    TILE,
    X,
    Y,
)

CHANNELS = 3
"""Of a picture; more are drawn in turn, so that sums stay in registers."""
SUMS = 9
"""Of a splat in a tile: moments, and a gradient for each channel."""
_PIXELS = TILE * TILE
_HALF = _PIXELS // 2  # of a tile: its eight columns on the left, or on the right, row by row
_FAST = {"contract", "nsz", "arcp", "nnan", "ninf"}
_MOMENTS = 6
_STRETCH = 16  # splats of a tile that are taken together, the next ones asked for meanwhile
_OUT = _REST = _PIXELS  # offsets into a worker's scratch array, which light left begins
_ALPHA = _REST + _PIXELS
_GRAD = _ALPHA + _PIXELS
_TWO, _THREE = _PIXELS, 2 * _PIXELS  # from the first channel to the second, the third
f32 = np.float32
_LN2 = f32(0.6931471805599453)
_GENTLE = f32(64)  # squared rows times curvature, up to which `_slope` may be used


@njit(error_model="numpy", fastmath=_FAST)
def _spans(packed, lists, first, end, left, top, spans, codes):
    """Which rows of a tile the splats of a stretch of its list reach, in either half of its
    columns. Each span is a number: place in the stretch, 16 for the right half, 32 times the first
    row, 512 times how many rows. Returns how many spans there are.

    Found for a stretch at once, because the loops over rows would otherwise wait for it. An ellipse
    is highest (and lowest) at `peak` from its middle, or at the nearest of the columns; at dx its
    border is at -tilt dx plus and minus sqrt(tall - wide dx^2).
    """
    found, none, size = 0, steps(f32(0)) * f32(0), f32(TILE)
    for begin in range(first, end, LANES):
        x, y, peak, tilt, tall, wide, reach, _ = load_turned(packed, lists, begin, end - 1)
        middle = y - (f32(top) + f32(0.5))
        for half in range(2):
            near = (f32(left + LANES * half) + f32(0.5)) - x
            far = near + f32(LANES - 1)
            below = lower(higher(none - peak, near), far)
            above = lower(higher(peak, near), far)
            low = none - tilt * above - root(higher(tall - wide * above * above, f32(0)))
            high = root(higher(tall - wide * below * below, f32(0))) - tilt * below
            start = up(higher(lower(middle + low, size), f32(0)))
            stop = down(higher(lower(middle + high, size - f32(1)), f32(-1)))
            rows = which(reach, near, which(far + reach, f32(0), stop + f32(1) - start, none), none)
            place = steps(f32(begin - first + LANES * 2 * half))
            start = lower(start, f32(TILE - 1))
            store(codes, LANES * half, place + start * f32(32) + higher(rows, none) * f32(512))
        for half in range(2):
            for i in range(min(end - begin, LANES)):
                code = np.int64(codes[LANES * half + i])
                spans[found] = code
                found += code >= 512
    return found


@njit(error_model="numpy")
def _ask(packed, lists, first, end):
    """Lines of a stretch that will be read soon."""
    for n in range(first, min(first + _STRETCH, end)):
        prefetch(packed, LINE * np.int64(lists[n]))


@njit(error_model="numpy", fastmath=_FAST)
def _begun(reach, dx, power, factors):
    """A Gaussian in its first pair of rows. Nothing in columns beyond its reach, nor where it is
    too small to be a number: it would be of no part of the span."""
    a = where_least(power, f32(-120), power_of_two(higher(power, f32(-120)), factors))
    return where_least(reach * reach - dx * dx, f32(0), a)


@njit(error_model="numpy", fastmath=_FAST)
def _slope(dy, lean, cc, factors):
    """By what columns of a Gaussian are multiplied from a pair of rows to the next; from then on
    that ratio falls by the same factor each time.

    Two exponentials a span instead of one a pair. Where few rows are steep (see `_GENTLE`), nothing
    within reach falls below 2^-120 on the way, so that no number here is too small to be one.
    """
    bend = f32(-2) * lean - cc * (f32(4) * dy + f32(4))
    return power_of_two(lower(higher(bend, f32(-120)), f32(120)), factors)


@njit(error_model="numpy", fastmath=_FAST)
def _finished(b):
    """Whether no pixel of a tile lets light through any more."""
    most = load(b, 0)
    for j in range(1, _PIXELS // LANES):
        most = higher(most, load(b, j * LANES))
    return added(higher(most, f32(0))) == f32(0)


@njit(error_model="numpy", fastmath=_FAST)
def _blend(b, base, raw, c0, c1, c2):
    """A splat's part in eight pixels of two rows."""
    a = where_least(raw, f32(1 / 255), lower(raw, f32(0.99)))
    t = load_both(b, base)
    part = t * a
    left_over = t - part
    weight = where_least(left_over, f32(1e-4), part)
    store(b, base, which(left_over, f32(1e-4), left_over, lower(t, f32(0) - t)))
    to = _OUT + base
    store(b, to, load_both(b, to) + weight * c0)
    store(b, to + _TWO, load_both(b, to + _TWO) + weight * c1)
    store(b, to + _THREE, load_both(b, to + _THREE) + weight * c2)


@njit(error_model="numpy")
def place_of(y, x):
    """Where a pixel of a tile is in a worker's arrays."""
    return (x >> 3) * _HALF + y * LANES + (x & 7)


@njit(error_model="numpy")
def _aligned(size):
    """An array that begins where a line of the cache does: sixteen numbers are in one line then."""
    room = np.empty(size + LINE, np.float32)
    skip = -(room.ctypes.data // 4) % LINE
    return room[skip : skip + size]


@njit(error_model="numpy")
def new_tile():
    """Arrays that a worker draws tiles with: light left and features; spans; their codes."""
    b = _aligned(_OUT + CHANNELS * _PIXELS)
    return b, np.empty(2 * _STRETCH, np.int64), np.empty(2 * LANES, np.float32)


@njit(error_model="numpy", fastmath=_FAST)
def draw_tile(packed, starts, lists, tile, left, top, factors, b, spans, codes):
    """Fills `b`: light left (below nothing: what was left when the pixel ended), then features."""
    b[:_PIXELS] = f32(1)
    b[_OUT:] = f32(0)
    end = starts[tile + 1]
    for first in range(starts[tile], end, _STRETCH):
        if first > starts[tile] and _finished(b):
            break
        until = min(first + _STRETCH, end)
        count = _spans(packed, lists, first, until, left, top, spans, codes)
        _ask(packed, lists, until, end)
        for n in range(count):
            code = number(spans, n)
            k = LINE * np.int64(number(lists, first + (code & 15)))
            row, pairs = (code >> 5) & 14, (((code >> 5) & 1) + (code >> 9) + 1) >> 1
            base = ((code & 16) << 3) + row * LANES
            cb, cc = number(packed, k + LEAN), number(packed, k + DOWN)
            c0, c1, c2 = (
                number(packed, k + RED),
                number(packed, k + GREEN),
                number(packed, k + BLUE),
            )
            dx = steps_twice(f32(left + ((code & 16) >> 1)) + f32(0.5) - number(packed, k + X))
            dy = and_below(f32(top + row) + f32(0.5) - number(packed, k + Y))
            across, lean = number(packed, k + ACROSS) * dx * dx + number(packed, k + FAINT), cb * dx
            power = across - dy * (lean + cc * dy)
            rows = f32(2 * pairs + 1)
            if rows * rows * cc > _GENTLE:
                for _ in range(pairs):
                    _blend(b, base, power_of_two(higher(power, f32(-120)), factors), c0, c1, c2)
                    dy = dy + f32(2)
                    power = across - dy * (lean + cc * dy)
                    base += 2 * LANES
                continue
            a = _begun(number(packed, k + REACH), dx, power, factors)
            ratio, fall = _slope(dy, lean, cc, factors), number(packed, k + FALL)
            for _ in range(pairs):
                _blend(b, base, a, c0, c1, c2)
                a = a * ratio
                ratio = ratio * fall
                base += 2 * LANES


@njit(error_model="numpy", fastmath=_FAST)
def light_of(b, at):
    """Alpha of eight pixels, from the light that is left."""
    light = load(b, at)
    return f32(1) - higher(light, f32(0) - light)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def forward(packed, starts, lists, picture, alpha, factors, workers):
    """A picture, channels first. Workers take whole rows of tiles, as neighbours share splats."""
    height, width = alpha.shape
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for worker in nb.prange(workers):
        b, spans, codes = new_tile()
        for row in range(worker, rows, workers):
            for column in range(columns):
                tile, left, top = row * columns + column, column * TILE, row * TILE
                draw_tile(packed, starts, lists, tile, left, top, factors, b, spans, codes)
                _put(b, left, top, picture.reshape(-1), alpha.reshape(-1), width, height)


@njit(error_model="numpy", fastmath=_FAST)
def _put(b, left, top, picture, alpha, width, height):
    """A tile into a picture, both flat."""
    size = width * height
    for y in range(min(TILE, height - top)):
        for half in range(2):
            x = left + LANES * half
            at, place = (top + y) * width + x, half * _HALF + y * LANES
            if x + LANES <= width:
                store(alpha, at, light_of(b, place))
                for c in range(CHANNELS):
                    store(picture, c * size + at, load(b, _OUT + c * _PIXELS + place))
                continue
            for i in range(width - x):
                alpha[at + i] = f32(1) - abs(b[place + i])
                for c in range(CHANNELS):
                    picture[c * size + at + i] = b[_OUT + c * _PIXELS + place + i]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def backward(packed, starts, lists, picture, alpha, d_picture, d_alpha, part, factors, workers):
    """Writes the sums of each splat in a tile to `part`, in the order of `lists`."""
    height, width = alpha.shape
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for worker in nb.prange(workers):
        # One scratch array: light left, what is left of the total, gradient of alpha, gradients of
        # features.
        b = _aligned(_GRAD + CHANNELS * _PIXELS)
        spans, codes = np.empty(2 * _STRETCH, np.int64), np.empty(2 * LANES, np.float32)
        for row in range(worker, rows, workers):
            for column in range(columns):
                tile, left, top = row * columns + column, column * TILE, row * TILE
                if starts[tile] == starts[tile + 1]:
                    continue
                _begin_back(
                    b, left, top, picture.reshape(-1), alpha.reshape(-1), d_picture.reshape(-1),
                    d_alpha.reshape(-1), width, height,
                )  # fmt: skip
                _tile_back(
                    packed, starts[tile], starts[tile + 1], lists, left, top, factors, b, spans,
                    codes, part,
                )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def _tile_back(packed, begin, end, lists, left, top, factors, b, spans, codes, part):
    for first in range(begin, end, _STRETCH):
        until = min(first + _STRETCH, end)
        part[first * SUMS : until * SUMS] = f32(0)
        if first > begin and _finished(b):
            part[until * SUMS : end * SUMS] = f32(0)
            break
        count = _spans(packed, lists, first, until, left, top, spans, codes)
        _ask(packed, lists, until, end)
        for n in range(count):
            at = first + (spans[n] & 15)
            _span_back(
                packed, LINE * np.int64(lists[at]), left, top, spans[n], factors, b, part, at * SUMS
            )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def _begin_back(b, left, top, picture, alpha, d_picture, d_alpha, width, height):
    """A tile's light, all of it, and the gradients of its pixels, all flat; those beside the
    picture have no light."""
    size = width * height
    if left + TILE > width or top + TILE > height:
        b[:] = f32(0)
    for y in range(min(TILE, height - top)):
        for half in range(2):
            x, place = left + LANES * half, half * _HALF + y * LANES
            at = (top + y) * width + x
            if x + LANES <= width:
                d = load(d_alpha, at)
                store(b, place, f32(1) + d * f32(0))
                store(b, _ALPHA + place, d)
                rest = d * load(alpha, at)
                for c in range(CHANNELS):
                    d = load(d_picture, c * size + at)
                    store(b, _GRAD + c * _PIXELS + place, d)
                    rest = rest + d * load(picture, c * size + at)
                store(b, _REST + place, rest)
                continue
            for i in range(width - x):
                d = d_alpha[at + i]
                b[place + i], b[_ALPHA + place + i] = f32(1), d
                b[_REST + place + i] = d * alpha[at + i]
                for c in range(CHANNELS):
                    d = d_picture[c * size + at + i]
                    b[_GRAD + c * _PIXELS + place + i] = d
                    b[_REST + place + i] += d * picture[c * size + at + i]


@njit(error_model="numpy", fastmath=_FAST)
def _span_back(packed, k, left, top, code, factors, b, part, to):
    """Adds a splat's sums over a span to `part`, from `to` on."""
    row, rows = (code >> 5) & 15, code >> 9
    base = ((code & 16) << 3) + row * LANES
    cb, cc = number(packed, k + LEAN), number(packed, k + DOWN)
    c0, c1, c2 = number(packed, k + RED), number(packed, k + GREEN), number(packed, k + BLUE)
    dx = steps(f32(left + ((code & 16) >> 1)) + f32(0.5) - number(packed, k + X))
    dy = f32(top + row) + f32(0.5) - number(packed, k + Y)
    across, lean = number(packed, k + ACROSS) * dx * dx + number(packed, k + FAINT), cb * dx
    power = across - dy * (lean + cc * dy)
    steep = f32((rows + 1) * (rows + 1)) * cc > _GENTLE
    ratio, raw = dx, dx
    if steep:
        raw = power_of_two(higher(power, f32(-120)), factors)
    else:
        bend = f32(0) - (lean + cc * (f32(2) * dy + f32(1)))
        ratio = power_of_two(lower(higher(bend, f32(-120)), f32(120)), factors)
        raw = _begun(number(packed, k + REACH), dx, power, factors)
    fall = number(packed, k + FALL_OF_ROW)
    none = steps(f32(0)) * f32(0)
    p0, py1, py2, f0, f1, f2 = none, none, none, none, none, none
    for _ in range(rows):
        a = where_least(raw, f32(1 / 255), lower(raw, f32(0.99)))
        t = load(b, base)
        shown = t * a
        left_over = t - shown
        weight = where_least(left_over, f32(1e-4), shown)
        store(b, base, where_least(left_over, f32(1e-4), left_over))
        at = _GRAD + base
        u0, u1, u2 = load(b, at), load(b, at + _TWO), load(b, at + _THREE)
        d = load(b, _ALPHA + base) + u0 * c0 + u1 * c1 + u2 * c2
        f0 += weight * u0
        f1 += weight * u1
        f2 += weight * u2
        rest = load(b, _REST + base) - weight * d
        store(b, _REST + base, rest)
        p = where_least(f32(0.99), raw, a * (t * d - rest / (f32(1) - a)))
        p = where_least(left_over, f32(1e-4), p)
        p0 += p
        p = p * dy
        py1 += p
        py2 += p * dy
        dy += f32(1)
        base += LANES
        if steep:
            power = across - dy * (lean + cc * dy)
            raw = power_of_two(higher(power, f32(-120)), factors)
        else:
            raw = raw * ratio
            ratio = ratio * fall
    px = p0 * dx
    sums = each_added(p0, px, py1, px * dx, py1 * dx, py2, f0, f1)
    store(part, to, load(part, to) + sums)
    part[to + 8] += added(f2)


@njit(parallel=True, cache=True, error_model="numpy")
def gather(packed, kept, block, origin, slot, spots, part, d_xy, d_conic, d_features, d_opacity):
    """Add the sums of each splat that was packed, which are at its `spots`, and turn moments into
    gradients."""
    for b in nb.prange(kept.shape[0]):
        for j in range(b * block, b * block + kept[b]):
            i, k = origin[j], LINE * j
            s0, sx, sy = f32(0), f32(0), f32(0)
            xx, xy, yy = f32(0), f32(0), f32(0)
            for n in range(slot[j], slot[j + 1]):
                e = spots[n]
                s0 += part[e, 0]
                sx += part[e, 1]
                sy += part[e, 2]
                xx += part[e, 3]
                xy += part[e, 4]
                yy += part[e, 5]
                for c in range(CHANNELS):
                    d_features[i, c] += part[e, _MOMENTS + c]
            a, lean = f32(-2) * packed[k + ACROSS], packed[k + LEAN]
            d_xy[i, 0] = _LN2 * (a * sx + lean * sy)
            d_xy[i, 1] = _LN2 * (lean * sx + f32(2) * packed[k + DOWN] * sy)
            d_conic[i, 0] = f32(-0.5) * xx
            d_conic[i, 1] = -xy
            d_conic[i, 2] = f32(-0.5) * yy
            d_opacity[i] = s0 * np.exp2(-packed[k + FAINT])
