"""The way back from lines of splats to what is learned, eight splats as one.

Sums of a splat's tiles are turned into gradients of its place and its ellipse on screen, and these
go back by the way `portray_stage_cpu` came, which is gone again rather than kept. Turns of the
head and axes of triangles pass nothing on. All splats are gone through, as they come: nothing has
pulled at those that were not drawn.
"""

import numba as nb
import numpy as np

from likeness.ops.jit import njit
from likeness.ops.lanes import LANES, added, higher, root, sound, steps, which
from likeness.ops.lanes_memory import (
    load,
    load_eights,
    load_fours,
    load_threes,
    prefetch,
    store,
    store_eights,
    store_fours,
    store_strided,
    store_threes,
    strided,
)
from likeness.ops.portray_stage_cpu import (
    ADDED,
    LENS,
    LIMIT,
    POSE,
    ROOM,
    TORSO,
    axes_of,
    carried,
    eight_at,
    eights_of,
    exponential,
    fetch,
    in_head,
    matrix,
    on_screen,
    seen_from,
    shine_of,
    sigmoid,
    through,
    triangles,
    turn_between,
)
from likeness.ops.splats import DILATION
from likeness.ops.splats_draw_cpu import SUMS
from likeness.ops.splats_pack_cpu import BLOCK

_FAST = {"contract", "nsz", "arcp"}
_ROW = 16  # numbers of a splat's sums, of which nine count
_AHEAD = 8  # splats before their turn, sums are asked for
MOTIONS = 24  # of head and torso, 12 each
f32 = np.float32


@njit(error_model="numpy", fastmath=_FAST)
def _back_through(row, m):
    """The gradient of a row before it was multiplied with a matrix."""
    return (
        row[0] * m[0] + row[1] * m[1] + row[2] * m[2],
        row[0] * m[3] + row[1] * m[4] + row[2] * m[5],
        row[0] * m[6] + row[1] * m[7] + row[2] * m[8],
    )


@njit(error_model="numpy", fastmath=_FAST)
def _of_ellipse(a, b, xx, xy, yy):
    """Gradients of the two rows whose products with themselves are a splat's covariance, from the
    second moments of what pulls at its pixels."""
    ca = a[0] * a[0] + a[1] * a[1] + a[2] * a[2] + f32(DILATION)
    cb = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    cc = b[0] * b[0] + b[1] * b[1] + b[2] * b[2] + f32(DILATION)
    sharp = f32(1) / (ca * cc - cb * cb)
    ka, kb, kc = cc * sharp, (f32(0) - cb) * sharp, ca * sharp
    # through the inverse: dC = -K G K, with -1/2 the moments as G
    ga, gb, gc = xx * f32(0.5), xy * f32(0.5), yy * f32(0.5)
    m00, m01, m10, m11 = ka * ga + kb * gb, ka * gb + kb * gc, kb * ga + kc * gb, kb * gb + kc * gc
    va, vb, vc = m00 * ka + m01 * kb, m00 * kb + m01 * kc, m10 * kb + m11 * kc
    two = f32(2)
    e = (
        two * (va * a[0] + vb * b[0]), two * (va * a[1] + vb * b[1]), two * (va * a[2] + vb * b[2]),
    )  # fmt: skip
    h = (
        two * (vb * a[0] + vc * b[0]), two * (vb * a[1] + vc * b[1]), two * (vb * a[2] + vc * b[2]),
    )  # fmt: skip
    return ka, kb, kc, e, h


@njit(error_model="numpy", fastmath=_FAST)
def _of_turn(w, x, y, z, length, a, b, e, h):
    """Gradients of four numbers, `length` times the unit quaternion, of whose matrix two rows are
    `e` and `h` after `a` and `b`."""
    r00, r01, r02 = a[0] * e[0] + b[0] * h[0], a[0] * e[1] + b[0] * h[1], a[0] * e[2] + b[0] * h[2]
    r10, r11, r12 = a[1] * e[0] + b[1] * h[0], a[1] * e[1] + b[1] * h[1], a[1] * e[2] + b[1] * h[2]
    r20, r21, r22 = a[2] * e[0] + b[2] * h[0], a[2] * e[1] + b[2] * h[1], a[2] * e[2] + b[2] * h[2]
    two, four = f32(2), f32(4)
    gw = two * (x * (r21 - r12) + y * (r02 - r20) + z * (r10 - r01))
    gx = two * (w * (r21 - r12) + y * (r01 + r10) + z * (r02 + r20)) - four * x * (r11 + r22)
    gy = two * (w * (r02 - r20) + x * (r01 + r10) + z * (r12 + r21)) - four * y * (r00 + r22)
    gz = two * (w * (r10 - r01) + x * (r02 + r20) + y * (r12 + r21)) - four * z * (r00 + r11)
    along = gw * w + gx * x + gy * y + gz * z
    return (
        (gw - along * w) / length, (gx - along * x) / length, (gy - along * y) / length,
        (gz - along * z) / length,
    )  # fmt: skip


