"""GPU twin of `ride`, in Triton: one pass over the splats to place them, one to dress those that
are drawn, one back. The sums are those of `ride_cpu`.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from likeness.core.geometry import matrix_to_quaternion
from likeness.ops.atlas_gpu import scattered
from likeness.ops.gpu_jit import jit
from likeness.ops.ride import AWAY, Posed, Riders

_BLOCK = 128
_LOW = tl.constexpr(AWAY[0])
_SPAN = tl.constexpr(AWAY[1] - AWAY[0])


@jit
def _three(table, i, mask, width: tl.constexpr):
    return (
        tl.load(table + i * width, mask=mask, other=0.0),
        tl.load(table + i * width + 1, mask=mask, other=0.0),
        tl.load(table + i * width + 2, mask=mask, other=0.0),
    )


@jit
def _moved(m, x, y, z, row: tl.constexpr):
    """A row of a motion (4x4) of points."""
    k = m + 4 * row
    return tl.load(k) * x + tl.load(k + 1) * y + tl.load(k + 2) * z + tl.load(k + 3)


@jit
def _place(
    corners, weights, closed, offset, follow, vertices, motion, head, torso, eye, frame, local,
    world, share, count, look: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Axes of triangles, places in the frame of the head and in the world, and how much of each
    splat is drawn."""
    i = tl.program_id(0) * block + tl.arange(0, block)
    here = i < count
    u = tl.load(corners + 3 * i, mask=here, other=0)
    v = tl.load(corners + 3 * i + 1, mask=here, other=0)
    w = tl.load(corners + 3 * i + 2, mask=here, other=0)
    ax, ay, az = _three(vertices, u, here, 3)
    bx, by, bz = _three(vertices, v, here, 3)
    cx, cy, cz = _three(vertices, w, here, 3)
    ex, ey, ez, sx, sy, sz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    nx, ny, nz = ey * sz - ez * sy, ez * sx - ex * sz, ex * sy - ey * sx
    square, edges = nx * nx + ny * ny + nz * nz, ex * ex + ey * ey + ez * ez
    flat = square <= 1e-10 * edges * (sx * sx + sy * sy + sz * sz) + 1e-30
    k = 1 / tl.sqrt(tl.where(flat, 1.0, square))
    nx, ny = tl.where(flat, 0.0, nx * k), tl.where(flat, 0.0, ny * k)
    nz = tl.where(flat, 1.0, nz * k)
    k = 1 / tl.sqrt(tl.where(flat, 1.0, edges))
    fx, fy, fz = tl.where(flat, 1.0, ex * k), tl.where(flat, 0.0, ey * k), ez * k
    fz = tl.where(flat, 0.0, fz)
    mx, my, mz = ny * fz - nz * fy, nz * fx - nx * fz, nx * fy - ny * fx
    at = frame + 9 * i
    tl.store(at, fx, mask=here)
    tl.store(at + 1, mx, mask=here)
    tl.store(at + 2, nx, mask=here)
    tl.store(at + 3, fy, mask=here)
    tl.store(at + 4, my, mask=here)
    tl.store(at + 5, ny, mask=here)
    tl.store(at + 6, fz, mask=here)
    tl.store(at + 7, mz, mask=here)
    tl.store(at + 8, nz, mask=here)
    ox, oy, oz = _three(offset, i, here, 3)
    wa, wb, wc = _three(weights, i, here, 3)
    gx, gy, gz = _three(motion, i, here, 3)
    x = fx * ox + mx * oy + nx * oz + wa * ax + wb * bx + wc * cx + gx
    y = fy * ox + my * oy + ny * oz + wa * ay + wb * by + wc * cy + gy
    z = fz * ox + mz * oy + nz * oz + wa * az + wb * bz + wc * cz + gz
    tl.store(local + 3 * i, x, mask=here)
    tl.store(local + 3 * i + 1, y, mask=here)
    tl.store(local + 3 * i + 2, z, mask=here)
    s = tl.sigmoid(tl.load(follow + i, mask=here, other=0.0))
    facing, far = tl.zeros_like(x), tl.zeros_like(x)
    for j in tl.static_range(3):
        to = _moved(torso, x, y, z, j)
        to += s * (_moved(head, x, y, z, j) - to)
        tl.store(world + 3 * i + j, to, mask=here)
        if look:
            h = head + 4 * j
            out = tl.load(h) * nx + tl.load(h + 1) * ny + tl.load(h + 2) * nz
            away = tl.load(eye + j) - to
            facing += out * away
            far += away * away
    drawn = tl.zeros_like(x) + 1
    if look:
        t = (facing / tl.sqrt(tl.maximum(far, 1e-24)) - _LOW) / _SPAN
        t = tl.minimum(tl.maximum(t, 0.0), 1.0)
        skin = (tl.load(closed + i, mask=here, other=0) != 0) & (flat == 0)
        drawn = tl.where(skin, t * t * (3 - 2 * t), 1.0)
    tl.store(share + i, drawn, mask=here)


