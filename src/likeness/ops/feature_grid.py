"""Features kept at the vertices of one dense grid."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def feature_grid(
    points: Float[Tensor, "N 3"], grid: Float[Tensor, "C Z Y X"]
) -> Float[Tensor, "N C"]:
    """Features of points in the cube [-1, 1]^3, interpolated between 8 vertices.

    The outermost vertices lie on the faces of the cube, and x runs along the last axis of the grid.
    Outside, features fade to zero within one cell; where a point is not a number they are zero.
    Gradients go to points and grid.
    """
    known = torch.isfinite(points).all(-1, keepdim=True)
    places = torch.where(known, points, 9.0).clamp(-9, 9)[None, :, None, None]
    looked_up = F.grid_sample(grid[None], places, align_corners=True, padding_mode="zeros")
    return looked_up[0, :, :, 0, 0].mT
