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
    prefetch,
    root,
    store,
    store_threes,
    strided,
    which,
)
from likeness.ops.portray import Changes, _portray
from likeness.ops.ride import AWAY, Riders
from likeness.ops.splats import DILATION, NEAR, WIDE
from likeness.ops.splats_draw_cpu import draw_tile, light_of, new_tile, place_of
from likeness.ops.splats_pack_cpu import (
    BLOCK,
    DEPTH,
    FINE,
    LINE,
    SHEET,
    TILE,
    deal,
    in_order,
    keep,
    starts_of,
    write_lines,
)
from likeness.ops.twins import match_threads, threads

_FAST = {"contract", "nsz", "arcp"}
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
            s[(3 * k) * BLOCK + j] = vertices[v, 0]
            s[(3 * k + 1) * BLOCK + j] = vertices[v, 1]
            s[(3 * k + 2) * BLOCK + j] = vertices[v, 2]
        s[_EDGES * BLOCK + j] = f32(1) if closed[i] else f32(0)
        at, to = cells[i, 0], (_EDGES + 1) * BLOCK + 16 * j
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
    factors, terms, width, height, lines, sheet,
):  # fmt: skip
    """Splats `i` to `i + 7`, whose triangles are at `q` of a block, to lines and their sheet."""
    ax, ay, az = load(s, q), load(s, BLOCK + q), load(s, 2 * BLOCK + q)
    bx, by, bz = load(s, 3 * BLOCK + q), load(s, 4 * BLOCK + q), load(s, 5 * BLOCK + q)
    cx, cy, cz = load(s, 6 * BLOCK + q), load(s, 7 * BLOCK + q), load(s, 8 * BLOCK + q)
    closed = load(s, _EDGES * BLOCK + q)
    added = (_EDGES + 1) * BLOCK + 16 * q
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
    store(sheet, DEPTH, z)
    store(sheet, FINE, which(z, f32(NEAR), which(turned, f32(1e-37), solid, f32(0)), f32(0)))
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
    write_lines(
        kx * lens_x + c[_LENS + 2], ky * lens_y + c[_LENS + 3], yy * sharp, f32(0) - xy * sharp,
        xx * sharp, sharp, solid, red, green, blue, factors, terms, width, height, lines, sheet,
    )  # fmt: skip


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _stage(
    corners, closed, vertices, cells, cell_weights, motion, shade, weights, offset, rotation,
    log_scale, opacity, colour, follow, harmonics, glossy, c, factors, terms, width, height,
    packed, reach, keys, origin, tiles, grid, kept,
):  # fmt: skip
    """All splats in blocks; those that are drawn are packed one after another within each block,
    `kept` says how many. A row of `grid` for each worker."""
    count, workers, across = corners.shape[0], grid.shape[0], (width + TILE - 1) // TILE + 1
    for worker in nb.prange(workers):
        s = np.empty((_EDGES + 1 + 16) * BLOCK, np.float32)
        lines, sheet = np.empty(LINE * LANES, np.float32), np.empty(SHEET, np.float32)
        for block in range(worker, kept.shape[0], workers):
            begin, last = block * BLOCK, min((block + 1) * BLOCK, count)
            first = last - (last - begin + LANES - 1) // LANES * LANES  # whole eights
            _fetch(
                corners, closed, vertices, cells, cell_weights, motion, shade, first, last, s
            )  # fmt: skip
            to = begin
            for i in range(first, last, LANES):
                _eight(
                    i, i - first, s, weights, offset, rotation, log_scale, opacity, colour, follow,
                    harmonics, glossy, c, factors, terms, width, height, lines, sheet,
                )  # fmt: skip
                to = keep(
                    lines, sheet, max(begin - i, 0), i, to, packed, reach, keys, origin, tiles,
                    grid[worker], across,
                )  # fmt: skip
            kept[block] = to - begin


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _paint(packed, starts, lists, width, height, picture, alpha, factors, workers):
    """The picture, channels last, tile by tile; every worker takes whole rows of tiles, as
    neighbours share splats."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for worker in nb.prange(workers):
        b, spans, codes = new_tile()
        for row in range(worker, rows, workers):
            for column in range(columns):
                tile, left, top = row * columns + column, column * TILE, row * TILE
                if starts[tile] == starts[tile + 1]:
                    b[:] = f32(0)
                    b[: TILE * TILE] = f32(1)
                else:
                    _ask_to_write(picture, alpha, left, top, width, height)
                    draw_tile(packed, starts, lists, tile, left, top, factors, b, spans, codes)
                _put(b, picture, alpha, left, top, width, height)


@njit(error_model="numpy")
def _ask_to_write(picture, alpha, left, top, width, height):
    """The lines a tile will be written to: they come while it is drawn."""
    for y in range(top, min(top + TILE, height)):
        at = y * width + left
        prefetch(alpha, at)
        for line in range(3):
            prefetch(picture, 3 * at + line * TILE)


@njit(error_model="numpy", fastmath=_FAST)
def _put(b, picture, alpha, left, top, width, height):
    """A tile into a picture, both flat."""
    for y in range(min(TILE, height - top)):
        for x in range(left, min(left + TILE, width), LANES):
            at, place = (top + y) * width + x, place_of(y, x - left)
            if x + LANES <= width:
                store(alpha, at, light_of(b, place))
                store_threes(
                    picture, 3 * at, _within(b, place, 1), _within(b, place, 2),
                    _within(b, place, 3),
                )  # fmt: skip
                continue
            for i in range(width - x):
                alpha[at + i] = f32(1) - abs(b[place + i])
                for k in range(3):
                    value = b[(k + 1) * TILE * TILE + place + i]
                    picture[3 * (at + i) + k] = min(max(value, f32(0)), f32(1))


@njit(error_model="numpy", fastmath=_FAST)
def _within(b, at, channel):
    """Eight numbers of a channel of a tile, between 0 and 1."""
    return lower(higher(load(b, channel * TILE * TILE + at), f32(0)), f32(1))


_NO_SLOTS = np.empty(0, np.int64)


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
    blocks = -(-count // BLOCK)
    room = blocks * BLOCK
    columns, rows = -(-width // TILE), -(-height // TILE)
    strips = max(1, min(rows, threads()))
    packed = _scratch.take("packed", np.float32, room * LINE)
    reach = _scratch.take("reach", np.int32, room, 2)
    keys, more_keys = (_scratch.take(n, np.uint32, room) for n in ("keys", "more keys"))
    places, more, origin, tiles = (
        _scratch.take(n, np.int32, room) for n in ("places", "more places", "origin", "tiles")
    )
    grid = np.zeros((strips, (rows + 1) * (columns + 1)), np.int32)
    kept = np.empty(blocks, np.int64)
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
        width, height, packed, reach, keys, origin, tiles, grid, kept,
    )  # fmt: skip
    order = in_order(kept, keys, places, more_keys, more)
    starts = np.empty(rows * columns + 1, np.int64)
    starts_of(grid, columns, rows, starts)
    lists = _scratch.take("lists", np.int32, int(starts[-1]))
    deal(reach, order, columns, rows, strips, starts[:-1].copy(), lists, _NO_SLOTS, _NO_SLOTS)
    picture, alpha = torch.empty(height, width, 3), torch.empty(height, width)
    flat = (picture.view(-1).numpy(), alpha.view(-1).numpy())
    _paint(packed, starts, lists, width, height, *flat, FACTORS, strips)
    return picture, alpha