@jit
def _product(aw, ax, ay, az, bw, bx, by, bz):
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


@jit
def _quaternion(m0, m1, m2, m3, m4, m5, m6, m7, m8):
    """Of a rotation, by the best of four formulas; unit length, w at least 0."""
    w2, x2, y2, z2 = 1 + m0 + m4 + m8, 1 + m0 - m4 - m8, 1 - m0 + m4 - m8, 1 - m0 - m4 + m8
    best = tl.maximum(tl.maximum(w2, x2), tl.maximum(y2, z2))
    by_w, by_x, by_y = best == w2, best == x2, best == y2
    w = tl.where(by_w, w2, tl.where(by_x, m7 - m5, tl.where(by_y, m2 - m6, m3 - m1)))
    x = tl.where(by_w, m7 - m5, tl.where(by_x, x2, tl.where(by_y, m1 + m3, m2 + m6)))
    y = tl.where(by_w, m2 - m6, tl.where(by_x, m1 + m3, tl.where(by_y, y2, m5 + m7)))
    z = tl.where(by_w, m3 - m1, tl.where(by_x, m2 + m6, tl.where(by_y, m5 + m7, z2)))
    n = tl.where(w < 0, -1.0, 1.0) / tl.sqrt(tl.maximum(w * w + x * x + y * y + z * z, 1e-24))
    return w * n, x * n, y * n, z * n


@jit
def _own(rotation, i, here):
    """A splat's own turn made unit, and what made it so."""
    w, x, y = _three(rotation, i, here, 4)
    z = tl.load(rotation + 4 * i + 3, mask=here, other=0.0)
    n = 1 / tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), 1e-12)
    return w * n, x * n, y * n, z * n, n


@jit
def _dress(
    shown, frame, world, share, follow, rotation, log_scale, opacity, colour, shade, turns, means,
    turned, scale, solid, seen, front, count, block: tl.constexpr,
):  # fmt: skip
    """All else of the splats that are drawn. `front` keeps what is left of their own turn."""
    j = tl.program_id(0) * block + tl.arange(0, block)
    here = j < count
    i = tl.load(shown + j, mask=here, other=0)
    grown = tl.load(shade + 5 * i + 3, mask=here, other=0.0)
    for k in tl.static_range(3):
        tl.store(means + 3 * j + k, tl.load(world + 3 * i + k, mask=here, other=0.0), mask=here)
        size = tl.load(log_scale + 3 * i + k, mask=here, other=0.0) + grown
        tl.store(scale + 3 * j + k, tl.exp(size), mask=here)
        tint = tl.load(colour + 3 * i + k, mask=here, other=0.0)
        tint += tl.load(shade + 5 * i + k, mask=here, other=0.0)
        tl.store(seen + 3 * j + k, tint, mask=here)
    o = tl.load(opacity + i, mask=here, other=0.0) + tl.load(
        shade + 5 * i + 4, mask=here, other=0.0
    )
    tl.store(solid + j, tl.load(share + i, mask=here, other=0.0) * tl.sigmoid(o), mask=here)
    s = tl.sigmoid(tl.load(follow + i, mask=here, other=0.0))
    tw = tl.load(turns + 4) + s * (tl.load(turns) - tl.load(turns + 4))
    tx = tl.load(turns + 5) + s * (tl.load(turns + 1) - tl.load(turns + 5))
    ty = tl.load(turns + 6) + s * (tl.load(turns + 2) - tl.load(turns + 6))
    tz = tl.load(turns + 7) + s * (tl.load(turns + 3) - tl.load(turns + 7))
    m0, m1, m2 = _three(frame, i, here, 9)
    m3, m4, m5 = _three(frame + 3, i, here, 9)
    m6, m7, m8 = _three(frame + 6, i, here, 9)
    qw, qx, qy, qz = _quaternion(m0, m1, m2, m3, m4, m5, m6, m7, m8)
    lw, lx, ly, lz = _product(tw, tx, ty, tz, qw, qx, qy, qz)
    tl.store(front + 4 * j, lw, mask=here)
    tl.store(front + 4 * j + 1, lx, mask=here)
    tl.store(front + 4 * j + 2, ly, mask=here)
    tl.store(front + 4 * j + 3, lz, mask=here)
    rw, rx, ry, rz, _n = _own(rotation, i, here)
    w, x, y, z = _product(lw, lx, ly, lz, rw, rx, ry, rz)
    tl.store(turned + 4 * j, w, mask=here)
    tl.store(turned + 4 * j + 1, x, mask=here)
    tl.store(turned + 4 * j + 2, y, mask=here)
    tl.store(turned + 4 * j + 3, z, mask=here)


