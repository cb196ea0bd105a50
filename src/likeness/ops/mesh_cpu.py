"""CPU twins of the mesh stages.

Each worker draws interleaved bands of rows, in the order of the triangles, so no pixel has two
writers and the picture does not depend on the number of threads. Edges are evaluated in float64
from one origin: two triangles that share an edge then disagree exactly, and no crack shows.
Gradients are summed in a fixed number of slots and added in order.
"""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.mesh import FLAT, NEAR
from likeness.ops.twins import match_threads

_BAND = 8
_SLOTS = 8


@nb.njit(cache=True, error_model="numpy", inline="always")
def _cross(a, b, c, d, e, f):
    return b * f - c * e, c * d - a * f, a * e - b * d


@nb.njit(cache=True, error_model="numpy", parallel=True)
def _prepare(corners, triangles, height, width, cull, lines, boxes):
    """Per triangle: three edges turned to be positive inside, its volume, its box of pixels."""
    for t in nb.prange(len(triangles)):
        boxes[t, 0], boxes[t, 1] = 0, -1
        p, q, r = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = np.float64(corners[p, 0]), np.float64(corners[p, 1]), np.float64(corners[p, 2])
        bx, by, bz = np.float64(corners[q, 0]), np.float64(corners[q, 1]), np.float64(corners[q, 2])
        cx, cy, cz = np.float64(corners[r, 0]), np.float64(corners[r, 1]), np.float64(corners[r, 2])
        ux, uy, uz = _cross(bx, by, bz, cx, cy, cz)
        vx, vy, vz = _cross(cx, cy, cz, ax, ay, az)
        wx, wy, wz = _cross(ax, ay, az, bx, by, bz)
        volume = ax * ux + ay * uy + az * uz
        size = np.sqrt(
            (ax * ax + ay * ay + az * az)
            * (bx * bx + by * by + bz * bz)
            * (cx * cx + cy * cy + cz * cz)
        )
        if not (abs(volume) > FLAT * size and size < np.inf) or (cull and volume > 0):
            continue
        left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
        for k in range(3):
            x, y, z = corners[triangles[t, k], 0], corners[triangles[t, k], 1], az
            z = corners[triangles[t, k], 2]
            n = triangles[t, (k + 1) % 3]
            if z >= NEAR:
                left, right = min(left, x / z), max(right, x / z)
                top, bottom = min(top, y / z), max(bottom, y / z)
            if (z >= NEAR) != (corners[n, 2] >= NEAR):  # where the side meets the near plane
                s = (NEAR - z) / (np.float64(corners[n, 2]) - z)
                mx = (x + s * (corners[n, 0] - x)) / NEAR
                my = (y + s * (corners[n, 1] - y)) / NEAR
                left, right = min(left, mx), max(right, mx)
                top, bottom = min(top, my), max(bottom, my)
        if not (right >= 0 and bottom >= 0 and left <= width and top <= height):
            continue
        boxes[t, 0] = np.int32(max(0.0, np.floor(top - 0.5)))
        boxes[t, 1] = np.int32(min(height - 1.0, np.ceil(bottom - 0.5)))
        boxes[t, 2] = np.int32(max(0.0, np.floor(left - 0.5)))
        boxes[t, 3] = np.int32(min(width - 1.0, np.ceil(right - 0.5)))
        sign = 1.0 if volume > 0 else -1.0
        lines[t, 0], lines[t, 1], lines[t, 2] = sign * ux, sign * uy, sign * uz
        lines[t, 3], lines[t, 4], lines[t, 5] = sign * vx, sign * vy, sign * vz
        lines[t, 6], lines[t, 7], lines[t, 8] = sign * wx, sign * wy, sign * wz
        lines[t, 9] = sign * volume


