"""One pass over splats: each is read once and leaves as what the rasteriser draws.

Eight splats are worked on as one. Their turns stay matrices, since the covariance on screen needs
no quaternion of its own. What faces away, is faint or beside the picture is dropped at once; the
others leave a line of numbers each, in the order given. What the way back needs again is a function
of its own here (see `study_back_cpu`).
"""

import numba as nb
import numpy as np

from likeness.ops.carry_cpu import _quaternion
from likeness.ops.jit import njit
from likeness.ops.lanes import LANES, higher, lower, power_of_two, root, which
from likeness.ops.lanes_memory import (
    load,
    load_eights,
    load_flags,
    load_fours,
    load_threes,
    store,
    strided,
)
from likeness.ops.ride import AWAY
from likeness.ops.splats import DILATION, NEAR, WIDE
from likeness.ops.splats_pack_cpu import (
    BLOCK,
    DEPTH,
    FINE,
    LINE,
    SHEET,
    TILE,
    keep,
    write_lines,
)

_FAST = {"contract", "nsz", "arcp"}
ADDED = 9 * BLOCK
"""Where in a block's array, after coordinates of triangles, begins what the atlas adds, 8 numbers
for each splat: motion, colour, size, opacity."""
ROOM = ADDED + 8 * (BLOCK + 1)
f32 = np.float32
_LOW, _SPAN = f32(AWAY[0]), f32(AWAY[1] - AWAY[0])
_LOG2E = f32(1.4426950408889634)
_C1 = f32(0.4886025119029199)
# Where what is the same for all splats lies in one array.
TORSO, EYE, POSE, LENS, LIMIT, _WITH_HEAD, _WITH_TORSO, PLACES = (
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
def common(head, torso, k, pose, width, height, c):
    """Fills `c` with head, torso, eye, pose, lens, how far the projection follows, and turns."""
    for i in range(3):
        for j in range(4):
            c[4 * i + j], c[TORSO + 4 * i + j] = head[i, j], torso[i, j]
            c[POSE + 4 * i + j] = pose[i, j]
        c[EYE + i] = -(pose[0, i] * pose[0, 3] + pose[1, i] * pose[1, 3] + pose[2, i] * pose[2, 3])
    c[LENS], c[LENS + 1], c[LENS + 2], c[LENS + 3] = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    c[LIMIT] = WIDE * 0.5 * width / k[0, 0]
    c[LIMIT + 1] = WIDE * 0.5 * height / k[1, 1]
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
def fetch(corners, vertices, cells, weights, motion, shade, i, s, j):
    """The triangle of splat `i` and what the atlas adds, to place `j` of a block. Next
    ones come after: their places are written over."""
    for k in range(3):
        v = corners[i, k]
        s[(3 * k) * BLOCK + j] = vertices[v, 0]
        s[(3 * k + 1) * BLOCK + j] = vertices[v, 1]
        s[(3 * k + 2) * BLOCK + j] = vertices[v, 2]
    at, to = cells[i, 0], ADDED + 8 * j
    moved, shaded = load(motion, 3 * at) * weights[i, 0], load(shade, 5 * at) * weights[i, 0]
    for k in range(1, 4):
        at = cells[i, k]
        moved = moved + load(motion, 3 * at) * weights[i, k]
        shaded = shaded + load(shade, 5 * at) * weights[i, k]
    store(s, to, moved)
    store(s, to + 3, shaded)


@njit(error_model="numpy")
def triangles(s, q):
    """The corners of eight triangles of a block."""
    return (
        load(s, q), load(s, BLOCK + q), load(s, 2 * BLOCK + q), load(s, 3 * BLOCK + q),
        load(s, 4 * BLOCK + q), load(s, 5 * BLOCK + q), load(s, 6 * BLOCK + q),
        load(s, 7 * BLOCK + q), load(s, 8 * BLOCK + q),
    )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def in_head(corners, axes, weights, offset, motion):
    """Places in the frame of the head, coordinate by coordinate."""
    ax, ay, az, bx, by, bz, cx, cy, cz = corners
    fx, fy, fz, gx, gy, gz, nx, ny, nz, _, _ = axes
    (u, v, w), (x, y, z) = weights, offset
    return (
        u * ax + v * bx + w * cx + fx * x + gx * y + nx * z + motion[0],
        u * ay + v * by + w * cy + fy * x + gy * y + ny * z + motion[1],
        u * az + v * bz + w * cz + fz * x + gz * y + nz * z + motion[2],
    )


@njit(error_model="numpy", fastmath=_FAST)
def exponential(x, factors):
    return power_of_two(lower(higher(x * _LOG2E, f32(-120)), f32(120)), factors)


@njit(error_model="numpy", fastmath=_FAST)
def sigmoid(x, factors):
    return f32(1) / (exponential(f32(0) - x, factors) + f32(1))


@njit(error_model="numpy", fastmath=_FAST)
def axes_of(corners):
    """Axes of triangles: first edge, in-plane normal, face normal (see `ride_cpu._axes`); squared
    length of that normal, and from which on it is one."""
    ax, ay, az, bx, by, bz, cx, cy, cz = corners
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
    return fx, fy, fz, gx, gy, gz, nx, ny, nz, square, least


@njit(error_model="numpy", fastmath=_FAST)
def carried(x, y, z, c, at):
    """Places after the motion that begins at `at` among what is the same for all."""
    return (
        x * c[at] + y * c[at + 1] + z * c[at + 2] + c[at + 3],
        x * c[at + 4] + y * c[at + 5] + z * c[at + 6] + c[at + 7],
        x * c[at + 8] + y * c[at + 9] + z * c[at + 10] + c[at + 11],
    )


@njit(error_model="numpy", fastmath=_FAST)
def seen_from(px, py, pz, c):
    """Unit directions from the eye."""
    vx, vy, vz = px - c[EYE], py - c[EYE + 1], pz - c[EYE + 2]
    near = f32(1) / root(higher(vx * vx + vy * vy + vz * vz, f32(1e-24)))
    return vx * near, vy * near, vz * near


@njit(error_model="numpy", fastmath=_FAST)
def _turned_to(n, v, square, least, closed, c):
    """How much of splats with normals `n` in the head is drawn when seen along `v`."""
    cosine = (
        (n[0] * c[0] + n[1] * c[1] + n[2] * c[2]) * v[0]
        + (n[0] * c[4] + n[1] * c[5] + n[2] * c[6]) * v[1]
        + (n[0] * c[8] + n[1] * c[9] + n[2] * c[10]) * v[2]
    )
    u = lower(higher((f32(0) - cosine - _LOW) / _SPAN, f32(0)), f32(1))
    u = which(square, least, u * u * (f32(3) - u * f32(2)), f32(1))
    return f32(1) + closed * (u - f32(1))


@njit(error_model="numpy", fastmath=_FAST)
def on_screen(x, y, z, c):
    """Of places in front of a camera: x/z and y/z, 1/z, the first two again as far as the
    projection follows, and the two rows that take small moves in the world to pixels."""
    at, lens_x, lens_y = POSE, c[LENS], c[LENS + 1]
    inverse = f32(1) / z
    kx, ky = x * inverse, y * inverse
    lx = lower(higher(kx, f32(0) - c[LIMIT]), c[LIMIT])
    ly = lower(higher(ky, f32(0) - c[LIMIT + 1]), c[LIMIT + 1])
    j0, j2 = inverse * lens_x, f32(0) - lx * inverse * lens_x
    j4, j5 = inverse * lens_y, f32(0) - ly * inverse * lens_y
    a = (
        j0 * c[at] + j2 * c[at + 8], j0 * c[at + 1] + j2 * c[at + 9],
        j0 * c[at + 2] + j2 * c[at + 10],
    )  # fmt: skip
    b = (
        j4 * c[at + 4] + j5 * c[at + 8], j4 * c[at + 5] + j5 * c[at + 9],
        j4 * c[at + 6] + j5 * c[at + 10],
    )  # fmt: skip
    return kx, ky, inverse, lx, ly, a, b


@njit(error_model="numpy", fastmath=_FAST)
def matrix(w, x, y, z):
    two = f32(2)
    return (
        f32(1) - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y),
        two * (x * y + w * z), f32(1) - two * (x * x + z * z), two * (y * z - w * x),
        two * (x * z - w * y), two * (y * z + w * x), f32(1) - two * (x * x + y * y),
    )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def turn_between(share, c):
    """The turns between those of torso and head."""
    m, n = _WITH_HEAD, _WITH_TORSO
    w = share * (c[m] - c[n]) + c[n]
    x = share * (c[m + 1] - c[n + 1]) + c[n + 1]
    y = share * (c[m + 2] - c[n + 2]) + c[n + 2]
    z = share * (c[m + 3] - c[n + 3]) + c[n + 3]
    k = f32(1) / root(higher(w * w + x * x + y * y + z * z, f32(1e-24)))
    return matrix(w * k, x * k, y * k, z * k)


