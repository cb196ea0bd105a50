"""Where in a face each coefficient is heard: only where the rig says that it moves something.

A network told every coefficient everywhere learns what went together in a recording, and moves
brows when a jaw is asked to open.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Box = tuple[float, float, float, float]
"""Middle and side of a cube."""

_CELLS = 20  # places along a side at which it is worked out
_NEAREST = 4  # vertices that speak for a place
_ALL = 0.15  # share of a coefficient's farthest motion from which it is heard fully
_LEAST = 0.002  # metres that count as its farthest motion at least
_NEAR, _FAR = 0.015, 0.04  # metres from the surface: up to here, and not from here on
_PART = 1 << 11


def heard(
    rest: Float[Tensor, "V 3"], motions: Float[Tensor, "C V"], box: Box
) -> Float[Tensor, "C Z Y X"]:
    """Shares from 0 to 1 at places of a cube in the frame of the head, for `rest` there and the
    metres that each coefficient moves each vertex."""
    *middle, side = box
    axis = side * torch.linspace(-0.5, 0.5, _CELLS)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).flip(-1)
    places = grid.reshape(-1, 3) + grid.new_tensor(middle)
    most = motions.amax(-1, keepdim=True).clamp(min=_LEAST)
    share = (motions / most / _ALL).clamp(max=1).mT
    found = []
    for part in places.split(_PART):
        away, near = torch.cdist(part, rest).topk(_NEAREST, largest=False)
        close = ((_FAR - away[:, :1]) / (_FAR - _NEAR)).clamp(0, 1)
        found.append(close * share[near].mean(1))
    whole = torch.cat(found).mT.unflatten(-1, (_CELLS, _CELLS, _CELLS))
    return F.avg_pool3d(F.max_pool3d(whole[None], 3, 1, 1), 3, 1, 1)[0]


def listened(
    points: Float[Tensor, "N 3"], grid: Float[Tensor, "C Z Y X"], box: Box
) -> Float[Tensor, "N C"]:
    """What share of each coefficient points hear; none outside of the cube."""
    *middle, side = box
    at = 2 * (points - points.new_tensor(middle)) / side
    return F.grid_sample(grid[None], at[None, None, None], align_corners=True)[0, :, 0, 0].mT
