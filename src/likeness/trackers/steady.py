"""Poses without the shimmer of landmarks: a local parabola through each frame's neighbours.

The fit is centred, so nothing lags, and constant speed and acceleration pass unchanged. Where the
head does something no parabola follows, frames keep more of their own pose.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_FAST = 1.8  # times the usual scatter: beyond that a frame's own pose is believed


def steadied(
    values: Float[Tensor, "T C"], linked: Float[Tensor, " T"], reach: int = 7
) -> Float[Tensor, "T C"]:
    """Rows smoothed along time. `linked` is 1 where both neighbours are of the same shot.

    Neighbours up to `reach` frames away count by a bell; near ends and cuts those there are.
    """
    count = len(values)
    if count < 5:
        return values
    apart = (linked[:-1] < 0.5) & (linked[1:] < 0.5)
    shot = torch.cat([torch.zeros(1, dtype=torch.long), torch.cumsum(apart.long(), 0)])
    out = values.clone()
    for frame in range(count):
        low, high = max(0, frame - reach), min(count, frame + reach + 1)
        window = slice(low, high)
        t = torch.arange(low - frame, high - frame).to(values.dtype)
        w = (1 - (t / (reach + 1)).square()).square() * (shot[window] == shot[frame])
        if int((w > 0).sum()) < 5:
            continue
        design = torch.stack([torch.ones_like(t), t, t.square()], -1)
        gram = (w[:, None] * design).T @ design
        fit = torch.linalg.solve(gram, (w[:, None] * design).T @ values[window])
        out[frame] = fit[0]
    return _own_where_fast(values, out)


def _own_where_fast(values: Tensor, smooth: Tensor) -> Tensor:
    apart = (values - smooth).norm(dim=-1, keepdim=True)
    usual = apart.median().clamp(min=1e-9)
    share = ((apart / usual - _FAST) / _FAST).clamp(0, 1)
    return smooth + share * (values - smooth)


def steadied_rotations(
    rotation: Float[Tensor, "T 3 3"], linked: Float[Tensor, " T"], reach: int = 7
) -> Float[Tensor, "T 3 3"]:
    """The same for rotations, as matrices made orthonormal again."""
    u, _, vt = torch.linalg.svd(steadied(rotation.flatten(1), linked, reach).unflatten(-1, (3, 3)))
    return u @ vt
