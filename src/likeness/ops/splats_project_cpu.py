"""CPU twin of the projection: one fused pass forward, one back."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.jit import njit
from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp"}
f32 = np.float32


@njit(error_model="numpy", fastmath=_FAST)
def _turn(w, x, y, z):
    """The nine entries of a rotation, row by row, of a unit quaternion."""
    two = f32(2)
    return (
        f32(1) - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y),
        two * (x * y + w * z), f32(1) - two * (x * x + z * z), two * (y * z - w * x),
        two * (x * z - w * y), two * (y * z + w * x), f32(1) - two * (x * x + y * y),
    )  # fmt: skip


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _forward(means, rotation, scale, k, pose, wide, high, near, dilation, xy, depth, conic, comp):
    fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    for i in nb.prange(means.shape[0]):
        mx, my, mz = means[i, 0], means[i, 1], means[i, 2]
        x = pose[0, 0] * mx + pose[0, 1] * my + pose[0, 2] * mz + pose[0, 3]
        y = pose[1, 0] * mx + pose[1, 1] * my + pose[1, 2] * mz + pose[1, 3]
        z = pose[2, 0] * mx + pose[2, 1] * my + pose[2, 2] * mz + pose[2, 3]
        qw, qx, qy, qz = rotation[i, 0], rotation[i, 1], rotation[i, 2], rotation[i, 3]
        s0, s1, s2 = scale[i, 0], scale[i, 1], scale[i, 2]
        square = qw * qw + qx * qx + qy * qy + qz * qz
        check = x + y + z + s0 + s1 + s2 + square
        if not (z > near and square > f32(0) and np.isfinite(check)):
            xy[i, 0], xy[i, 1], depth[i], comp[i] = f32(0), f32(0), f32(0), f32(0)
            conic[i, 0], conic[i, 1], conic[i, 2] = f32(0), f32(0), f32(0)
            continue
        n = f32(1) / np.sqrt(square)
        r = _turn(qw * n, qx * n, qy * n, qz * n)
        iz = f32(1) / z
        tx = min(max(x * iz, -wide), wide)
        ty = min(max(y * iz, -high), high)
        j0, j2, j4, j5 = fx * iz, -fx * tx * iz, fy * iz, -fy * ty * iz
        t00, t01 = j0 * pose[0, 0] + j2 * pose[2, 0], j0 * pose[0, 1] + j2 * pose[2, 1]
        t02 = j0 * pose[0, 2] + j2 * pose[2, 2]
        t10, t11 = j4 * pose[1, 0] + j5 * pose[2, 0], j4 * pose[1, 1] + j5 * pose[2, 1]
        t12 = j4 * pose[1, 2] + j5 * pose[2, 2]
        a0 = (t00 * r[0] + t01 * r[3] + t02 * r[6]) * s0
        a1 = (t00 * r[1] + t01 * r[4] + t02 * r[7]) * s1
        a2 = (t00 * r[2] + t01 * r[5] + t02 * r[8]) * s2
        b0 = (t10 * r[0] + t11 * r[3] + t12 * r[6]) * s0
        b1 = (t10 * r[1] + t11 * r[4] + t12 * r[7]) * s1
        b2 = (t10 * r[2] + t11 * r[5] + t12 * r[8]) * s2
        a = a0 * a0 + a1 * a1 + a2 * a2
        b = a0 * b0 + a1 * b1 + a2 * b2
        c = b0 * b0 + b1 * b1 + b2 * b2
        sharp = max(a * c - b * b, f32(0))
        a, c = a + dilation, c + dilation
        inverse = f32(1) / (a * c - b * b)
        xy[i, 0], xy[i, 1], depth[i] = fx * x * iz + cx, fy * y * iz + cy, z
        conic[i, 0], conic[i, 1], conic[i, 2] = c * inverse, -b * inverse, a * inverse
        comp[i] = np.sqrt(sharp * inverse + f32(1e-12))


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _backward(
    means, rotation, scale, k, pose, wide, high, dilation, depth, d_xy, d_depth, d_conic, d_comp,
    d_means, d_rotation, d_scale,
):  # fmt: skip
    fx, fy = k[0, 0], k[1, 1]
    half = f32(0.5)
    for i in nb.prange(means.shape[0]):
        if depth[i] == f32(0):
            for j in range(3):
                d_means[i, j], d_scale[i, j] = f32(0), f32(0)
            for j in range(4):
                d_rotation[i, j] = f32(0)
            continue
        mx, my, mz = means[i, 0], means[i, 1], means[i, 2]
        x = pose[0, 0] * mx + pose[0, 1] * my + pose[0, 2] * mz + pose[0, 3]
        y = pose[1, 0] * mx + pose[1, 1] * my + pose[1, 2] * mz + pose[1, 3]
        z = pose[2, 0] * mx + pose[2, 1] * my + pose[2, 2] * mz + pose[2, 3]
        qw, qx, qy, qz = rotation[i, 0], rotation[i, 1], rotation[i, 2], rotation[i, 3]
        s0, s1, s2 = scale[i, 0], scale[i, 1], scale[i, 2]
        n = f32(1) / np.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        qw, qx, qy, qz = qw * n, qx * n, qy * n, qz * n
        r = _turn(qw, qx, qy, qz)
        iz = f32(1) / z
        ux, uy = x * iz, y * iz
        tx, ty = min(max(ux, -wide), wide), min(max(uy, -high), high)
        j0, j2, j4, j5 = fx * iz, -fx * tx * iz, fy * iz, -fy * ty * iz
        t00, t01 = j0 * pose[0, 0] + j2 * pose[2, 0], j0 * pose[0, 1] + j2 * pose[2, 1]
        t02 = j0 * pose[0, 2] + j2 * pose[2, 2]
        t10, t11 = j4 * pose[1, 0] + j5 * pose[2, 0], j4 * pose[1, 1] + j5 * pose[2, 1]
        t12 = j4 * pose[1, 2] + j5 * pose[2, 2]
        p0 = t00 * r[0] + t01 * r[3] + t02 * r[6]
        p1 = t00 * r[1] + t01 * r[4] + t02 * r[7]
        p2 = t00 * r[2] + t01 * r[5] + t02 * r[8]
        o0 = t10 * r[0] + t11 * r[3] + t12 * r[6]
        o1 = t10 * r[1] + t11 * r[4] + t12 * r[7]
        o2 = t10 * r[2] + t11 * r[5] + t12 * r[8]
        a0, a1, a2, b0, b1, b2 = p0 * s0, p1 * s1, p2 * s2, o0 * s0, o1 * s1, o2 * s2
        a = a0 * a0 + a1 * a1 + a2 * a2
        b = a0 * b0 + a1 * b1 + a2 * b2
        c = b0 * b0 + b1 * b1 + b2 * b2
        sharp = max(a * c - b * b, f32(0))
        da, dc = a + dilation, c + dilation
        inverse = f32(1) / (da * dc - b * b)
        ka, kb, kc = dc * inverse, -b * inverse, da * inverse
        # through the inverse: dCov = -K G K with G the symmetric gradient of the conic
        ga, gb, gc = d_conic[i, 0], half * d_conic[i, 1], d_conic[i, 2]
        m00, m01 = ka * ga + kb * gb, ka * gb + kb * gc
        m10, m11 = kb * ga + kc * gb, kb * gb + kc * gc
        va = -(m00 * ka + m01 * kb)
        vb = -(m00 * kb + m01 * kc)
        vc = -(m10 * kb + m11 * kc)
        if sharp > f32(0) and d_comp[i] != f32(0):
            ratio = sharp * inverse
            g = half * d_comp[i] / np.sqrt(ratio + f32(1e-12)) * inverse
            va += g * (c - ratio * dc)
            vc += g * (a - ratio * da)
            vb += g * (-b + ratio * b)
        # covariance = [a; b] [a; b]^T: gradient of the two rows (2x3)
        e0, e1, e2 = (
            f32(2) * (va * a0 + vb * b0),
            f32(2) * (va * a1 + vb * b1),
            f32(2) * (va * a2 + vb * b2),
        )
        h0, h1, h2 = (
            f32(2) * (vb * a0 + vc * b0),
            f32(2) * (vb * a1 + vc * b1),
            f32(2) * (vb * a2 + vc * b2),
        )
        d_scale[i, 0] = e0 * p0 + h0 * o0
        d_scale[i, 1] = e1 * p1 + h1 * o1
        d_scale[i, 2] = e2 * p2 + h2 * o2
        e0, e1, e2, h0, h1, h2 = e0 * s0, e1 * s1, e2 * s2, h0 * s0, h1 * s1, h2 * s2
        # rows = T R: gradient of R (3x3) and of T (2x3)
        r00, r01, r02 = t00 * e0 + t10 * h0, t00 * e1 + t10 * h1, t00 * e2 + t10 * h2
        r10, r11, r12 = t01 * e0 + t11 * h0, t01 * e1 + t11 * h1, t01 * e2 + t11 * h2
        r20, r21, r22 = t02 * e0 + t12 * h0, t02 * e1 + t12 * h1, t02 * e2 + t12 * h2
        two = f32(2)
        gw = two * (qx * (r21 - r12) + qy * (r02 - r20) + qz * (r10 - r01))
        gx = two * (qw * (r21 - r12) + qy * (r01 + r10) + qz * (r02 + r20)) - f32(4) * qx * (
            r11 + r22
        )
        gy = two * (qw * (r02 - r20) + qx * (r01 + r10) + qz * (r12 + r21)) - f32(4) * qy * (
            r00 + r22
        )
        gz = two * (qw * (r10 - r01) + qx * (r02 + r20) + qy * (r12 + r21)) - f32(4) * qz * (
            r00 + r11
        )
        along = gw * qw + gx * qx + gy * qy + gz * qz
        d_rotation[i, 0], d_rotation[i, 1] = n * (gw - along * qw), n * (gx - along * qx)
        d_rotation[i, 2], d_rotation[i, 3] = n * (gy - along * qy), n * (gz - along * qz)
        u0 = e0 * r[0] + e1 * r[1] + e2 * r[2]
        u1 = e0 * r[3] + e1 * r[4] + e2 * r[5]
        u2 = e0 * r[6] + e1 * r[7] + e2 * r[8]
        w0 = h0 * r[0] + h1 * r[1] + h2 * r[2]
        w1 = h0 * r[3] + h1 * r[4] + h2 * r[5]
        w2 = h0 * r[6] + h1 * r[7] + h2 * r[8]
        # T = J W: gradient of the four entries of J that are not zero
        g0 = u0 * pose[0, 0] + u1 * pose[0, 1] + u2 * pose[0, 2]
        g2 = u0 * pose[2, 0] + u1 * pose[2, 1] + u2 * pose[2, 2]
        g4 = w0 * pose[1, 0] + w1 * pose[1, 1] + w2 * pose[1, 2]
        g5 = w0 * pose[2, 0] + w1 * pose[2, 1] + w2 * pose[2, 2]
        free_x = f32(1) if -wide < ux < wide else f32(0)
        free_y = f32(1) if -high < uy < high else f32(0)
        px = d_xy[i, 0] * fx * iz - g2 * fx * iz * iz * free_x
        py = d_xy[i, 1] * fy * iz - g5 * fy * iz * iz * free_y
        pz = (
            d_depth[i]
            - (d_xy[i, 0] * fx * ux + d_xy[i, 1] * fy * uy) * iz
            - (g0 * fx + g4 * fy) * iz * iz
            + (g2 * fx * tx * (f32(1) + free_x) + g5 * fy * ty * (f32(1) + free_y)) * iz * iz
        )
        d_means[i, 0] = pose[0, 0] * px + pose[1, 0] * py + pose[2, 0] * pz
        d_means[i, 1] = pose[0, 1] * px + pose[1, 1] * py + pose[2, 1] * pz
        d_means[i, 2] = pose[0, 2] * px + pose[1, 2] * py + pose[2, 2] * pz


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, rotation, scale, intrinsics, pose, wide, high, near, dilation):
        given = [x.detach().contiguous() for x in (means, rotation, scale, intrinsics, pose)]
        new, count = means.new_empty, means.shape[0]
        xy, depth, conic, comp = new(count, 2), new(count), new(count, 3), new(count)
        limits = (np.float32(wide), np.float32(high))
        _forward(
            *[x.numpy() for x in given], *limits, np.float32(near), np.float32(dilation),
            xy.numpy(), depth.numpy(), conic.numpy(), comp.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(*given, depth)
        ctx.limits, ctx.dilation = limits, np.float32(dilation)
        return xy, depth, conic, comp

    @staticmethod
    def backward(ctx, d_xy, d_depth, d_conic, d_comp):  # type: ignore[override]
        means, rotation, scale, intrinsics, pose, depth = ctx.saved_tensors
        out = [torch.empty_like(x) for x in (means, rotation, scale)]
        match_threads()
        _backward(
            *[x.numpy() for x in (means, rotation, scale, intrinsics, pose)], *ctx.limits,
            ctx.dilation, depth.numpy(),
            *[g.contiguous().numpy() for g in (d_xy, d_depth, d_conic, d_comp)],
            *[x.numpy() for x in out],
        )  # fmt: skip
        return (*out, None, None, None, None, None, None)


def project_splats(
    means: Tensor,
    rotation: Tensor,
    scale: Tensor,
    intrinsics: Tensor,
    pose: Tensor,
    reach: tuple[float, float],
    near: float,
    dilation: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fused projection in float32; `reach` is how far x/z and y/z are followed."""
    match_threads()
    dtype = means.dtype
    given = [x.float() for x in (means, rotation, scale, intrinsics, pose)]
    out = _Project.apply(*given, *reach, near, dilation)
    return tuple(x.to(dtype) for x in out)  # type: ignore[return-value, union-attr]
