"""CPU twin of portraying: a splat is read once and leaves as what the rasteriser draws.

Eight splats are worked on as one. Their turns stay matrices, since the covariance on screen needs
no quaternion of its own. What faces away, is faint or beside the picture is dropped at once; the
others leave a line of numbers each, in the order given, and only their places are sorted. Arrays
that no caller sees are kept from picture to picture: fresh memory costs as much as the work.
"""

import threading

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.core.camera import Camera
from likeness.ops.atlas_cpu import weigh
from likeness.ops.carry_cpu import _quaternion
from likeness.ops.jit import njit
from likeness.ops.lanes import (
    FACTORS,
    LANES,
    TERMS,
    higher,
    load,
    lower,
    power_of_two,
    root,
    steps,
    store,
    store_threes,
    strided,
    which,
)
from likeness.ops.portray import Changes, _portray
from likeness.ops.ride import AWAY, Riders
from likeness.ops.splats import DILATION, NEAR, WIDE
from likeness.ops.splats_draw_cpu import draw_tile, new_tile
from likeness.ops.splats_pack_cpu import (
    LINE,
    TILE,
    box_of,
    count_tiles,
    nearest_first,
    sizes_of,
)
from likeness.ops.twins import match_threads, threads

_FAST = {"contract", "nsz", "arcp"}
_BLOCK = 256  # splats that a worker takes together
_ROWS = 16 + 3  # numbers of a splat on their way: a line, then depth and reach down and its share
_DEPTH, _HIGH, _FINE = 16, 17, 18
_EDGES = 9  # coordinates of a triangle, then 16 of what its atlas adds
f32 = np.float32
_LOW, _SPAN = f32(AWAY[0]), f32(AWAY[1] - AWAY[0])
_LOG2E = f32(1.4426950408889634)
_C1 = f32(0.4886025119029199)
# Where what is the same for all splats lies in one array.
_TORSO, _EYE, _POSE, _LENS, _LIMIT, _WITH_HEAD, _WITH_TORSO, _PLACES = (
    12,
    24,
    27,
    39,
    43,
    45,
    49,
    53,
)


@njit(cache=True, error_model="numpy")
def _common(head, torso, k, pose, width, height, c):
    """Fills `c` with head, torso, eye, pose, lens, how far the projection follows, and turns."""
    for i in range(3):
        for j in range(4):
            c[4 * i + j], c[_TORSO + 4 * i + j] = head[i, j], torso[i, j]
            c[_POSE + 4 * i + j] = pose[i, j]
        c[_EYE + i] = -(pose[0, i] * pose[0, 3] + pose[1, i] * pose[1, 3] + pose[2, i] * pose[2, 3])
    c[_LENS], c[_LENS + 1], c[_LENS + 2], c[_LENS + 3] = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    c[_LIMIT] = WIDE * 0.5 * width / k[0, 0]
    c[_LIMIT + 1] = WIDE * 0.5 * height / k[1, 1]
    a = _quaternion(
        head[0, 0], head[0, 1], head[0, 2], head[1, 0], head[1, 1], head[1, 2], head[2, 0],
        head[2, 1], head[2, 2],
    )  # fmt: skip
    b = _quaternion(
        torso[0, 0], torso[0, 1], torso[0, 2], torso[1, 0], torso[1, 1], torso[1, 2], torso[2, 0],
        torso[2, 1], torso[2, 2],
    )  # fmt: skip
    dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]
    sign = f32(-1) if dot < f32(0) else f32(1)
    c[_WITH_HEAD], c[_WITH_HEAD + 1] = sign * a[0], sign * a[1]
    c[_WITH_HEAD + 2], c[_WITH_HEAD + 3] = sign * a[2], sign * a[3]
    c[_WITH_TORSO], c[_WITH_TORSO + 1] = b[0], b[1]
    c[_WITH_TORSO + 2], c[_WITH_TORSO + 3] = b[2], b[3]


