"""CPU twin of `carry`: one pass over the passengers, on all threads."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.jit import njit
from likeness.ops.twins import match_threads


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _forward(vertices, corners, weights, offsets, rotations, means, turned, axes):
    for i in nb.prange(corners.shape[0]):
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ex, ey, ez = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
        sx, sy, sz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
        nx, ny, nz = ey * sz - ez * sy, ez * sx - ex * sz, ex * sy - ey * sx
        square = nx * nx + ny * ny + nz * nz
        edges = ex * ex + ey * ey + ez * ez
        lengths = edges * (sx * sx + sy * sy + sz * sz)
        if square <= np.float32(1e-10) * lengths + np.float32(1e-30):
            fx, fy, fz = np.float32(1), np.float32(0), np.float32(0)
            nx, ny, nz = np.float32(0), np.float32(0), np.float32(1)
        else:
            k = np.float32(1) / np.sqrt(square)
            nx, ny, nz = nx * k, ny * k, nz * k
            k = np.float32(1) / np.sqrt(edges)
            fx, fy, fz = ex * k, ey * k, ez * k
        gx, gy, gz = ny * fz - nz * fy, nz * fx - nx * fz, nx * fy - ny * fx
        axes[i, 0], axes[i, 1], axes[i, 2] = fx, gx, nx
        axes[i, 3], axes[i, 4], axes[i, 5] = fy, gy, ny
        axes[i, 6], axes[i, 7], axes[i, 8] = fz, gz, nz
        u, v, w = weights[i, 0], weights[i, 1], weights[i, 2]
        ox, oy, oz = offsets[i, 0], offsets[i, 1], offsets[i, 2]
        total = u + v + w
        means[i, 0] = total * ax + v * ex + w * sx + fx * ox + gx * oy + nx * oz
        means[i, 1] = total * ay + v * ey + w * sy + fy * ox + gy * oy + ny * oz
        means[i, 2] = total * az + v * ez + w * sz + fz * ox + gz * oy + nz * oz
        qw, qx, qy, qz = _quaternion(fx, gx, nx, fy, gy, ny, fz, gz, nz)
        rw, rx, ry, rz = rotations[i, 0], rotations[i, 1], rotations[i, 2], rotations[i, 3]
        turned[i, 0] = qw * rw - qx * rx - qy * ry - qz * rz
        turned[i, 1] = qw * rx + qx * rw + qy * rz - qz * ry
        turned[i, 2] = qw * ry - qx * rz + qy * rw + qz * rx
        turned[i, 3] = qw * rz + qx * ry - qy * rx + qz * rw


@njit(error_model="numpy")
def _quaternion(a, b, c, d, e, f, g, h, k):
    """Of the rotation [[a b c] [d e f] [g h k]]: unit wxyz with w >= 0."""
    one, half = np.float32(1), np.float32(0.5)
    ww, xx, yy, zz = one + a + e + k, one + a - e - k, one - a + e - k, one - a - e + k
    if ww >= xx and ww >= yy and ww >= zz:
        w, x, y, z = ww, h - f, c - g, d - b
        s = half / np.sqrt(ww)
    elif xx >= yy and xx >= zz:
        w, x, y, z = h - f, xx, b + d, c + g
        s = half / np.sqrt(xx)
    elif yy >= zz:
        w, x, y, z = c - g, b + d, yy, f + h
        s = half / np.sqrt(yy)
    else:
        w, x, y, z = d - b, c + g, f + h, zz
        s = half / np.sqrt(zz)
    if w < 0:
        s = -s
    return w * s, x * s, y * s, z * s


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _backward(axes, d_means, d_turned, d_offsets, d_rotations):
    for i in nb.prange(axes.shape[0]):
        x, y, z = d_means[i, 0], d_means[i, 1], d_means[i, 2]
        for j in range(3):
            d_offsets[i, j] = axes[i, j] * x + axes[i, 3 + j] * y + axes[i, 6 + j] * z
        qw, qx, qy, qz = _quaternion(
            axes[i, 0], axes[i, 1], axes[i, 2], axes[i, 3], axes[i, 4],
            axes[i, 5], axes[i, 6], axes[i, 7], axes[i, 8],
        )  # fmt: skip
        rw, rx, ry, rz = d_turned[i, 0], d_turned[i, 1], d_turned[i, 2], d_turned[i, 3]
        d_rotations[i, 0] = qw * rw + qx * rx + qy * ry + qz * rz
        d_rotations[i, 1] = qw * rx - qx * rw - qy * rz + qz * ry
        d_rotations[i, 2] = qw * ry + qx * rz - qy * rw - qz * rx
        d_rotations[i, 3] = qw * rz - qx * ry + qy * rx - qz * rw


@njit(cache=True, error_model="numpy")
def _scatter(corners, weights, d_means, d_vertices):
    """In the order of the passengers, so that sums are the same for any number of threads."""
    for i in range(corners.shape[0]):
        for k in range(3):
            w, v = weights[i, k], corners[i, k]
            d_vertices[v, 0] += w * d_means[i, 0]
            d_vertices[v, 1] += w * d_means[i, 1]
            d_vertices[v, 2] += w * d_means[i, 2]


class _Carrying(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices, corners, weights, offsets, rotations):
        count = corners.shape[0]
        means, turned = vertices.new_empty(count, 3), vertices.new_empty(count, 4)
        axes = vertices.new_empty(count, 9)
        corners, weights = corners.contiguous(), weights.contiguous()
        _forward(
            vertices.detach().contiguous().numpy(),
            corners.numpy(),
            weights.numpy(),
            offsets.detach().contiguous().numpy(),
            rotations.detach().contiguous().numpy(),
            means.numpy(),
            turned.numpy(),
            axes.numpy(),
        )
        ctx.save_for_backward(corners, weights, axes)
        ctx.vertices = vertices.shape[0]
        return means, turned

    @staticmethod
    def backward(ctx, d_means, d_turned):  # type: ignore[override]
        corners, weights, axes = ctx.saved_tensors
        d_means, d_turned = d_means.contiguous(), d_turned.contiguous()
        d_offsets, d_rotations = torch.empty_like(d_means), torch.empty_like(d_turned)
        _backward(
            axes.numpy(), d_means.numpy(), d_turned.numpy(), d_offsets.numpy(), d_rotations.numpy()
        )
        d_vertices = None
        if ctx.needs_input_grad[0]:
            d_vertices = d_means.new_zeros(ctx.vertices, 3)
            _scatter(corners.numpy(), weights.numpy(), d_means.numpy(), d_vertices.numpy())
        return d_vertices, None, None, d_offsets, d_rotations


def carry(
    vertices: Tensor, corners: Tensor, weights: Tensor, offsets: Tensor, rotations: Tensor
) -> tuple[Tensor, Tensor]:
    """The twin of `ops.carry`; float32 inside, whatever comes in."""
    match_threads()
    given = (vertices, offsets, rotations)
    if any(x.dtype != torch.float32 for x in given):
        means, turned = _Carrying.apply(
            vertices.float(), corners, weights.float(), offsets.float(), rotations.float()
        )
        return means.to(vertices.dtype), turned.to(rotations.dtype)
    return _Carrying.apply(vertices, corners, weights, offsets, rotations)  # type: ignore[return-value]