@nb.njit(cache=True, error_model="numpy", parallel=True)
def _draw(lines, boxes, seen, nearest, workers):
    """`nearest` holds one over depth, so that nothing divides per pixel."""
    near = 1.0 / NEAR
    for worker in nb.prange(workers):
        for t in range(len(boxes)):
            top, bottom = boxes[t, 0], boxes[t, 1]
            left, right = boxes[t, 2], boxes[t, 3]
            if bottom < top or right < left:
                continue
            a, b, c = lines[t, 0], lines[t, 1], lines[t, 2]
            d, e, f = lines[t, 3], lines[t, 4], lines[t, 5]
            g, h, i = lines[t, 6], lines[t, 7], lines[t, 8]
            scale = 1.0 / lines[t, 9]
            for y in range(top, bottom + 1):
                if (y // _BAND) % workers != worker:
                    continue
                py = y + 0.5
                u0, v0, w0 = b * py + c, e * py + f, h * py + i
                entered = False
                for x in range(left, right + 1):
                    px = x + 0.5
                    u, v, w = a * px + u0, d * px + v0, g * px + w0
                    if u >= 0 and v >= 0 and w >= 0:
                        closeness = (u + v + w) * scale
                        if closeness > nearest[y, x] and closeness <= near:
                            nearest[y, x] = closeness
                            seen[y, x] = t
                        entered = True
                    elif entered:  # a row of a triangle is one run of pixels
                        break


def see(corners: Tensor, triangles: Tensor, height: int, width: int, cull: bool) -> Tensor:
    seen = np.full((height, width), -1, np.int64)
    if len(triangles) and height and width:
        match_threads()
        lines = np.empty((len(triangles), 10))
        boxes = np.empty((len(triangles), 4), np.int32)
        points, triples = _array(corners), _array(triangles)
        _prepare(points, triples, height, width, cull, lines, boxes)
        _draw(lines, boxes, seen, np.zeros((height, width)), nb.get_num_threads())
    return torch.from_numpy(seen)


@nb.njit(cache=True, error_model="numpy", parallel=True)
def _locate_forward(corners, triangles, seen, weights, depth):
    height, width = seen.shape
    for y in nb.prange(height):
        for x in range(width):
            t = seen[y, x]
            if t < 0:
                weights[y, x, 0] = weights[y, x, 1] = weights[y, x, 2] = 0
                depth[y, x] = np.inf
                continue
            u, v, w, volume = _shares(corners, triangles, t, x + 0.5, y + 0.5)[:4]
            one = 1.0 / (u + v + w)
            weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = u * one, v * one, w * one
            depth[y, x] = volume * one


@nb.njit(cache=True, error_model="numpy", inline="always")
def _shares(corners, triangles, t, x, y):
    p, q, r = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    ax, ay, az = np.float64(corners[p, 0]), np.float64(corners[p, 1]), np.float64(corners[p, 2])
    bx, by, bz = np.float64(corners[q, 0]), np.float64(corners[q, 1]), np.float64(corners[q, 2])
    cx, cy, cz = np.float64(corners[r, 0]), np.float64(corners[r, 1]), np.float64(corners[r, 2])
    ux, uy, uz = _cross(bx, by, bz, cx, cy, cz)
    vx, vy, vz = _cross(cx, cy, cz, ax, ay, az)
    wx, wy, wz = _cross(ax, ay, az, bx, by, bz)
    u, v, w = ux * x + uy * y + uz, vx * x + vy * y + vz, wx * x + wy * y + wz
    volume = ax * ux + ay * uy + az * uz
    return u, v, w, volume, ux, uy, uz, vx, vy, vz, wx, wy, wz


@nb.njit(cache=True, error_model="numpy", parallel=True)
def _locate_backward(corners, triangles, seen, grad_weights, grad_depth, slots):
    """With e the shares, s their sum and V the volume: weights are e / s and depth is V / s."""
    height, width = seen.shape
    for slot in nb.prange(_SLOTS):
        for y in range(slot, height, _SLOTS):
            for x in range(width):
                t = seen[y, x]
                if t < 0:
                    continue
                px, py = x + 0.5, y + 0.5
                u, v, w, volume, ux, uy, uz, vx, vy, vz, wx, wy, wz = _shares(
                    corners, triangles, t, px, py
                )
                one = 1.0 / (u + v + w)
                ga, gb, gc = grad_weights[y, x, 0], grad_weights[y, x, 1], grad_weights[y, x, 2]
                rest = (ga * u + gb * v + gc * w) * one + grad_depth[y, x] * volume * one
                gu, gv, gw = (ga - rest) * one, (gb - rest) * one, (gc - rest) * one
                gvolume = grad_depth[y, x] * one
                p, q, r = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                ax, ay, az = corners[p, 0], corners[p, 1], corners[p, 2]
                bx, by, bz = corners[q, 0], corners[q, 1], corners[q, 2]
                cx, cy, cz = corners[r, 0], corners[r, 1], corners[r, 2]
                # u = pixel . (b x c), v = pixel . (c x a), w = pixel . (a x b)
                sx, sy, sz = gw * bx - gv * cx, gw * by - gv * cy, gw * bz - gv * cz
                dx, dy, dz = _cross(sx, sy, sz, px, py, 1.0)
                slots[slot, p, 0] += dx + gvolume * ux
                slots[slot, p, 1] += dy + gvolume * uy
                slots[slot, p, 2] += dz + gvolume * uz
                sx, sy, sz = gu * cx - gw * ax, gu * cy - gw * ay, gu * cz - gw * az
                dx, dy, dz = _cross(sx, sy, sz, px, py, 1.0)
                slots[slot, q, 0] += dx + gvolume * vx
                slots[slot, q, 1] += dy + gvolume * vy
                slots[slot, q, 2] += dz + gvolume * vz
                sx, sy, sz = gv * ax - gu * bx, gv * ay - gu * by, gv * az - gu * bz
                dx, dy, dz = _cross(sx, sy, sz, px, py, 1.0)
                slots[slot, r, 0] += dx + gvolume * wx
                slots[slot, r, 1] += dy + gvolume * wy
                slots[slot, r, 2] += dz + gvolume * wz


class _Locate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, corners, triangles, seen):
        match_threads()
        weights = corners.new_empty(*seen.shape, 3)
        depth = corners.new_empty(seen.shape)
        _locate_forward(
            _array(corners), _array(triangles), _array(seen), weights.numpy(), depth.numpy()
        )
        ctx.save_for_backward(corners, triangles, seen)
        return weights, depth

    @staticmethod
    def backward(ctx, grad_weights, grad_depth):  # type: ignore[override]
        corners, triangles, seen = ctx.saved_tensors
        match_threads()
        slots = np.zeros((_SLOTS, *corners.shape))
        grads = _array(grad_weights), _array(grad_depth)
        _locate_backward(_array(corners), _array(triangles), _array(seen), *grads, slots)
        return torch.from_numpy(slots.sum(0)).to(corners.dtype), None, None


