"""CPU twin of `ride`: one pass over the splats forth, one back, on all threads.

What faces away is found first and costs nothing after that. Sums over splats (gradients of head,
torso and vertices) are taken in an order that does not depend on the number of threads.
"""

import numba as nb
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.ops.carry_cpu import _quaternion, _scatter
from likeness.ops.jit import njit
from likeness.ops.ride import AWAY, Posed, Riders, between
from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp"}
_BLOCK = 1024  # splats whose sums are taken together
f32 = np.float32
_LOW, _SPAN = f32(AWAY[0]), f32(AWAY[1] - AWAY[0])


@njit(error_model="numpy", fastmath=_FAST)
def _axes(vertices, corners, i, frame):
    """Axes of a triangle, row by row as a matrix whose columns they are; False where it is flat."""
    a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
    ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
    ex, ey, ez = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
    sx, sy, sz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
    nx, ny, nz = ey * sz - ez * sy, ez * sx - ex * sz, ex * sy - ey * sx
    square = nx * nx + ny * ny + nz * nz
    edges = ex * ex + ey * ey + ez * ez
    lengths = edges * (sx * sx + sy * sy + sz * sz)
    flat = square <= f32(1e-10) * lengths + f32(1e-30)
    if flat:
        fx, fy, fz = f32(1), f32(0), f32(0)
        nx, ny, nz = f32(0), f32(0), f32(1)
    else:
        k = f32(1) / np.sqrt(square)
        nx, ny, nz = nx * k, ny * k, nz * k
        k = f32(1) / np.sqrt(edges)
        fx, fy, fz = ex * k, ey * k, ez * k
    frame[i, 0], frame[i, 3], frame[i, 6] = fx, fy, fz
    frame[i, 2], frame[i, 5], frame[i, 8] = nx, ny, nz
    frame[i, 1] = ny * fz - nz * fy
    frame[i, 4] = nz * fx - nx * fz
    frame[i, 7] = nx * fy - ny * fx
    return flat


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _place(
    corners, weights, closed, offset, follow, vertices, motion, head, torso, eye, look, frame,
    local, world, share,
):  # fmt: skip
    """Places in the frame of the head and in the world, and how much of each splat is drawn."""
    for i in nb.prange(corners.shape[0]):
        flat = _axes(vertices, corners, i, frame)
        ox, oy, oz = offset[i, 0], offset[i, 1], offset[i, 2]
        s = f32(1) / (f32(1) + np.exp(-follow[i]))
        for j in range(3):
            at = frame[i, 3 * j] * ox + frame[i, 3 * j + 1] * oy + frame[i, 3 * j + 2] * oz
            for k in range(3):
                at += weights[i, k] * vertices[corners[i, k], j]
            local[i, j] = at + motion[i, j]
        x, y, z = local[i, 0], local[i, 1], local[i, 2]
        for j in range(3):
            h = head[j, 0] * x + head[j, 1] * y + head[j, 2] * z + head[j, 3]
            t = torso[j, 0] * x + torso[j, 1] * y + torso[j, 2] * z + torso[j, 3]
            world[i, j] = t + s * (h - t)
        share[i] = f32(1)
        if look and closed[i] and not flat:
            dot, length = f32(0), f32(0)
            for j in range(3):
                out = head[j, 0] * frame[i, 2] + head[j, 1] * frame[i, 5] + head[j, 2] * frame[i, 8]
                away = eye[j] - world[i, j]
                dot += out * away
                length += away * away
            u = (dot / np.sqrt(max(length, f32(1e-24))) - _LOW) / _SPAN
            u = min(max(u, f32(0)), f32(1))
            share[i] = u * u * (f32(3) - f32(2) * u)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _dress(
    shown, frame, world, share, follow, rotation, log_scale, opacity, colour, shade, turns, means,
    turned, scale, solid, seen, front,
):  # fmt: skip
    """All else of the splats that are drawn. `front` keeps what is left of their own turn."""
    for j in nb.prange(shown.shape[0]):
        i = shown[j]
        for k in range(3):
            means[j, k] = world[i, k]
            scale[j, k] = np.exp(log_scale[i, k] + shade[i, 3])
            seen[j, k] = colour[i, k] + shade[i, k]
        solid[j] = share[i] / (f32(1) + np.exp(-(opacity[i] + shade[i, 4])))
        s = f32(1) / (f32(1) + np.exp(-follow[i]))
        tw = turns[1, 0] + s * (turns[0, 0] - turns[1, 0])
        tx = turns[1, 1] + s * (turns[0, 1] - turns[1, 1])
        ty = turns[1, 2] + s * (turns[0, 2] - turns[1, 2])
        tz = turns[1, 3] + s * (turns[0, 3] - turns[1, 3])
        qw, qx, qy, qz = _quaternion(
            frame[i, 0], frame[i, 1], frame[i, 2], frame[i, 3], frame[i, 4],
            frame[i, 5], frame[i, 6], frame[i, 7], frame[i, 8],
        )  # fmt: skip
        lw, lx, ly, lz = _product(tw, tx, ty, tz, qw, qx, qy, qz)
        front[j, 0], front[j, 1], front[j, 2], front[j, 3] = lw, lx, ly, lz
        rw, rx, ry, rz = rotation[i, 0], rotation[i, 1], rotation[i, 2], rotation[i, 3]
        n = f32(1) / max(np.sqrt(rw * rw + rx * rx + ry * ry + rz * rz), f32(1e-12))
        w, x, y, z = _product(lw, lx, ly, lz, rw * n, rx * n, ry * n, rz * n)
        turned[j, 0], turned[j, 1], turned[j, 2], turned[j, 3] = w, x, y, z


