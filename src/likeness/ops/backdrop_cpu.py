"""CPU twin of warping a backdrop: one pass forth, one back."""

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.core.camera import Camera
from likeness.ops.twins import match_threads

_FAST = {"contract", "nsz", "arcp"}
f32 = np.float32


@nb.njit(error_model="numpy", fastmath=_FAST)
def _corner(back, x, y, width, height):
    """Left and top neighbour of where a pixel comes from, and how far beyond each, at most 1."""
    px, py = f32(x) + f32(0.5), f32(y) + f32(0.5)
    z = back[2, 0] * px + back[2, 1] * py + back[2, 2]
    u = (back[0, 0] * px + back[0, 1] * py + back[0, 2]) / z - f32(0.5)
    v = (back[1, 0] * px + back[1, 1] * py + back[1, 2]) / z - f32(0.5)
    u = min(max(u, f32(0)), f32(width - 1)) if u == u else f32(0)
    v = min(max(v, f32(0)), f32(height - 1)) if v == v else f32(0)
    left, top = min(int(u), max(width - 2, 0)), min(int(v), max(height - 2, 0))
    return left, top, u - f32(left), v - f32(top)


@nb.njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _forward(picture, back, out):
    height, width, channels = picture.shape
    for y in nb.prange(out.shape[0]):
        for x in range(out.shape[1]):
            left, top, fu, fv = _corner(back, x, y, width, height)
            right, low = min(left + 1, width - 1), min(top + 1, height - 1)
            for c in range(channels):
                above = picture[top, left, c] + fu * (
                    picture[top, right, c] - picture[top, left, c]
                )
                below = picture[low, left, c] + fu * (
                    picture[low, right, c] - picture[low, left, c]
                )
                out[y, x, c] = above + fv * (below - above)


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _backward(d_out, back, d_picture):
    """In the order of the pixels, so that sums are the same for any number of threads."""
    height, width, channels = d_picture.shape
    for y in range(d_out.shape[0]):
        for x in range(d_out.shape[1]):
            left, top, fu, fv = _corner(back, x, y, width, height)
            right, low = min(left + 1, width - 1), min(top + 1, height - 1)
            for c in range(channels):
                d = d_out[y, x, c]
                d_picture[top, left, c] += (f32(1) - fu) * (f32(1) - fv) * d
                d_picture[top, right, c] += fu * (f32(1) - fv) * d
                d_picture[low, left, c] += (f32(1) - fu) * fv * d
                d_picture[low, right, c] += fu * fv * d


class _Warp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, picture, back, height, width):
        out = picture.new_empty(height, width, picture.shape[2])
        _forward(picture.detach().contiguous().numpy(), back.numpy(), out.numpy())
        ctx.save_for_backward(back)
        ctx.shape = picture.shape
        return out

    @staticmethod
    def backward(ctx, d_out):  # type: ignore[override]
        (back,) = ctx.saved_tensors
        d_picture = d_out.new_zeros(ctx.shape)
        _backward(d_out.contiguous().numpy(), back.numpy(), d_picture.numpy())
        return d_picture, None, None, None


def warped(picture: Tensor, back: Tensor, camera: Camera) -> Tensor:
    """The twin of `ops.backdrop`; float32 inside, whatever comes in."""
    match_threads()
    flat = back.detach().float().contiguous()
    found = _Warp.apply(picture.float(), flat, camera.height, camera.width)
    return found.to(picture.dtype)  # type: ignore[union-attr]