@njit(error_model="numpy", fastmath=_FAST)
def _of_place(seen, dx, dy, a, b, c):
    """The gradient of a place in the world, from that of its pixel and those of the two rows that
    take small moves to pixels."""
    at, lens_x, lens_y = POSE, c[LENS], c[LENS + 1]
    kx, ky, inverse, lx, ly, _, _ = seen
    none = f32(0)
    free_x = which(kx * kx, c[LIMIT] * c[LIMIT], none * kx, f32(1))
    free_y = which(ky * ky, c[LIMIT + 1] * c[LIMIT + 1], none * ky, f32(1))
    g0 = (a[0] * c[at] + a[1] * c[at + 1] + a[2] * c[at + 2]) * lens_x
    g2 = (a[0] * c[at + 8] + a[1] * c[at + 9] + a[2] * c[at + 10]) * lens_x
    g4 = (b[0] * c[at + 4] + b[1] * c[at + 5] + b[2] * c[at + 6]) * lens_y
    g5 = (b[0] * c[at + 8] + b[1] * c[at + 9] + b[2] * c[at + 10]) * lens_y
    dx, dy = dx * lens_x, dy * lens_y
    x = (dx - g2 * inverse * free_x) * inverse
    y = (dy - g5 * inverse * free_y) * inverse
    bent = g2 * lx * (free_x + f32(1)) + g5 * ly * (free_y + f32(1)) - g0 - g4
    z = (bent * inverse - dx * kx - dy * ky) * inverse
    return (
        x * c[at] + y * c[at + 4] + z * c[at + 8],
        x * c[at + 1] + y * c[at + 5] + z * c[at + 9],
        x * c[at + 2] + y * c[at + 6] + z * c[at + 10],
    )


@njit(error_model="numpy", fastmath=_FAST)
def _add_motion(totals, at, d, x, y, z):
    """Adds to gradients of a motion, 12 times eight numbers from `at` on."""
    for k in range(3):
        to = (at + 4 * k) * LANES
        g = d[0] if k == 0 else (d[1] if k == 1 else d[2])
        store(totals, to, load(totals, to) + g * x)
        store(totals, to + LANES, load(totals, to + LANES) + g * y)
        store(totals, to + 2 * LANES, load(totals, to + 2 * LANES) + g * z)
        store(totals, to + 3 * LANES, load(totals, to + 3 * LANES) + g)


@njit(error_model="numpy", fastmath=_FAST)
def _back_in(motion, at, d):
    """The gradient of a place before a motion."""
    return (
        d[0] * motion[at] + d[1] * motion[at + 4] + d[2] * motion[at + 8],
        d[0] * motion[at + 1] + d[1] * motion[at + 5] + d[2] * motion[at + 9],
        d[0] * motion[at + 2] + d[1] * motion[at + 6] + d[2] * motion[at + 10],
    )