@njit(error_model="numpy", fastmath=_FAST)
def through(row, m):
    """A row times a matrix."""
    return (
        row[0] * m[0] + row[1] * m[3] + row[2] * m[6],
        row[0] * m[1] + row[1] * m[4] + row[2] * m[7],
        row[0] * m[2] + row[1] * m[5] + row[2] * m[8],
    )


@njit(error_model="numpy", fastmath=_FAST)
def shine_of(leaning, v, c):
    """The harmonics of degree 1 along `v` in the axes of what each splat goes with, in the order
    of their coefficients."""
    none = f32(1e-38)
    x = which(leaning, none, v[0] * c[0] + v[1] * c[4] + v[2] * c[8],
              v[0] * c[12] + v[1] * c[16] + v[2] * c[20])  # fmt: skip
    y = which(leaning, none, v[0] * c[1] + v[1] * c[5] + v[2] * c[9],
              v[0] * c[13] + v[1] * c[17] + v[2] * c[21])  # fmt: skip
    z = which(leaning, none, v[0] * c[2] + v[1] * c[6] + v[2] * c[10],
              v[0] * c[14] + v[1] * c[18] + v[2] * c[22])  # fmt: skip
    return y * (f32(0) - _C1), z * _C1, x * (f32(0) - _C1)


