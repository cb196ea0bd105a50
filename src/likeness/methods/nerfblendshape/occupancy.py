"""Where a head is: densities measured at the vertices of a grid."""

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from likeness.methods.nerfblendshape.field import Field
from likeness.ops.march import updated_density, vertex_places

_BLOCK = 1 << 17  # points measured at a time


@torch.no_grad()
def measured(
    field: Field,
    old: Float[Tensor, "X Y Z"],
    blends: Float[Tensor, "B K"],
    generator: Generator,
    box: Float[Tensor, "2 3"],
    where: Bool[Tensor, "X Y Z"] | None = None,
) -> Float[Tensor, "X Y Z"]:
    """The grid after looking at every vertex (or those of `where`) with each row of `blends`; the
    densest counts."""
    fresh = torch.zeros_like(old).flatten()
    rows = torch.arange(old.numel(), device=old.device)
    if where is not None:
        rows = where.flatten().nonzero()[:, 0]
    for blend in blends:
        places = vertex_places((old.shape[0], old.shape[1], old.shape[2]), box, generator)
        points = unit(places.reshape(-1, 3)[rows], box)
        found = [field.measure(part, blend[None])[0] for part in points.split(_BLOCK)]
        fresh[rows] = torch.maximum(fresh[rows], torch.cat(found))
    return updated_density(old, fresh.view(old.shape))


def unit(points: Float[Tensor, "N 3"], box: Float[Tensor, "2 3"]) -> Float[Tensor, "N 3"]:
    """Places in a box as places in the unit cube."""
    return (points - box[0]) / (box[1] - box[0])
