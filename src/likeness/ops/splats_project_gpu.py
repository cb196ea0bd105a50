"""GPU twin of the projection, in Triton: one fused pass forward, one back.

The same sums as in `splats_project_cpu`. Runs on a CPU in Triton's interpreter, for tests.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from likeness.ops.gpu_jit import jit
from likeness.ops.splats import DILATION, NEAR, WIDE

_BLOCK = 128
_LEAST = tl.constexpr(NEAR)
_DILATION = tl.constexpr(DILATION)
_WIDE = tl.constexpr(WIDE)


@jit
def _row(table, i, here, width: tl.constexpr, k: tl.constexpr):
    return tl.load(table + i * width + k, mask=here, other=0.0)


@jit
def _lens(k, width, height):
    """Focal lengths, and how far x/z and y/z are followed."""
    fx, fy = tl.load(k), tl.load(k + 4)
    return fx, fy, _WIDE * 0.5 * width / fx, _WIDE * 0.5 * height / fy


@jit
def _seen(means, pose, i, here):
    x, y, z = _row(means, i, here, 3, 0), _row(means, i, here, 3, 1), _row(means, i, here, 3, 2)
    return (
        tl.load(pose) * x + tl.load(pose + 1) * y + tl.load(pose + 2) * z + tl.load(pose + 3),
        tl.load(pose + 4) * x + tl.load(pose + 5) * y + tl.load(pose + 6) * z + tl.load(pose + 7),
        tl.load(pose + 8) * x + tl.load(pose + 9) * y + tl.load(pose + 10) * z + tl.load(pose + 11),
    )


@jit
def _rows(j0, j2, j4, j5, pose):
    """The two rows of the perspective at a splat, times the camera's rotation."""
    return (
        j0 * tl.load(pose) + j2 * tl.load(pose + 8),
        j0 * tl.load(pose + 1) + j2 * tl.load(pose + 9),
        j0 * tl.load(pose + 2) + j2 * tl.load(pose + 10),
        j4 * tl.load(pose + 4) + j5 * tl.load(pose + 8),
        j4 * tl.load(pose + 5) + j5 * tl.load(pose + 9),
        j4 * tl.load(pose + 6) + j5 * tl.load(pose + 10),
    )