@jit
def _backward(
    shown, frame, local, share, follow, rotation, scale, solid, front, head, torso, d_means,
    d_turned, d_scale, d_solid, d_seen, d_offset, d_rotation, d_log_scale, d_opacity, d_colour,
    d_follow, d_shade, d_local, sums, count, block: tl.constexpr,
):  # fmt: skip
    """Gradients of what each splat has, of its place in the head's frame, and per block those of
    head and torso (12 numbers each)."""
    j = tl.program_id(0) * block + tl.arange(0, block)
    here = j < count
    i = tl.load(shown + j, mask=here, other=0)
    s = tl.sigmoid(tl.load(follow + i, mask=here, other=0.0))
    x, y, z = _three(local, i, here, 3)
    leaning, grown = tl.zeros_like(x), tl.zeros_like(x)
    lx, ly, lz = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    to = sums + 24 * tl.program_id(0)
    for k in tl.static_range(3):
        d = tl.load(d_means + 3 * j + k, mask=here, other=0.0)
        leaning += d * (_moved(head, x, y, z, k) - _moved(torso, x, y, z, k))
        ds, dt = s * d, (1 - s) * d
        tl.store(to + 4 * k, tl.sum(ds * x, 0))
        tl.store(to + 4 * k + 1, tl.sum(ds * y, 0))
        tl.store(to + 4 * k + 2, tl.sum(ds * z, 0))
        tl.store(to + 4 * k + 3, tl.sum(ds, 0))
        tl.store(to + 12 + 4 * k, tl.sum(dt * x, 0))
        tl.store(to + 13 + 4 * k, tl.sum(dt * y, 0))
        tl.store(to + 14 + 4 * k, tl.sum(dt * z, 0))
        tl.store(to + 15 + 4 * k, tl.sum(dt, 0))
        h, t = head + 4 * k, torso + 4 * k
        lx += ds * tl.load(h) + dt * tl.load(t)
        ly += ds * tl.load(h + 1) + dt * tl.load(t + 1)
        lz += ds * tl.load(h + 2) + dt * tl.load(t + 2)
        tint = tl.load(d_seen + 3 * j + k, mask=here, other=0.0)
        tl.store(d_colour + 3 * i + k, tint, mask=here)
        tl.store(d_shade + 5 * i + k, tint, mask=here)
        size = tl.load(d_scale + 3 * j + k, mask=here, other=0.0)
        size *= tl.load(scale + 3 * j + k, mask=here, other=0.0)
        tl.store(d_log_scale + 3 * i + k, size, mask=here)
        grown += size
    tl.store(d_shade + 5 * i + 3, grown, mask=here)
    tl.store(d_local + 3 * i, lx, mask=here)
    tl.store(d_local + 3 * i + 1, ly, mask=here)
    tl.store(d_local + 3 * i + 2, lz, mask=here)
    tl.store(d_follow + i, leaning * s * (1 - s), mask=here)
    drawn = tl.load(share + i, mask=here, other=1.0)
    o = tl.load(solid + j, mask=here, other=0.0) / drawn
    d = tl.load(d_solid + j, mask=here, other=0.0) * drawn * o * (1 - o)
    tl.store(d_opacity + i, d, mask=here)
    tl.store(d_shade + 5 * i + 4, d, mask=here)
    for m in tl.static_range(3):
        a = tl.load(frame + 9 * i + m, mask=here, other=0.0)
        b = tl.load(frame + 9 * i + 3 + m, mask=here, other=0.0)
        c = tl.load(frame + 9 * i + 6 + m, mask=here, other=0.0)
        tl.store(d_offset + 3 * i + m, a * lx + b * ly + c * lz, mask=here)
    fw, fx, fy = _three(front, j, here, 4)
    fz = tl.load(front + 4 * j + 3, mask=here, other=0.0)
    gw, gx, gy = _three(d_turned, j, here, 4)
    gz = tl.load(d_turned + 4 * j + 3, mask=here, other=0.0)
    w, p, q, r = _product(fw, -fx, -fy, -fz, gw, gx, gy, gz)
    rw, rx, ry, rz, n = _own(rotation, i, here)
    along = w * rw + p * rx + q * ry + r * rz
    tl.store(d_rotation + 4 * i, (w - rw * along) * n, mask=here)
    tl.store(d_rotation + 4 * i + 1, (p - rx * along) * n, mask=here)
    tl.store(d_rotation + 4 * i + 2, (q - ry * along) * n, mask=here)
    tl.store(d_rotation + 4 * i + 3, (r - rz * along) * n, mask=here)