@njit(error_model="numpy", fastmath=_FAST)
def _eight_back(
    i, q, s, sums, weights, offset, rotation, log_scale, opacity, follow, c, factors, totals,
    added_by, to, d_offset, d_rotation, d_log_scale, d_opacity, d_colour, d_follow, d_harmonics,
    pulled,
):  # fmt: skip
    """Splats `i` to `i + 7`, at `q` of a block. Adds to the motions' `totals`, writes what the
    atlas learns of each to `added_by`, and all else from place `to` on."""
    # as on the way forth
    corners = triangles(s, q)
    axes = axes_of(corners)
    fx, fy, fz, gx, gy, gz, nx, ny, nz, _, _ = axes
    mx, my, mz, _, _, _, larger, clearer = load_eights(s, ADDED + 8 * q, 8)
    x, y, z = in_head(
        corners, axes, load_threes(weights, 3 * i), load_threes(offset, 3 * i), (mx, my, mz)
    )
    x, y, z, leaning = sound(x), sound(y), sound(z), sound(load(follow, i))
    share = sigmoid(leaning, factors)
    hx, hy, hz = carried(x, y, z, c, 0)
    tx, ty, tz = carried(x, y, z, c, TORSO)
    hx, hy, hz = hx - tx, hy - ty, hz - tz
    px, py, pz = tx + share * hx, ty + share * hy, tz + share * hz
    vx, vy, vz = carried(px, py, pz, c, POSE)
    seen = on_screen(vx, vy, vz, c)
    turn, frame = turn_between(share, c), (fx, gx, nx, fy, gy, ny, fz, gz, nz)
    a, b = through(through(seen[5], turn), frame), through(through(seen[6], turn), frame)
    qw, qx, qy, qz = load_fours(rotation, 4 * i)
    length = root(higher(qw * qw + qx * qx + qy * qy + qz * qz, f32(1e-24)))
    qw, qx, qy, qz = qw / length, qx / length, qy / length, qz / length
    own = matrix(qw, qx, qy, qz)
    s0, s1, s2 = load_threes(log_scale, 3 * i)
    s0, s1 = exponential(s0 + larger, factors), exponential(s1 + larger, factors)
    s2 = exponential(s2 + larger, factors)
    p, o = through(a, own), through(b, own)
    p, o = (p[0] * s0, p[1] * s1, p[2] * s2), (o[0] * s0, o[1] * s1, o[2] * s2)
    # and back
    total, sx, sy, xx, xy, yy, red, green = load_eights(sums, _ROW * q, _ROW)
    blue = strided(sums, _ROW * q + LANES, _ROW)
    ka, kb, kc, e, h = _of_ellipse(p, o, xx, xy, yy)
    dx, dy = ka * sx + kb * sy, kb * sx + kc * sy
    grown = (e[0] * p[0] + h[0] * o[0], e[1] * p[1] + h[1] * o[1], e[2] * p[2] + h[2] * o[2])
    store_threes(d_log_scale, 3 * to, sound(grown[0]), sound(grown[1]), sound(grown[2]))
    e, h = (e[0] * s0, e[1] * s1, e[2] * s2), (h[0] * s0, h[1] * s1, h[2] * s2)
    d_w, d_x, d_y, d_z = _of_turn(qw, qx, qy, qz, length, a, b, e, h)
    store_fours(d_rotation, 4 * to, sound(d_w), sound(d_x), sound(d_y), sound(d_z))
    e = _back_through(_back_through(_back_through(e, own), frame), turn)
    h = _back_through(_back_through(_back_through(h, own), frame), turn)
    d = _of_place(seen, dx, dy, e, h, c)
    d = (sound(d[0]), sound(d[1]), sound(d[2]))
    store(d_follow, to, (d[0] * hx + d[1] * hy + d[2] * hz) * share * (f32(1) - share))
    of_head = (d[0] * share, d[1] * share, d[2] * share)
    of_torso = (d[0] - of_head[0], d[1] - of_head[1], d[2] - of_head[2])
    _add_motion(totals, 0, of_head, x, y, z)
    _add_motion(totals, TORSO, of_torso, x, y, z)
    one, other = _back_in(c, 0, of_head), _back_in(c, TORSO, of_torso)
    d = (one[0] + other[0], one[1] + other[1], one[2] + other[2])
    store_threes(
        d_offset, 3 * to, fx * d[0] + fy * d[1] + fz * d[2], gx * d[0] + gy * d[1] + gz * d[2],
        nx * d[0] + ny * d[1] + nz * d[2],
    )  # fmt: skip
    solid = sigmoid(load(opacity, i) + clearer, factors)
    d_solid = sound(total * (f32(1) - solid))
    store(d_opacity, to, d_solid)
    store_threes(d_colour, 3 * to, red, green, blue)
    store_eights(
        added_by, LANES * to, LANES, d[0], d[1], d[2], red, green, blue,
        sound(grown[0] + grown[1] + grown[2]), d_solid,
    )  # fmt: skip
    store(pulled, to, sound(root(dx * dx + dy * dy)))
    if d_harmonics.shape[0]:
        shine = shine_of(leaning, seen_from(px, py, pz, c), c)
        _shone(d_harmonics, 9 * to, shine[0], red, green, blue)
        _shone(d_harmonics, 9 * to + 3, shine[1], red, green, blue)
        _shone(d_harmonics, 9 * to + 6, shine[2], red, green, blue)


@njit(error_model="numpy", fastmath=_FAST)
def _shone(d_harmonics, at, shine, red, green, blue):
    store_strided(d_harmonics, at, 9, shine * red)
    store_strided(d_harmonics, at + 1, 9, shine * green)
    store_strided(d_harmonics, at + 2, 9, shine * blue)