@njit(error_model="numpy", fastmath=_FAST)
def _product(aw, ax, ay, az, bw, bx, by, bz):
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _backward(
    shown, frame, local, share, follow, rotation, scale, solid, front, head, torso, d_means,
    d_turned, d_scale, d_solid, d_seen, d_offset, d_rotation, d_log_scale, d_opacity, d_colour,
    d_follow, d_shade, d_local, sums,
):  # fmt: skip
    """Gradients of what each splat has, of its place in the head's frame, and per block of those
    of head and torso (12 numbers each)."""
    blocks = sums.shape[0]
    for block in nb.prange(blocks):
        for j in range(block * _BLOCK, min((block + 1) * _BLOCK, shown.shape[0])):
            i = shown[j]
            s = f32(1) / (f32(1) + np.exp(-follow[i]))
            x, y, z = local[i, 0], local[i, 1], local[i, 2]
            leaning = f32(0)
            for k in range(3):
                d = d_means[j, k]
                h = head[k, 0] * x + head[k, 1] * y + head[k, 2] * z + head[k, 3]
                t = torso[k, 0] * x + torso[k, 1] * y + torso[k, 2] * z + torso[k, 3]
                leaning += d * (h - t)
                ds, dt = s * d, (f32(1) - s) * d
                sums[block, 4 * k] += ds * x
                sums[block, 4 * k + 1] += ds * y
                sums[block, 4 * k + 2] += ds * z
                sums[block, 4 * k + 3] += ds
                sums[block, 12 + 4 * k] += dt * x
                sums[block, 12 + 4 * k + 1] += dt * y
                sums[block, 12 + 4 * k + 2] += dt * z
                sums[block, 12 + 4 * k + 3] += dt
                for m in range(3):
                    d_local[i, m] += ds * head[k, m] + dt * torso[k, m]
                d_colour[i, k] = d_seen[j, k]
                d_shade[i, k] = d_seen[j, k]
                grown = d_scale[j, k] * scale[j, k]
                d_log_scale[i, k] = grown
                d_shade[i, 3] += grown
            d_follow[i] = leaning * s * (f32(1) - s)
            o = solid[j] / share[i]
            d_opacity[i] = d_solid[j] * share[i] * o * (f32(1) - o)
            d_shade[i, 4] = d_opacity[i]
            for m in range(3):
                d_offset[i, m] = (
                    frame[i, m] * d_local[i, 0]
                    + frame[i, 3 + m] * d_local[i, 1]
                    + frame[i, 6 + m] * d_local[i, 2]
                )
            w, x, y, z = _product(
                front[j, 0], -front[j, 1], -front[j, 2], -front[j, 3],
                d_turned[j, 0], d_turned[j, 1], d_turned[j, 2], d_turned[j, 3],
            )  # fmt: skip
            rw, rx, ry, rz = rotation[i, 0], rotation[i, 1], rotation[i, 2], rotation[i, 3]
            n = f32(1) / max(np.sqrt(rw * rw + rx * rx + ry * ry + rz * rz), f32(1e-12))
            rw, rx, ry, rz = rw * n, rx * n, ry * n, rz * n
            along = w * rw + x * rx + y * ry + z * rz
            d_rotation[i, 0] = (w - rw * along) * n
            d_rotation[i, 1] = (x - rx * along) * n
            d_rotation[i, 2] = (y - ry * along) * n
            d_rotation[i, 3] = (z - rz * along) * n