def _turns(head: Tensor, torso: Tensor) -> Tensor:
    """Those of head and torso, the head's on the torso's side of the sphere."""
    turns = matrix_to_quaternion(torch.stack([head, torso])[:, :3, :3])
    flip = torch.where((turns[0] * turns[1]).sum() < 0, -1.0, 1.0)
    return torch.stack([turns[0] * flip, turns[1]])


class _Riding(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, corners, weights, closed, offset, rotation, log_scale, opacity, colour, follow,
        vertices, motion, shade, head, torso, eye,
    ):  # fmt: skip
        count, new = corners.shape[0], vertices.new_empty
        grid = (triton.cdiv(max(count, 1), _BLOCK),)
        given = [x.detach().contiguous() for x in (
            corners, weights, closed, offset, follow, vertices, motion, head, torso,
        )]  # fmt: skip
        frame, local, world, share = new(count, 9), new(count, 3), new(count, 3), new(count)
        place = vertices.new_zeros(3) if eye is None else eye.detach().contiguous()
        if count:
            _place[grid](
                *given, place, frame, local, world, share, count, look=eye is not None,
                block=_BLOCK,
            )  # fmt: skip
        shown = torch.nonzero(share > 0)[:, 0]
        number = len(shown)
        learned = [
            x.detach().contiguous() for x in (follow, rotation, log_scale, opacity, colour, shade)
        ]
        out = new(number, 3), new(number, 4), new(number, 3), new(number), new(number, 3)
        front = new(number, 4)
        if number:
            _dress[(triton.cdiv(number, _BLOCK),)](
                shown, frame, world, share, *learned, _turns(given[7], given[8]), *out, front,
                number, block=_BLOCK,
            )  # fmt: skip
        ctx.save_for_backward(
            shown, frame, local, share, given[4], learned[1], out[2], out[3], front, given[7],
            given[8], given[0], given[1],
        )  # fmt: skip
        ctx.vertices = vertices.shape[0]
        ctx.mark_non_differentiable(shown)
        return *out, shown

    @staticmethod
    def backward(ctx: Any, d_means, d_turned, d_scale, d_solid, d_seen, _):  # type: ignore[override]
        saved = ctx.saved_tensors
        shown, corners, weights = saved[0], saved[11], saved[12]
        count, number, new = corners.shape[0], len(shown), d_means.new_zeros
        widths = (3, 4, 3, 1, 3, 1, 5, 3)
        every = new(count * sum(widths)).split([count * w for w in widths])  # emptied at once
        parts = [x.view(count, w) for x, w in zip(every, widths)]
        blocks = triton.cdiv(number, _BLOCK)
        sums = new(blocks, 24)
        if number:
            upstream = [x.contiguous() for x in (d_means, d_turned, d_scale, d_solid, d_seen)]
            _backward[(blocks,)](*saved[:11], *upstream, *parts, sums, number, block=_BLOCK)
        offset, rotation, log_scale, opacity, colour, follow, shade, local = parts
        d_vertices = None
        if ctx.needs_input_grad[9]:
            d_vertices = scattered(local, corners, weights, ctx.vertices)
        d_both = F.pad(sums.double().sum(0).float().view(2, 3, 4), (0, 0, 0, 1))
        return (
            None, None, None, offset, rotation, log_scale, opacity[:, 0], colour, follow[:, 0],
            d_vertices, local, shade, d_both[0], d_both[1], None,
        )  # fmt: skip


def ride(
    riders: Riders,
    vertices: Tensor,
    motion: Tensor,
    shade: Tensor,
    head: Tensor,
    torso: Tensor,
    eye: Tensor | None,
) -> Posed:
    """The twin of `ops.ride`; float32 inside, whatever comes in."""
    r, dtype = riders, vertices.dtype
    out = _Riding.apply(
        r.corners, r.weights.float(), r.closed, r.offset.float(), r.rotation.float(),
        r.log_scale.float(), r.opacity.float(), r.colour.float(), r.follow.float(),
        vertices.float(), motion.float(), shade.float(), head.float(), torso.float(),
        None if eye is None else eye.float(),
    )  # fmt: skip
    assert out is not None
    *values, shown = out
    return Posed(*(x.to(dtype) for x in values), shown=shown)