@njit(error_model="numpy", fastmath=_FAST)
def _fetch(corners, closed, vertices, cells, weights, motion, shade, first, last, s):
    """Triangles and what the atlas adds, for a block of splats."""
    for i in range(first, last):
        j = i - first
        for k in range(3):
            v = corners[i, k]
            s[(3 * k) * _BLOCK + j] = vertices[v, 0]
            s[(3 * k + 1) * _BLOCK + j] = vertices[v, 1]
            s[(3 * k + 2) * _BLOCK + j] = vertices[v, 2]
        s[_EDGES * _BLOCK + j] = f32(1) if closed[i] else f32(0)
        at, to = cells[i, 0], (_EDGES + 1) * _BLOCK + 16 * j
        moved, shaded = load(motion, 3 * at) * weights[i, 0], load(shade, 5 * at) * weights[i, 0]
        for k in range(1, 4):
            at = cells[i, k]
            moved = moved + load(motion, 3 * at) * weights[i, k]
            shaded = shaded + load(shade, 5 * at) * weights[i, k]
        store(s, to, moved)
        store(s, to + 8, shaded)


@njit(error_model="numpy", fastmath=_FAST)
def _exponential(x, factors):
    return power_of_two(lower(higher(x * _LOG2E, f32(-120)), f32(120)), factors)