class _Riding(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, corners, weights, closed, offset, rotation, log_scale, opacity, colour, follow,
        vertices, motion, shade, head, torso, eye,
    ):  # fmt: skip
        count = corners.shape[0]
        new = vertices.new_empty
        given = [x.detach().contiguous() for x in (
            corners, weights, closed, offset, follow, vertices, motion, head, torso,
        )]  # fmt: skip
        frame, local, world, share = new(count, 9), new(count, 3), new(count, 3), new(count)
        place = vertices.new_zeros(3) if eye is None else eye.detach().contiguous()
        kept = [frame, local, world, share]
        _place(
            *(x.numpy() for x in given), place.numpy(), eye is not None, *(x.numpy() for x in kept)
        )
        shown = torch.nonzero(share > 0)[:, 0]
        number = len(shown)
        turns = between(head, torso, torch.tensor([[1.0], [0.0]])).contiguous()
        learned = [
            x.detach().contiguous() for x in (follow, rotation, log_scale, opacity, colour, shade)
        ]
        means, turned, scale = new(number, 3), new(number, 4), new(number, 3)
        solid, seen, front = new(number), new(number, 3), new(number, 4)
        _dress(
            shown.numpy(), frame.numpy(), world.numpy(), share.numpy(),
            *(x.numpy() for x in learned), turns.numpy(),
            *(x.numpy() for x in (means, turned, scale, solid, seen, front)),
        )  # fmt: skip
        ctx.save_for_backward(
            shown, frame, local, share, given[4], learned[1], scale, solid, front, given[7],
            given[8], given[0], given[1],
        )  # fmt: skip
        ctx.vertices = vertices.shape[0]
        ctx.mark_non_differentiable(shown)
        return means, turned, scale, solid, seen, shown

    @staticmethod
    def backward(ctx, d_means, d_turned, d_scale, d_solid, d_seen, _):  # type: ignore[override]
        saved = ctx.saved_tensors
        shown, corners, weights = saved[0], saved[11], saved[12]
        count, new = corners.shape[0], d_means.new_zeros
        d_offset, d_rotation, d_log_scale = new(count, 3), new(count, 4), new(count, 3)
        d_opacity, d_colour, d_follow = new(count), new(count, 3), new(count)
        d_shade, d_local = new(count, 5), new(count, 3)
        sums = new(-(-len(shown) // _BLOCK), 24)
        match_threads()
        _backward(
            *(x.numpy() for x in saved[:11]),
            *(x.contiguous().numpy() for x in (d_means, d_turned, d_scale, d_solid, d_seen)),
            *(x.numpy() for x in (
                d_offset, d_rotation, d_log_scale, d_opacity, d_colour, d_follow, d_shade, d_local,
                sums,
            )),
        )  # fmt: skip
        d_vertices = None
        if ctx.needs_input_grad[9]:
            d_vertices = new(ctx.vertices, 3)
            _scatter(corners.numpy(), weights.numpy(), d_local.numpy(), d_vertices.numpy())
        d_both = F.pad(sums.double().sum(0).float().view(2, 3, 4), (0, 0, 0, 1))
        return (
            None, None, None, d_offset, d_rotation, d_log_scale, d_opacity, d_colour, d_follow,
            d_vertices, d_local, d_shade, d_both[0], d_both[1], None,
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
    match_threads()
    r, dtype = riders, vertices.dtype
    out = _Riding.apply(
        r.corners, r.weights.float(), r.closed, r.offset.float(), r.rotation.float(),
        r.log_scale.float(), r.opacity.float(), r.colour.float(), r.follow.float(),
        vertices.float(), motion.float(), shade.float(), head.float(), torso.float(),
        None if eye is None else eye.float(),
    )  # fmt: skip
    assert out is not None
    means, rotation, scale, opacity, features, shown = out
    values = (x.to(dtype) for x in (means, rotation, scale, opacity, features))
    return Posed(*values, shown=shown)