@njit(error_model="numpy")
def _settle(rows, size, number, i, skip):
    """The last lanes of eight rows that were written beyond all, to where they belong."""
    for lane in range(skip, LANES):
        for k in range(size):
            rows[size * (i + lane) + k] = rows[size * (number + lane) + k]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def splats_back(
    corners, vertices, cells, cell_weights, motion, shade, weights, offset, rotation, log_scale,
    opacity, follow, c, factors, kept, origin, slot, spots, part, d_offset, d_rotation,
    d_log_scale, d_opacity, d_colour, d_follow, d_harmonics, pulled, added_by, motions, workers,
):  # fmt: skip
    """Gradients of all splats, with room for eight more; `pulled` is how hard each is pulled at on
    screen. `motions` gets a row for each block, `added_by` eight numbers for each splat."""
    number = corners.shape[0]
    for worker in nb.prange(workers):
        s, totals = np.empty(ROOM, np.float32), np.empty(MOTIONS * LANES, np.float32)
        sums = np.empty(_ROW * BLOCK, np.float32)
        for block in range(worker, kept.shape[0], workers):
            begin, last = block * BLOCK, min((block + 1) * BLOCK, number)
            first, eights = eights_of(begin, last)
            totals[:] = f32(0)
            sums[:] = f32(0)
            for i in range(first, last):
                fetch(corners, vertices, cells, cell_weights, motion, shade, i, s, i - first)
            for j in range(begin, begin + kept[block]):
                _ask(part, spots, slot, min(j + _AHEAD, begin + kept[block] - 1))
                _add_up(part, spots, slot[j], slot[j + 1], sums, _ROW * (origin[j] - first))
            for n in range(eights):
                i, skip = eight_at(n, first, begin, last)
                to, q = number if skip else i, i - first
                sums[_ROW * q : _ROW * (q + skip)] = f32(0)  # of those that are done
                _eight_back(
                    i, q, s, sums, weights, offset, rotation, log_scale, opacity, follow,
                    c, factors, totals, added_by, to, d_offset, d_rotation, d_log_scale,
                    d_opacity, d_colour, d_follow, d_harmonics, pulled,
                )  # fmt: skip
                if skip:
                    _settle(d_offset, 3, number, i, skip)
                    _settle(d_rotation, 4, number, i, skip)
                    _settle(d_log_scale, 3, number, i, skip)
                    _settle(d_opacity, 1, number, i, skip)
                    _settle(d_colour, 3, number, i, skip)
                    _settle(d_follow, 1, number, i, skip)
                    _settle(d_harmonics, 9 if d_harmonics.shape[0] else 0, number, i, skip)
                    _settle(pulled, 1, number, i, skip)
                    _settle(added_by, LANES, number, i, skip)
            for k in range(MOTIONS):
                motions[block, k] = added(load(totals, k * LANES))


@njit(error_model="numpy")
def _ask(part, spots, slot, j):
    """Sums that will be read soon."""
    for n in range(slot[j], slot[j + 1]):
        prefetch(part, SUMS * np.int64(spots[n]))
        prefetch(part, SUMS * np.int64(spots[n]) + LANES)


@njit(error_model="numpy", fastmath=_FAST)
def _add_up(part, spots, first, end, sums, to):
    """Sums of a splat's tiles, which are at its `spots`."""
    total, last = steps(f32(0)) * f32(0), f32(0)
    for n in range(first, end):
        at = SUMS * np.int64(spots[n])
        total = total + load(part, at)
        last += part[at + LANES]
    store(sums, to, total)
    sums[to + LANES] = last


@njit(error_model="numpy", fastmath=_FAST)
def _give(kept, origin, added_by, rows, count, weights, out):
    """Rows of drawn splats, weighed, to `count` rows of `out` each, in the order of splats."""
    for block in range(kept.shape[0]):
        for j in range(block * BLOCK, block * BLOCK + kept[block]):
            i = np.int64(origin[j])
            row = load(added_by, LANES * i)
            for k in range(i * count, (i + 1) * count):
                to = LANES * np.int64(rows[k])
                store(out, to, load(out, to) + row * weights[k])


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def give_on(
    kept, origin, added_by, corners, weights, cells, cell_weights, of_vertices, d_vertices, d_cells
):
    """What the atlas learns to its cells, and what splats' places pull at to vertices (rows of
    eight, of which three count): two sums for two workers."""
    for one in nb.prange(2):
        if one == 0:
            _give(kept, origin, added_by, cells, 4, cell_weights, d_cells)
        elif of_vertices:
            _give(kept, origin, added_by, corners, 3, weights, d_vertices)


@njit(cache=True, error_model="numpy")
def parts_of(d_cells, first, channels, parts):
    """What cells learn, of `channels` from the `first` on: the second half of them, then the first
    half (see `Changes`), with zeros for the other."""
    count = parts.shape[1] // channels
    for m in range(count):
        row = 1 if m < count // 2 else 0
        for n in range(channels):
            parts[row, channels * m + n] = d_cells[LANES * m + first + n]
            parts[1 - row, channels * m + n] = f32(0)