@njit(error_model="numpy", fastmath=_FAST)
def _matrix(w, x, y, z):
    two = f32(2)
    return (
        f32(1) - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y),
        two * (x * y + w * z), f32(1) - two * (x * x + z * z), two * (y * z - w * x),
        two * (x * z - w * y), two * (y * z + w * x), f32(1) - two * (x * x + y * y),
    )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def _eight(
    i, q, s, weights, offset, rotation, log_scale, opacity, colour, follow, harmonics, glossy, c,
    factors, terms, out,
):  # fmt: skip
    """Splats `i` to `i + 7`, whose triangles are at `q` of a block, to their numbers in `out`."""
    ax, ay, az = load(s, q), load(s, _BLOCK + q), load(s, 2 * _BLOCK + q)
    bx, by, bz = load(s, 3 * _BLOCK + q), load(s, 4 * _BLOCK + q), load(s, 5 * _BLOCK + q)
    cx, cy, cz = load(s, 6 * _BLOCK + q), load(s, 7 * _BLOCK + q), load(s, 8 * _BLOCK + q)
    closed = load(s, _EDGES * _BLOCK + q)
    added = (_EDGES + 1) * _BLOCK + 16 * q
    # axes of the triangle: see `ride_cpu._axes`
    ex, ey, ez, sx, sy, sz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    nx, ny, nz = ey * sz - ez * sy, ez * sx - ex * sz, ex * sy - ey * sx
    square = nx * nx + ny * ny + nz * nz
    edges = ex * ex + ey * ey + ez * ez
    least = f32(1e-10) * (edges * (sx * sx + sy * sy + sz * sz)) + f32(1e-30)
    over, along = f32(1) / root(square), f32(1) / root(edges)
    nx, ny = which(square, least, nx * over, f32(0)), which(square, least, ny * over, f32(0))
    nz, fx = which(square, least, nz * over, f32(1)), which(square, least, ex * along, f32(1))
    fy, fz = which(square, least, ey * along, f32(0)), which(square, least, ez * along, f32(0))
    gx, gy, gz = ny * fz - nz * fy, nz * fx - nx * fz, nx * fy - ny * fx
    # place in the frame of the head, and in the world
    wa, wb = strided(weights, 3 * i, 3), strided(weights, 3 * i + 1, 3)
    wc = strided(weights, 3 * i + 2, 3)
    ox, oy = strided(offset, 3 * i, 3), strided(offset, 3 * i + 1, 3)
    oz = strided(offset, 3 * i + 2, 3)
    x = wa * ax + wb * bx + wc * cx + fx * ox + gx * oy + nx * oz + strided(s, added, 16)
    y = wa * ay + wb * by + wc * cy + fy * ox + gy * oy + ny * oz + strided(s, added + 1, 16)
    z = wa * az + wb * bz + wc * cz + fz * ox + gz * oy + nz * oz + strided(s, added + 2, 16)
    leaning = load(follow, i)
    share = f32(1) / (_exponential(f32(0) - leaning, factors) + f32(1))
    hx = x * c[0] + y * c[1] + z * c[2] + c[3]
    hy = x * c[4] + y * c[5] + z * c[6] + c[7]
    hz = x * c[8] + y * c[9] + z * c[10] + c[11]
    tx = x * c[12] + y * c[13] + z * c[14] + c[15]
    ty = x * c[16] + y * c[17] + z * c[18] + c[19]
    tz = x * c[20] + y * c[21] + z * c[22] + c[23]
    px, py, pz = tx + share * (hx - tx), ty + share * (hy - ty), tz + share * (hz - tz)
    # how much it faces the eye
    vx, vy, vz = px - c[_EYE], py - c[_EYE + 1], pz - c[_EYE + 2]
    near = f32(1) / root(higher(vx * vx + vy * vy + vz * vz, f32(1e-24)))
    vx, vy, vz = vx * near, vy * near, vz * near
    cosine = (
        (nx * c[0] + ny * c[1] + nz * c[2]) * vx
        + (nx * c[4] + ny * c[5] + nz * c[6]) * vy
        + (nx * c[8] + ny * c[9] + nz * c[10]) * vz
    )
    u = lower(higher((f32(0) - cosine - _LOW) / _SPAN, f32(0)), f32(1))
    u = which(square, least, u * u * (f32(3) - u * f32(2)), f32(1))
    u = f32(1) + closed * (u - f32(1))
    shown = strided(s, added + 12, 16) + load(opacity, i)
    solid = u / (_exponential(f32(0) - shown, factors) + f32(1))
    # on screen
    at = _POSE
    x = px * c[at] + py * c[at + 1] + pz * c[at + 2] + c[at + 3]
    y = px * c[at + 4] + py * c[at + 5] + pz * c[at + 6] + c[at + 7]
    z = px * c[at + 8] + py * c[at + 9] + pz * c[at + 10] + c[at + 11]
    lens_x, lens_y = c[_LENS], c[_LENS + 1]
    inverse = f32(1) / z
    kx, ky = x * inverse, y * inverse
    lx = lower(higher(kx, f32(0) - c[_LIMIT]), c[_LIMIT])
    ly = lower(higher(ky, f32(0) - c[_LIMIT + 1]), c[_LIMIT + 1])
    j0, j2 = inverse * lens_x, f32(0) - lx * inverse * lens_x
    j4, j5 = inverse * lens_y, f32(0) - ly * inverse * lens_y
    a0, a1 = j0 * c[at] + j2 * c[at + 8], j0 * c[at + 1] + j2 * c[at + 9]
    a2 = j0 * c[at + 2] + j2 * c[at + 10]
    b0, b1 = j4 * c[at + 4] + j5 * c[at + 8], j4 * c[at + 5] + j5 * c[at + 9]
    b2 = j4 * c[at + 6] + j5 * c[at + 10]
    # these two rows, through the turn of head and torso, the triangle's axes and its own turn
    m, n = _WITH_HEAD, _WITH_TORSO
    tw = share * (c[m] - c[n]) + c[n]
    tx = share * (c[m + 1] - c[n + 1]) + c[n + 1]
    ty = share * (c[m + 2] - c[n + 2]) + c[n + 2]
    tz = share * (c[m + 3] - c[n + 3]) + c[n + 3]
    k = f32(1) / root(higher(tw * tw + tx * tx + ty * ty + tz * tz, f32(1e-24)))
    r = _matrix(tw * k, tx * k, ty * k, tz * k)
    a0, a1, a2 = (
        a0 * r[0] + a1 * r[3] + a2 * r[6],
        a0 * r[1] + a1 * r[4] + a2 * r[7],
        a0 * r[2] + a1 * r[5] + a2 * r[8],
    )
    b0, b1, b2 = (
        b0 * r[0] + b1 * r[3] + b2 * r[6],
        b0 * r[1] + b1 * r[4] + b2 * r[7],
        b0 * r[2] + b1 * r[5] + b2 * r[8],
    )
    a0, a1, a2 = (
        a0 * fx + a1 * fy + a2 * fz, a0 * gx + a1 * gy + a2 * gz, a0 * nx + a1 * ny + a2 * nz,
    )  # fmt: skip
    b0, b1, b2 = (
        b0 * fx + b1 * fy + b2 * fz, b0 * gx + b1 * gy + b2 * gz, b0 * nx + b1 * ny + b2 * nz,
    )  # fmt: skip
    qw, qx = strided(rotation, 4 * i, 4), strided(rotation, 4 * i + 1, 4)
    qy, qz = strided(rotation, 4 * i + 2, 4), strided(rotation, 4 * i + 3, 4)
    turned = qw * qw + qx * qx + qy * qy + qz * qz
    k = f32(1) / root(higher(turned, f32(1e-24)))
    r = _matrix(qw * k, qx * k, qy * k, qz * k)
    larger = strided(s, added + 11, 16)
    s0 = _exponential(strided(log_scale, 3 * i, 3) + larger, factors)
    s1 = _exponential(strided(log_scale, 3 * i + 1, 3) + larger, factors)
    s2 = _exponential(strided(log_scale, 3 * i + 2, 3) + larger, factors)
    a0, a1, a2 = (
        (a0 * r[0] + a1 * r[3] + a2 * r[6]) * s0,
        (a0 * r[1] + a1 * r[4] + a2 * r[7]) * s1,
        (a0 * r[2] + a1 * r[5] + a2 * r[8]) * s2,
    )
    b0, b1, b2 = (
        (b0 * r[0] + b1 * r[3] + b2 * r[6]) * s0,
        (b0 * r[1] + b1 * r[4] + b2 * r[7]) * s1,
        (b0 * r[2] + b1 * r[5] + b2 * r[8]) * s2,
    )
    xx, xy = a0 * a0 + a1 * a1 + a2 * a2 + f32(DILATION), a0 * b0 + a1 * b1 + a2 * b2
    yy = b0 * b0 + b1 * b1 + b2 * b2 + f32(DILATION)
    sharp = f32(1) / (xx * yy - xy * xy)  # determinant of the inverse
    ca, cb, cc = yy * sharp, f32(0) - xy * sharp, xx * sharp
    store(out, 0 * LANES, kx * lens_x + c[_LENS + 2])
    store(out, 1 * LANES, ky * lens_y + c[_LENS + 3])
    store(out, 2 * LANES, ca)
    store(out, 3 * LANES, cb)
    store(out, 4 * LANES, cc)
    store(out, 5 * LANES, solid)
    sizes_of(ca, cb, cc, sharp, solid, factors, terms, out, 6 * LANES)
    store(out, 15 * LANES, load(out, 12 * LANES))
    store(out, _HIGH * LANES, load(out, 13 * LANES))
    store(out, _DEPTH * LANES, z)
    fine = which(z, f32(NEAR), which(turned, f32(1e-37), solid, f32(0)), f32(0))
    store(out, _FINE * LANES, fine)
    # colour, with its harmonics of degree 1 in the axes of what it goes with
    red = strided(colour, 3 * i, 3) + strided(s, added + 8, 16)
    green = strided(colour, 3 * i + 1, 3) + strided(s, added + 9, 16)
    blue = strided(colour, 3 * i + 2, 3) + strided(s, added + 10, 16)
    if glossy:
        none = f32(1e-38)
        dx = which(leaning, none, vx * c[0] + vy * c[4] + vz * c[8],
                   vx * c[12] + vy * c[16] + vz * c[20])  # fmt: skip
        dy = which(leaning, none, vx * c[1] + vy * c[5] + vz * c[9],
                   vx * c[13] + vy * c[17] + vz * c[21])  # fmt: skip
        dz = which(leaning, none, vx * c[2] + vy * c[6] + vz * c[10],
                   vx * c[14] + vy * c[18] + vz * c[22])  # fmt: skip
        dx, dy, dz = dx * (f32(0) - _C1), dy * (f32(0) - _C1), dz * _C1
        h = 9 * i
        red = red + dy * strided(harmonics, h, 9)
        red = red + dz * strided(harmonics, h + 3, 9) + dx * strided(harmonics, h + 6, 9)
        green = green + dy * strided(harmonics, h + 1, 9)
        green = green + dz * strided(harmonics, h + 4, 9) + dx * strided(harmonics, h + 7, 9)
        blue = blue + dy * strided(harmonics, h + 2, 9)
        blue = blue + dz * strided(harmonics, h + 5, 9) + dx * strided(harmonics, h + 8, 9)
    store(out, 12 * LANES, red)
    store(out, 13 * LANES, green)
    store(out, 14 * LANES, blue)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _stage(
    corners, closed, vertices, cells, cell_weights, motion, shade, weights, offset, rotation,
    log_scale, opacity, colour, follow, harmonics, glossy, c, factors, terms, width, height,
    packed, reach, keys, kept, workers,
):  # fmt: skip
    """All splats in blocks; those that are drawn are packed one after another within each block,
    `kept` says how many."""
    count = corners.shape[0]
    for worker in nb.prange(workers):
        s = np.empty((_EDGES + 1 + 16) * _BLOCK, np.float32)
        out = np.empty(_ROWS * LANES, np.float32)
        for block in range(worker, kept.shape[0], workers):
            begin, last = block * _BLOCK, min((block + 1) * _BLOCK, count)
            first = last - (last - begin + LANES - 1) // LANES * LANES  # whole eights
            _fetch(
                corners, closed, vertices, cells, cell_weights, motion, shade, first, last, s
            )  # fmt: skip
            to = begin
            for i in range(first, last, LANES):
                _eight(
                    i, i - first, s, weights, offset, rotation, log_scale, opacity, colour, follow,
                    harmonics, glossy, c, factors, terms, out,
                )  # fmt: skip
                for lane in range(max(begin - i, 0), LANES):
                    x, y, depth = out[lane], out[LANES + lane], out[_DEPTH * LANES + lane]
                    rx, ry = out[10 * LANES + lane], out[_HIGH * LANES + lane]
                    check = x + y + depth + rx + ry
                    for k in range(2, 15):
                        check += out[k * LANES + lane]
                    if not (out[_FINE * LANES + lane] >= f32(1 / 255) and np.isfinite(check)):
                        continue
                    if box_of(x, y, rx, ry, width, height, reach, to) == 0:
                        continue
                    keys[to] = f32(depth).view(np.uint32)
                    for k in range(LINE):
                        packed[to, k] = out[k * LANES + lane]
                    to += 1
            kept[block] = to - begin


