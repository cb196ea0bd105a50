"""Surfaces out of fields."""

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput, need_extra
from likeness.core.rig import Mesh


def surface_at(
    field: Float[Tensor, "X Y Z"],
    level: float,
    low: Float[Tensor, "3"],
    high: Float[Tensor, "3"],
) -> Mesh:
    """The surface where `field` passes `level`, larger values inside (marching cubes).

    The field's first and last entries along each axis sit at `low` and `high`, in metres. A field
    that never passes the level gives a mesh without triangles. Carries no gradient.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise need_extra("skimage", "mesh", "Extracting a surface") from error
    if min(field.shape) < 2:
        raise BadInput(f"A field of {tuple(field.shape)} has no cells: give 2 samples per axis.")
    if not bool(field.isfinite().all()):
        raise BadInput("The field holds values that are not finite. Clean it before extraction.")
    if not float(field.min()) < level < float(field.max()):
        empty = torch.zeros(0, 3, device=field.device)
        return Mesh(empty.to(field.dtype), empty.long())
    volume = field.detach().cpu().float().numpy()
    vertices, triangles, _, _ = marching_cubes(volume, level, gradient_direction="ascent")
    size = torch.tensor(field.shape, dtype=field.dtype, device=field.device) - 1
    at = torch.from_numpy(vertices.copy()).to(field.device, field.dtype)
    order = torch.from_numpy(triangles.copy()).to(field.device, torch.int64)
    return Mesh(low + at / size * (high - low), order)
