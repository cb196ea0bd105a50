"""CPU twins of the splat stages.

Rasterising works on tiles of 16x16 pixels. Splats are sorted once by depth (radix sort of the
bits), then dealt to the tiles they touch by a counting sort, so that every list is in order. Inside
a tile the loop runs over splats and touches only the rows and groups of 8 pixels within reach, in a
form that vectorises. The backward pass walks front to back as well: with D the dot product of the
pixel's gradient with its final colour and P its running part, the derivative by alpha is
T d - (D - P) / (1 - alpha). Each splat writes its sums per tile into a slot of its own and a second
loop adds them, so that nothing is atomic and results do not depend on the number of threads.
"""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops import splats_project_cpu
from likeness.ops.jit import njit
from likeness.ops.splats import DILATION, NEAR, WIDE
from likeness.ops.twins import match_threads

TILE = 16
LANES = 8
_PIXELS = TILE * TILE
_FAST = {"contract", "nsz", "arcp", "nnan", "ninf"}
_MOMENTS = 6
_LIGHT = 3 * LANES  # offsets into a worker's scratch array
_END = _REST = _LIGHT + _PIXELS
_OUT = _ALPHA = _REST + _PIXELS
_GRAD = _ALPHA + _PIXELS

f32 = np.float32


@njit(inline="always", error_model="numpy", fastmath=_FAST)
def _exp(x):
    """exp of x in [-80, 0] to about 3e-7, without a library call, so that loops vectorise."""
    y = x * f32(1.4426950408889634)
    n = np.floor(y)
    f = y - n
    p = f32(1.8775767e-3)
    p = p * f + f32(8.9893397e-3)
    p = p * f + f32(5.5826318e-2)
    p = p * f + f32(2.4015361e-1)
    p = p * f + f32(6.9315308e-1)
    p = p * f + f32(9.9999994e-1)
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(cache=True, error_model="numpy")
def _bin(xy, depth, conic, features, opacity, width, height, order, packed, reach, slot, starts):
    """Depth order, packed splats, and per tile how many touch it; returns the number of pairs.

    `reach` gets each kept splat's tile rectangle, `slot[k]` where its own entries begin.
    """
    count, channels = xy.shape[0], features.shape[1]
    keys = np.empty(count, np.uint32)
    kept = 0
    for i in range(count):
        o = opacity[i]
        if not (depth[i] > f32(0) and o >= f32(1 / 255) and np.isfinite(o)):
            continue
        fine = True
        for c in range(channels):
            fine = fine and np.isfinite(features[i, c])
        if fine:
            order[kept] = i
            keys[kept] = np.float32(depth[i]).view(np.uint32)
            kept += 1
    order = _radix(keys[:kept], order[:kept])
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    total, last = 0, 0
    for j in range(kept):
        i = order[j]
        a, b, c, o = conic[i, 0], conic[i, 1], conic[i, 2], opacity[i]
        determinant = a * c - b * b
        t = f32(2) * np.log(f32(255) * o)
        rx, ry = np.sqrt(t * c / determinant), np.sqrt(t * a / determinant)
        x, y = xy[i, 0], xy[i, 1]
        if not (np.isfinite(rx) and np.isfinite(ry) and determinant > f32(0)):
            continue
        # pixel centres within [x - rx, x + rx]
        x0 = max(0, int(np.ceil(max(x - rx, f32(-1)) - f32(0.5))))
        x1 = min(width - 1, int(np.floor(min(x + rx, f32(width + 1)) - f32(0.5))))
        y0 = max(0, int(np.ceil(max(y - ry, f32(-1)) - f32(0.5))))
        y1 = min(height - 1, int(np.floor(min(y + ry, f32(height + 1)) - f32(0.5))))
        if x0 > x1 or y0 > y1:
            continue
        packed[last, 0], packed[last, 1] = x, y
        packed[last, 2], packed[last, 3], packed[last, 4] = a, b, c
        packed[last, 5] = o
        for k in range(channels):
            packed[last, 6 + k] = features[i, k]
        reach[last, 0], reach[last, 1], reach[last, 2], reach[last, 3] = x0, x1, y0, y1
        order[last] = i
        slot[last] = total
        for ty in range(y0 // TILE, y1 // TILE + 1):
            for tx in range(x0 // TILE, x1 // TILE + 1):
                starts[ty * columns + tx + 1] += 1
                total += 1
        last += 1
    for tile in range(rows * columns):
        starts[tile + 1] += starts[tile]
    return last, total, order


@njit(cache=True, error_model="numpy")
def _radix(keys, values):
    """Values in the stable order of their 32-bit keys: three passes of 11 bits."""
    other_keys, other_values = np.empty_like(keys), np.empty_like(values)
    counts = np.zeros((3, 2048), np.int64)
    for i in range(keys.shape[0]):
        key = keys[i]
        counts[0, key & np.uint32(2047)] += 1
        counts[1, (key >> np.uint32(11)) & np.uint32(2047)] += 1
        counts[2, key >> np.uint32(22)] += 1
    for p in range(3):
        shift = np.uint32(11 * p)
        at = 0
        for d in range(2048):
            n = counts[p, d]
            counts[p, d] = at
            at += n
        for i in range(keys.shape[0]):
            d = (keys[i] >> shift) & np.uint32(2047)
            to = counts[p, d]
            counts[p, d] = to + 1
            other_keys[to], other_values[to] = keys[i], values[i]
        keys, other_keys = other_keys, keys
        values, other_values = other_values, values
    return values


@njit(cache=True, error_model="numpy")
def _deal(reach, slot, count, columns, starts, cursor, lists, slots):
    """Fill the tiles' lists in depth order; `slots` says where a pair's sums go."""
    for k in range(count):
        at = slot[k]
        for ty in range(reach[k, 2] // TILE, reach[k, 3] // TILE + 1):
            for tx in range(reach[k, 0] // TILE, reach[k, 1] // TILE + 1):
                tile = ty * columns + tx
                to = starts[tile] + cursor[tile]
                cursor[tile] += 1
                lists[to] = k
                slots[to] = at
                at += 1


@njit(inline="always", error_model="numpy", fastmath=_FAST)
def _window(reach, k, left, top):
    """The rows and the groups of 8 pixels of a tile that a splat reaches."""
    g0 = max(reach[k, 0] - left, 0) >> 3
    g1 = min(reach[k, 1] - left, TILE - 1) >> 3
    y0, y1 = max(reach[k, 2] - top, 0), min(reach[k, 3] - top, TILE - 1)
    return g0, g1, y0, y1


@njit(inline="always", error_model="numpy", fastmath=_FAST)
def _finished(b):
    """Whether no pixel of a tile lets light through any more."""
    most = f32(0)
    for j in range(_LIGHT, _LIGHT + _PIXELS):
        most = max(most, b[j])
    return most == f32(0)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _forward(packed, reach, starts, lists, width, height, channels, picture, light, workers):
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for worker in nb.prange(workers):
        # One scratch array: per-lane weights, light left, light at the end, then features.
        b = np.empty(_OUT + channels * _PIXELS, np.float32)
        for tile in range(worker, rows * columns, workers):
            left, top = (tile % columns) * TILE, (tile // columns) * TILE
            b[_LIGHT : _LIGHT + 2 * _PIXELS] = f32(1)
            b[_OUT:] = f32(0)
            for at in range(starts[tile], starts[tile + 1]):
                if (at - starts[tile]) & 15 == 15 and _finished(b):
                    break
                k = lists[at]
                g0, g1, y0, y1 = _window(reach, k, left, top)
                px, py = packed[k, 0], packed[k, 1]
                ca, cb, cc, o = packed[k, 2], packed[k, 3], packed[k, 4], packed[k, 5]
                for y in range(y0, y1 + 1):
                    dy = f32(top + y) + f32(0.5) - py
                    row = f32(-0.5) * cc * dy * dy
                    slope = cb * dy
                    for g in range(g0, g1 + 1):
                        base = ((y & 15) << 4) + ((g & 1) << 3)
                        x0 = f32(left + (g << 3)) + f32(0.5) - px
                        for i in range(LANES):
                            dx = x0 + f32(i)
                            power = row - (f32(0.5) * ca * dx + slope) * dx
                            power = max(min(power, f32(0)), f32(-20))
                            a = min(o * _exp(power), f32(0.99))
                            a = a if a >= f32(1 / 255) else f32(0)
                            t = b[_LIGHT + base + i]
                            tn = t * (f32(1) - a)
                            live = f32(1) if tn >= f32(1e-4) else f32(0)
                            weight = live * t * a
                            b[i] = weight
                            b[_LIGHT + base + i] = live * tn
                            b[_END + base + i] -= weight
                        for c in range(channels):
                            colour = packed[k, 6 + c]
                            for i in range(LANES):
                                b[_OUT + (c << 8) + base + i] += b[i] * colour
            for y in range(min(TILE, height - top)):
                for x in range(min(TILE, width - left)):
                    j = (y << 4) + x
                    light[top + y, left + x] = b[_END + j]
                    for c in range(channels):
                        picture[top + y, left + x, c] = b[_OUT + (c << 8) + j]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _backward(
    packed, reach, starts, lists, slots, width, height, channels, d_picture, d_alpha, total, part,
    workers,
):  # fmt: skip
    """`total` [H, W] is each pixel's gradient times its colour and alpha; sums go to `part`."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    sums = _MOMENTS + channels
    for worker in nb.prange(workers):
        # One scratch array: three rows of lanes, light left, what is left of the total, gradient
        # of alpha, gradients of features, and the sums of one splat, eight lanes each.
        b = np.empty(_GRAD + channels * _PIXELS + sums * LANES, np.float32)
        acc = _GRAD + (channels << 8)
        for tile in range(worker, rows * columns, workers):
            left, top = (tile % columns) * TILE, (tile // columns) * TILE
            if starts[tile] == starts[tile + 1]:
                continue
            for y in range(TILE):
                for x in range(TILE):
                    j = (y << 4) + x
                    inside = top + y < height and left + x < width
                    b[_LIGHT + j] = f32(1) if inside else f32(0)
                    b[_REST + j] = total[top + y, left + x] if inside else f32(0)
                    b[_ALPHA + j] = d_alpha[top + y, left + x] if inside else f32(0)
                    for c in range(channels):
                        g = d_picture[top + y, left + x, c] if inside else f32(0)
                        b[_GRAD + (c << 8) + j] = g
            for at in range(starts[tile], starts[tile + 1]):
                if (at - starts[tile]) & 15 == 15 and _finished(b):
                    break
                k = lists[at]
                g0, g1, y0, y1 = _window(reach, k, left, top)
                px, py = packed[k, 0], packed[k, 1]
                ca, cb, cc, o = packed[k, 2], packed[k, 3], packed[k, 4], packed[k, 5]
                b[acc:] = f32(0)
                for y in range(y0, y1 + 1):
                    dy = f32(top + y) + f32(0.5) - py
                    row = f32(-0.5) * cc * dy * dy
                    slope = cb * dy
                    for g in range(g0, g1 + 1):
                        base = ((y & 15) << 4) + ((g & 1) << 3)
                        x0 = f32(left + (g << 3)) + f32(0.5) - px
                        for i in range(LANES):
                            b[2 * LANES + i] = b[_ALPHA + base + i]
                        for c in range(channels):
                            colour = packed[k, 6 + c]
                            for i in range(LANES):
                                b[2 * LANES + i] += b[_GRAD + (c << 8) + base + i] * colour
                        for i in range(LANES):
                            dx = x0 + f32(i)
                            power = row - (f32(0.5) * ca * dx + slope) * dx
                            power = max(min(power, f32(0)), f32(-20))
                            raw = o * _exp(power)
                            a = min(raw, f32(0.99))
                            a = a if a >= f32(1 / 255) else f32(0)
                            free = a if raw < f32(0.99) else f32(0)
                            t = b[_LIGHT + base + i]
                            tn = t * (f32(1) - a)
                            live = f32(1) if tn >= f32(1e-4) else f32(0)
                            weight = live * t * a
                            d = b[2 * LANES + i]
                            rest = b[_REST + base + i] - weight * d
                            b[_REST + base + i] = rest
                            b[_LIGHT + base + i] = live * tn
                            b[i] = live * free * (t * d - rest / (f32(1) - a))
                            b[LANES + i] = weight
                        for i in range(LANES):
                            dx = x0 + f32(i)
                            p = b[i]
                            b[acc + i] += p
                            b[acc + LANES + i] += p * dx
                            b[acc + 2 * LANES + i] += p * dy
                            b[acc + 3 * LANES + i] += p * dx * dx
                            b[acc + 4 * LANES + i] += p * dx * dy
                            b[acc + 5 * LANES + i] += p * dy * dy
                        for c in range(channels):
                            to = acc + ((6 + c) << 3)
                            for i in range(LANES):
                                b[to + i] += b[LANES + i] * b[_GRAD + (c << 8) + base + i]
                s = slots[at]
                for m in range(sums):
                    lane = acc + (m << 3)
                    part[s, m] = ((b[lane] + b[lane + 1]) + (b[lane + 2] + b[lane + 3])) + (
                        (b[lane + 4] + b[lane + 5]) + (b[lane + 6] + b[lane + 7])
                    )


@njit(parallel=True, cache=True, error_model="numpy")
def _gather(packed, order, slot, count, total, part, d_xy, d_conic, d_features, d_opacity):
    """Add each splat's own entries and turn moments into gradients."""
    channels = d_features.shape[1]
    for k in nb.prange(count):
        first = slot[k]
        last = slot[k + 1] if k + 1 < count else total
        i = order[k]
        s0, sx, sy = f32(0), f32(0), f32(0)
        xx, xy, yy = f32(0), f32(0), f32(0)
        for e in range(first, last):
            s0 += part[e, 0]
            sx += part[e, 1]
            sy += part[e, 2]
            xx += part[e, 3]
            xy += part[e, 4]
            yy += part[e, 5]
            for c in range(channels):
                d_features[i, c] += part[e, 6 + c]
        a, b, c2 = packed[k, 2], packed[k, 3], packed[k, 4]
        d_xy[i, 0] = a * sx + b * sy
        d_xy[i, 1] = b * sx + c2 * sy
        d_conic[i, 0] = f32(-0.5) * xx
        d_conic[i, 1] = -xy
        d_conic[i, 2] = f32(-0.5) * yy
        d_opacity[i] = s0 / packed[k, 5]


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, xy, depth, conic, features, opacity, width, height):
        given = [x.detach().contiguous() for x in (xy, depth, conic, features, opacity)]
        count, channels = features.shape
        tiles = -(-width // TILE) * -(-height // TILE)
        order = np.empty(count, np.int64)
        packed = np.empty((count, 6 + channels), np.float32)
        reach, slot = np.empty((count, 4), np.int32), np.empty(count, np.int64)
        starts = np.zeros(tiles + 1, np.int64)
        kept, total, order = _bin(
            *[x.numpy() for x in given], width, height, order, packed, reach, slot, starts
        )
        lists, slots = np.empty(total, np.int32), np.empty(total, np.int64)
        columns = -(-width // TILE)
        _deal(reach, slot, kept, columns, starts, np.zeros(tiles, np.int64), lists, slots)
        picture, light = xy.new_empty(height, width, channels), xy.new_empty(height, width)
        workers = max(1, min(64, tiles))
        _forward(
            packed, reach, starts, lists, width, height, channels, picture.numpy(),
            light.numpy(), workers,
        )  # fmt: skip
        alpha = 1 - light
        ctx.save_for_backward(picture, alpha)
        ctx.state = (packed, reach, starts, lists, slots, slot, order, kept, total, workers)
        ctx.shape = (count, channels, width, height)
        return picture, alpha

    @staticmethod
    def backward(ctx, d_picture, d_alpha):  # type: ignore[override]
        picture, alpha = ctx.saved_tensors
        packed, reach, starts, lists, slots, slot, order, kept, total, workers = ctx.state
        count, channels, width, height = ctx.shape
        d_picture, d_alpha = d_picture.contiguous(), d_alpha.contiguous()
        dots = (d_picture * picture).sum(-1) + d_alpha * alpha
        part = np.zeros((total, _MOMENTS + channels), np.float32)
        match_threads()
        _backward(
            packed, reach, starts, lists, slots, width, height, channels, d_picture.numpy(),
            d_alpha.numpy(), dots.numpy(), part, workers,
        )  # fmt: skip
        new = d_picture.new_zeros
        d_xy, d_conic = new(count, 2), new(count, 3)
        d_features, d_opacity = new(count, channels), new(count)
        _gather(
            packed, order, slot, kept, total, part, d_xy.numpy(), d_conic.numpy(),
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
    dtype = features.dtype
    given = [x.float() for x in (xy, depth, conic, features, opacity)]
    picture, alpha = _Rasterise.apply(*given, width, height)  # type: ignore[misc]
    return picture.to(dtype), alpha.to(dtype)


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