@njit(cache=True, error_model="numpy")
def _order(kept, keys, order, other_keys, other):
    """Places of packed splats, nearest first."""
    total = 0
    for block in range(kept.shape[0]):
        for j in range(block * _BLOCK, block * _BLOCK + kept[block]):
            order[total], keys[total] = j, keys[j]  # never ahead of where it reads
            total += 1
    return nearest_first(keys[:total], order[:total], other_keys, other)


@njit(parallel=True, cache=True, error_model="numpy")
def _deal(reach, order, columns, rows, strips, cursor, lists):
    """The tiles' lists, nearest first; `cursor` begins as where each list does."""
    for strip in nb.prange(strips):
        first, end = strip * rows // strips, (strip + 1) * rows // strips
        for n in range(order.shape[0]):
            j = order[n]
            for ty in range(max(reach[j, 2], first), min(reach[j, 3] + 1, end)):
                for tx in range(reach[j, 0], reach[j, 1] + 1):
                    to = cursor[ty * columns + tx]
                    cursor[ty * columns + tx] = to + 1
                    lists[to] = j


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _paint(packed, starts, lists, width, height, picture, alpha, factors, workers):
    """The picture, channels last, tile by tile."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    none = steps(f32(0)) * f32(0)
    for worker in nb.prange(workers):
        b, spans, edges = new_tile()
        for tile in range(worker, rows * columns, workers):
            left, top = (tile % columns) * TILE, (tile // columns) * TILE
            across, down = min(TILE, width - left), min(TILE, height - top)
            if starts[tile] == starts[tile + 1]:
                for y in range(top, top + down):
                    at = y * width + left
                    alpha[at : at + across] = f32(0)
                    picture[3 * at : 3 * (at + across)] = f32(0)
                continue
            draw_tile(packed, starts, lists, tile, left, top, factors, b, spans, edges)
            for y in range(down):
                at, row = (top + y) * width + left, y * TILE
                if across == TILE:
                    for x in range(0, TILE, LANES):
                        light = load(b, row + x)
                        store(alpha, at + x, f32(1) - higher(light, none - light))
                        parts = b, row + x
                        store_threes(
                            picture, 3 * (at + x), _within(*parts, 1), _within(*parts, 2),
                            _within(*parts, 3),
                        )  # fmt: skip
                    continue
                for x in range(across):
                    alpha[at + x] = f32(1) - abs(b[row + x])
                    for k in range(3):
                        value = b[(k + 1) * TILE * TILE + row + x]
                        picture[3 * (at + x) + k] = min(max(value, f32(0)), f32(1))


@njit(error_model="numpy", fastmath=_FAST)
def _within(b, at, channel):
    """Eight numbers of a channel of a tile, between 0 and 1."""
    return lower(higher(load(b, channel * TILE * TILE + at), f32(0)), f32(1))


class _Scratch(threading.local):
    """Arrays of one thread that are used again while they are large enough."""

    def __init__(self) -> None:
        self.held: dict[str, np.ndarray] = {}

    def take(self, name: str, kind: type, *shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        held = self.held.get(name)
        if held is None or len(held) < size:
            held = self.held[name] = torch.empty(size * 8, dtype=torch.uint8).numpy().view(kind)
        return held[:size].reshape(shape)


_scratch = _Scratch()


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


def portray(
    riders: Riders,
    changes: Changes,
    code: Tensor,
    vertices: Tensor,
    head: Tensor,
    torso: Tensor,
    camera: Camera,
) -> tuple[Tensor, Tensor]:
    """float32, harmonics of degree 0 or 1, and eight splats or more; else the definition."""
    r, count, width, height = riders, len(riders.corners), camera.width, camera.height
    given = (r.offset, changes.motion, code, vertices, head, torso)
    if (
        count < LANES
        or changes.harmonics.shape[1] not in (0, 3)
        or any(x.dtype != torch.float32 for x in given)
    ):
        return _portray(riders, changes, code, vertices, head, torso, camera)
    match_threads()
    c = np.empty(_PLACES, np.float32)
    lens, pose = camera.intrinsics.float(), camera.camera_from_world.float()
    _common(_plain(head), _plain(torso), _plain(lens), _plain(pose), width, height, c)
    numbers = _plain(code)
    tables = []
    for name, atlas in (("motion", changes.motion), ("shade", changes.shade)):
        table = _scratch.take(name, np.float32, atlas.shape[1] + LANES)
        weigh(numbers, changes.own, _plain(atlas).reshape(-1), atlas.shape[1], table)
        tables.append(table)
    blocks = -(-count // _BLOCK)
    room = blocks * _BLOCK
    packed = _scratch.take("packed", np.float32, room, LINE)
    reach = _scratch.take("reach", np.int16, room, 4)
    keys, more_keys = (_scratch.take(n, np.uint32, room) for n in ("keys", "more keys"))
    places, more = (_scratch.take(n, np.int32, room) for n in ("places", "more places"))
    kept = np.empty(blocks, np.int64)
    workers = threads()
    flat = [
        _plain(x).reshape(-1)
        for x in (
            r.weights, r.offset, r.rotation, r.log_scale, r.opacity, r.colour, r.follow,
            changes.harmonics,
        )
    ]  # fmt: skip
    _stage(
        _plain(r.corners), _plain(r.closed), _plain(vertices), _plain(changes.cells),
        _plain(changes.weights), *tables, *flat, changes.harmonics.shape[1] > 0, c, FACTORS, TERMS,
        width, height, packed, reach, keys, kept, min(workers, blocks),
    )  # fmt: skip
    order = _order(kept, keys, places, more_keys, more)
    columns, rows = -(-width // TILE), -(-height // TILE)
    strips = min(rows, workers)
    starts = np.zeros(rows * columns + 1, np.int64)
    count_tiles(reach, order, columns, rows, strips, starts[1:])
    np.cumsum(starts, out=starts)
    lists = _scratch.take("lists", np.int32, int(starts[-1]))
    _deal(reach, order, columns, rows, strips, starts[:-1].copy(), lists)
    picture, alpha = torch.empty(height, width, 3), torch.empty(height, width)
    flat = (picture.view(-1).numpy(), alpha.view(-1).numpy())
    tiles = max(1, min(64, rows * columns))
    _paint(packed, starts, lists, width, height, *flat, FACTORS, tiles)
    return picture, alpha