@jit
def _turn(w, x, y, z):
    return (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip


@jit
def _times(t0, t1, t2, r0, r1, r2, r3, r4, r5, r6, r7, r8):
    """A row times a rotation."""
    return (
        t0 * r0 + t1 * r3 + t2 * r6,
        t0 * r1 + t1 * r4 + t2 * r7,
        t0 * r2 + t1 * r5 + t2 * r8,
    )  # fmt: skip


@jit
def _forward(means, rotation, scale, k, pose, xy, depth, conic, comp, count, width, height,
             block: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * block + tl.arange(0, block)
    here = i < count
    fx, fy, wide, high = _lens(k, width, height)
    x, y, z = _seen(means, pose, i, here)
    qw, qx = _row(rotation, i, here, 4, 0), _row(rotation, i, here, 4, 1)
    qy, qz = _row(rotation, i, here, 4, 2), _row(rotation, i, here, 4, 3)
    s0, s1, s2 = _row(scale, i, here, 3, 0), _row(scale, i, here, 3, 1), _row(scale, i, here, 3, 2)
    square = qw * qw + qx * qx + qy * qy + qz * qz
    check = tl.abs(x) + tl.abs(y) + tl.abs(z) + tl.abs(s0) + tl.abs(s1) + tl.abs(s2) + square
    ok = (z > _LEAST) & (square > 0) & (check < 3e38)
    z, n = tl.where(ok, z, 1.0), 1 / tl.sqrt(tl.where(ok, square, 1.0))
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = _turn(qw * n, qx * n, qy * n, qz * n)
    iz = 1 / z
    tx = tl.minimum(tl.maximum(x * iz, -wide), wide)
    ty = tl.minimum(tl.maximum(y * iz, -high), high)
    t0, t1, t2, t3, t4, t5 = _rows(fx * iz, -fx * tx * iz, fy * iz, -fy * ty * iz, pose)
    a0, a1, a2 = _times(t0, t1, t2, r0, r1, r2, r3, r4, r5, r6, r7, r8)
    b0, b1, b2 = _times(t3, t4, t5, r0, r1, r2, r3, r4, r5, r6, r7, r8)
    a0, a1, a2, b0, b1, b2 = a0 * s0, a1 * s1, a2 * s2, b0 * s0, b1 * s1, b2 * s2
    a = a0 * a0 + a1 * a1 + a2 * a2
    b = a0 * b0 + a1 * b1 + a2 * b2
    c = b0 * b0 + b1 * b1 + b2 * b2
    sharp = tl.maximum(a * c - b * b, 0.0)
    a, c = a + _DILATION, c + _DILATION
    inverse = 1 / (a * c - b * b)
    tl.store(xy + 2 * i, tl.where(ok, fx * x * iz + tl.load(k + 2), 0.0), mask=here)
    tl.store(xy + 2 * i + 1, tl.where(ok, fy * y * iz + tl.load(k + 5), 0.0), mask=here)
    tl.store(depth + i, tl.where(ok, z, 0.0), mask=here)
    tl.store(conic + 3 * i, tl.where(ok, c * inverse, 0.0), mask=here)
    tl.store(conic + 3 * i + 1, tl.where(ok, -b * inverse, 0.0), mask=here)
    tl.store(conic + 3 * i + 2, tl.where(ok, a * inverse, 0.0), mask=here)
    tl.store(comp + i, tl.where(ok, tl.sqrt(sharp * inverse + 1e-12), 0.0), mask=here)


@jit
def _backward(means, rotation, scale, k, pose, depth, d_xy, d_depth, d_conic, d_comp,
              d_means, d_rotation, d_scale, count, width, height, block: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * block + tl.arange(0, block)
    here = i < count
    here = here & (tl.load(depth + i, mask=here, other=0.0) != 0)
    fx, fy, wide, high = _lens(k, width, height)
    x, y, z = _seen(means, pose, i, here)
    z = tl.where(here, z, 1.0)
    qw, qx = _row(rotation, i, here, 4, 0), _row(rotation, i, here, 4, 1)
    qy, qz = _row(rotation, i, here, 4, 2), _row(rotation, i, here, 4, 3)
    s0, s1, s2 = _row(scale, i, here, 3, 0), _row(scale, i, here, 3, 1), _row(scale, i, here, 3, 2)
    n = 1 / tl.sqrt(tl.where(here, qw * qw + qx * qx + qy * qy + qz * qz, 1.0))
    qw, qx, qy, qz = qw * n, qx * n, qy * n, qz * n
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = _turn(qw, qx, qy, qz)
    iz = 1 / z
    ux, uy = x * iz, y * iz
    tx = tl.minimum(tl.maximum(ux, -wide), wide)
    ty = tl.minimum(tl.maximum(uy, -high), high)
    t0, t1, t2, t3, t4, t5 = _rows(fx * iz, -fx * tx * iz, fy * iz, -fy * ty * iz, pose)
    p0, p1, p2 = _times(t0, t1, t2, r0, r1, r2, r3, r4, r5, r6, r7, r8)
    o0, o1, o2 = _times(t3, t4, t5, r0, r1, r2, r3, r4, r5, r6, r7, r8)
    a0, a1, a2, b0, b1, b2 = p0 * s0, p1 * s1, p2 * s2, o0 * s0, o1 * s1, o2 * s2
    a = a0 * a0 + a1 * a1 + a2 * a2
    b = a0 * b0 + a1 * b1 + a2 * b2
    c = b0 * b0 + b1 * b1 + b2 * b2
    sharp = tl.maximum(a * c - b * b, 0.0)
    da, dc = a + _DILATION, c + _DILATION
    inverse = 1 / (da * dc - b * b)
    ka, kb, kc = dc * inverse, -b * inverse, da * inverse
    # through the inverse: dCov = -K G K with G the symmetric gradient of the conic
    ga = _row(d_conic, i, here, 3, 0)
    gb, gc = 0.5 * _row(d_conic, i, here, 3, 1), _row(d_conic, i, here, 3, 2)
    m00, m01 = ka * ga + kb * gb, ka * gb + kb * gc
    m10, m11 = kb * ga + kc * gb, kb * gb + kc * gc
    ratio = sharp * inverse
    g = 0.5 * tl.load(d_comp + i, mask=here, other=0.0) / tl.sqrt(ratio + 1e-12) * inverse
    g = tl.where(sharp > 0, g, 0.0)
    va = -(m00 * ka + m01 * kb) + g * (c - ratio * dc)
    vb = -(m00 * kb + m01 * kc) + g * (ratio * b - b)
    vc = -(m10 * kb + m11 * kc) + g * (a - ratio * da)
    # covariance = [a; b] [a; b]^T: gradient of the two rows (2x3)
    e0, e1, e2 = 2 * (va * a0 + vb * b0), 2 * (va * a1 + vb * b1), 2 * (va * a2 + vb * b2)
    h0, h1, h2 = 2 * (vb * a0 + vc * b0), 2 * (vb * a1 + vc * b1), 2 * (vb * a2 + vc * b2)
    tl.store(d_scale + 3 * i, e0 * p0 + h0 * o0, mask=here)
    tl.store(d_scale + 3 * i + 1, e1 * p1 + h1 * o1, mask=here)
    tl.store(d_scale + 3 * i + 2, e2 * p2 + h2 * o2, mask=here)
    e0, e1, e2, h0, h1, h2 = e0 * s0, e1 * s1, e2 * s2, h0 * s0, h1 * s1, h2 * s2
    # rows = T R: gradient of R (3x3) and of T (2x3)
    r00, r01, r02 = t0 * e0 + t3 * h0, t0 * e1 + t3 * h1, t0 * e2 + t3 * h2
    r10, r11, r12 = t1 * e0 + t4 * h0, t1 * e1 + t4 * h1, t1 * e2 + t4 * h2
    r20, r21, r22 = t2 * e0 + t5 * h0, t2 * e1 + t5 * h1, t2 * e2 + t5 * h2
    gw = 2 * (qx * (r21 - r12) + qy * (r02 - r20) + qz * (r10 - r01))
    gx = 2 * (qw * (r21 - r12) + qy * (r01 + r10) + qz * (r02 + r20)) - 4 * qx * (r11 + r22)
    gy = 2 * (qw * (r02 - r20) + qx * (r01 + r10) + qz * (r12 + r21)) - 4 * qy * (r00 + r22)
    gz = 2 * (qw * (r10 - r01) + qx * (r02 + r20) + qy * (r12 + r21)) - 4 * qz * (r00 + r11)
    along = gw * qw + gx * qx + gy * qy + gz * qz
    tl.store(d_rotation + 4 * i, n * (gw - along * qw), mask=here)
    tl.store(d_rotation + 4 * i + 1, n * (gx - along * qx), mask=here)
    tl.store(d_rotation + 4 * i + 2, n * (gy - along * qy), mask=here)
    tl.store(d_rotation + 4 * i + 3, n * (gz - along * qz), mask=here)
    u0, u1, u2 = _times(e0, e1, e2, r0, r3, r6, r1, r4, r7, r2, r5, r8)
    w0, w1, w2 = _times(h0, h1, h2, r0, r3, r6, r1, r4, r7, r2, r5, r8)
    # T = J W: gradient of the four entries of J that are not zero
    g0 = u0 * tl.load(pose) + u1 * tl.load(pose + 1) + u2 * tl.load(pose + 2)
    g2 = u0 * tl.load(pose + 8) + u1 * tl.load(pose + 9) + u2 * tl.load(pose + 10)
    g4 = w0 * tl.load(pose + 4) + w1 * tl.load(pose + 5) + w2 * tl.load(pose + 6)
    g5 = w0 * tl.load(pose + 8) + w1 * tl.load(pose + 9) + w2 * tl.load(pose + 10)
    free_x = tl.where((ux > -wide) & (ux < wide), 1.0, 0.0)
    free_y = tl.where((uy > -high) & (uy < high), 1.0, 0.0)
    gu, gv = _row(d_xy, i, here, 2, 0), _row(d_xy, i, here, 2, 1)
    px = gu * fx * iz - g2 * fx * iz * iz * free_x
    py = gv * fy * iz - g5 * fy * iz * iz * free_y
    pz = tl.load(d_depth + i, mask=here, other=0.0) - (gu * fx * ux + gv * fy * uy) * iz
    pz -= (g0 * fx + g4 * fy) * iz * iz
    pz += (g2 * fx * tx * (1 + free_x) + g5 * fy * ty * (1 + free_y)) * iz * iz
    for j in tl.static_range(3):
        d = tl.load(pose + j) * px + tl.load(pose + 4 + j) * py + tl.load(pose + 8 + j) * pz
        tl.store(d_means + 3 * i + j, d, mask=here)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, means, rotation, scale, intrinsics, pose, width, height):
        given = [x.detach().contiguous() for x in (means, rotation, scale, intrinsics, pose)]
        count, new = means.shape[0], means.new_empty
        out = (new(count, 2), new(count), new(count, 3), new(count))
        if count:
            grid = (triton.cdiv(count, _BLOCK),)
            _forward[grid](*given, *out, count, width, height, block=_BLOCK)
        ctx.save_for_backward(*given, out[1])
        ctx.size = (count, width, height)
        return out

    @staticmethod
    def backward(ctx: Any, *upstream):
        saved = ctx.saved_tensors
        out = [torch.zeros_like(x) for x in saved[:3]]
        if ctx.size[0]:
            grid = (triton.cdiv(ctx.size[0], _BLOCK),)
            upstream = [x.contiguous() for x in upstream]
            _backward[grid](*saved, *upstream, *out, *ctx.size, block=_BLOCK)
        return (*out, None, None, None, None)


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
    given = [x.float() for x in (means, rotation, scale, intrinsics, pose)]
    out = _Project.apply(*given, width, height)
    return tuple(x.to(means.dtype) for x in out)  # type: ignore[return-value, union-attr]