@njit(error_model="numpy", fastmath=_FAST)
def _eight(
    i, q, s, closed, weights, offset, rotation, log_scale, opacity, colour, follow, harmonics,
    glossy, c, factors, terms, width, height, lines, sheet,
):  # fmt: skip
    """Splats `i` to `i + 7`, whose triangles are at `q` of a block, to lines and their sheet."""
    corners = triangles(s, q)
    axes = axes_of(corners)
    fx, fy, fz, gx, gy, gz, nx, ny, nz, square, least = axes
    mx, my, mz, redder, greener, bluer, larger, clearer = load_eights(s, ADDED + 8 * q, 8)
    x, y, z = in_head(
        corners, axes, load_threes(weights, 3 * i), load_threes(offset, 3 * i), (mx, my, mz)
    )  # fmt: skip
    leaning = load(follow, i)
    share = sigmoid(leaning, factors)
    hx, hy, hz = carried(x, y, z, c, 0)
    tx, ty, tz = carried(x, y, z, c, TORSO)
    px, py, pz = tx + share * (hx - tx), ty + share * (hy - ty), tz + share * (hz - tz)
    v = seen_from(px, py, pz, c)
    u = _turned_to((nx, ny, nz), v, square, least, load_flags(closed, i), c)
    solid = u * sigmoid(clearer + load(opacity, i), factors)
    # on screen: two rows, through the turn of head and torso, the triangle's axes and its own turn
    x, y, z = carried(px, py, pz, c, POSE)
    kx, ky, inverse, lx, ly, a, b = on_screen(x, y, z, c)
    r, frame = turn_between(share, c), (fx, gx, nx, fy, gy, ny, fz, gz, nz)
    a, b = through(through(a, r), frame), through(through(b, r), frame)
    qw, qx, qy, qz = load_fours(rotation, 4 * i)
    turned = qw * qw + qx * qx + qy * qy + qz * qz
    k = f32(1) / root(higher(turned, f32(1e-24)))
    r = matrix(qw * k, qx * k, qy * k, qz * k)
    s0, s1, s2 = load_threes(log_scale, 3 * i)
    s0, s1 = exponential(s0 + larger, factors), exponential(s1 + larger, factors)
    s2 = exponential(s2 + larger, factors)
    a, b = through(a, r), through(b, r)
    a0, a1, a2, b0, b1, b2 = a[0] * s0, a[1] * s1, a[2] * s2, b[0] * s0, b[1] * s1, b[2] * s2
    xx, xy = a0 * a0 + a1 * a1 + a2 * a2 + f32(DILATION), a0 * b0 + a1 * b1 + a2 * b2
    yy = b0 * b0 + b1 * b1 + b2 * b2 + f32(DILATION)
    sharp = f32(1) / (xx * yy - xy * xy)  # determinant of the inverse
    store(sheet, DEPTH, z)
    store(sheet, FINE, which(z, f32(NEAR), which(turned, f32(1e-37), solid, f32(0)), f32(0)))
    red, green, blue = load_threes(colour, 3 * i)
    red, green, blue = red + redder, green + greener, blue + bluer
    if glossy:
        first, second, third = shine_of(leaning, v, c)
        h = 9 * i
        red = red + first * strided(harmonics, h, 9)
        red = red + second * strided(harmonics, h + 3, 9) + third * strided(harmonics, h + 6, 9)
        green = green + first * strided(harmonics, h + 1, 9)
        green = green + second * strided(harmonics, h + 4, 9)
        green = green + third * strided(harmonics, h + 7, 9)
        blue = blue + first * strided(harmonics, h + 2, 9)
        blue = blue + second * strided(harmonics, h + 5, 9) + third * strided(harmonics, h + 8, 9)
    write_lines(
        kx * c[LENS] + c[LENS + 2], ky * c[LENS + 1] + c[LENS + 3], yy * sharp,
        f32(0) - xy * sharp, xx * sharp, sharp, solid, red, green, blue, factors, terms, width,
        height, lines, sheet,
    )  # fmt: skip