def locate(corners: Tensor, triangles: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    return _Locate.apply(corners, triangles, seen)  # type: ignore[return-value]


@nb.njit(cache=True, error_model="numpy", parallel=True)
def _mix_forward(seen, weights, values, triangles, out):
    height, width, channels = out.shape
    for y in nb.prange(height):
        for x in range(width):
            t = seen[y, x]
            if t < 0:
                for c in range(channels):
                    out[y, x, c] = 0
                continue
            p, q, r = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            a, b, d = weights[y, x, 0], weights[y, x, 1], weights[y, x, 2]
            for c in range(channels):
                out[y, x, c] = a * values[p, c] + b * values[q, c] + d * values[r, c]


@nb.njit(cache=True, error_model="numpy", parallel=True)
def _mix_backward(seen, weights, values, triangles, grad, grad_weights, slots):
    height, width, channels = grad.shape
    for slot in nb.prange(_SLOTS):
        for y in range(slot, height, _SLOTS):
            for x in range(width):
                t = seen[y, x]
                if t < 0:
                    continue
                for k in range(3):
                    vertex, weight = triangles[t, k], weights[y, x, k]
                    total = 0.0
                    for c in range(channels):
                        total += grad[y, x, c] * values[vertex, c]
                        slots[slot, vertex, c] += weight * grad[y, x, c]
                    grad_weights[y, x, k] = total


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, seen, weights, values, triangles):
        match_threads()
        out = values.new_empty(*seen.shape, values.shape[-1])
        at = _array(seen), _array(weights)
        _mix_forward(*at, _array(values), _array(triangles), out.numpy())
        ctx.save_for_backward(seen, weights, values, triangles)
        return out

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        seen, weights, values, triangles = ctx.saved_tensors
        match_threads()
        grad_weights = torch.zeros_like(weights, memory_format=torch.contiguous_format)
        slots = np.zeros((_SLOTS, *values.shape), _array(values).dtype)
        at = _array(seen), _array(weights), _array(values), _array(triangles)
        _mix_backward(*at, _array(grad), grad_weights.numpy(), slots)
        return None, grad_weights, torch.from_numpy(slots.sum(0)), None


def mix(seen: Tensor, weights: Tensor, values: Tensor, triangles: Tensor) -> Tensor:
    return _Mix.apply(seen, weights, values, triangles)  # type: ignore[return-value]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