@njit(error_model="numpy")
def eights_of(begin, last):
    """Splats `begin` to `last` as eights: where the first is, and how many there are."""
    count = (last - begin + LANES - 1) // LANES
    return max(last - count * LANES, 0), count


@njit(error_model="numpy")
def eight_at(n, first, begin, last):
    """Where the n-th of these eights is, and how many of its lanes are not its own."""
    i = min(first + n * LANES, last - LANES)
    done = begin if n == 0 else first + n * LANES
    return i, max(done - i, 0)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def stage(
    corners, closed, vertices, cells, cell_weights, motion, shade, weights, offset, rotation,
    log_scale, opacity, colour, follow, harmonics, glossy, c, factors, terms, width, height,
    packed, reach, keys, origin, tiles, grid, kept,
):  # fmt: skip
    """All splats (at least eight) in blocks; those that are drawn are packed one after another
    within each block, `kept` says how many. A row of `grid` for each worker."""
    count, workers, across = corners.shape[0], grid.shape[0], (width + TILE - 1) // TILE + 1
    for worker in nb.prange(workers):
        s = np.empty(ROOM, np.float32)
        lines, sheet = np.empty(LINE * LANES, np.float32), np.empty(SHEET, np.float32)
        for block in range(worker, kept.shape[0], workers):
            begin, last = block * BLOCK, min((block + 1) * BLOCK, count)
            first, eights = eights_of(begin, last)
            for i in range(first, last):
                fetch(corners, vertices, cells, cell_weights, motion, shade, i, s, i - first)
            to = begin
            for n in range(eights):
                i, skip = eight_at(n, first, begin, last)
                _eight(
                    i, i - first, s, closed, weights, offset, rotation, log_scale, opacity, colour,
                    follow, harmonics, glossy, c, factors, terms, width, height, lines, sheet,
                )  # fmt: skip
                to = keep(
                    lines, sheet, skip, i, to, packed, reach, keys, origin, tiles, grid[worker],
                    across,
                )  # fmt: skip
            kept[block] = to - begin
