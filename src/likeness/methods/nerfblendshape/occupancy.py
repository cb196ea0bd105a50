"""Where a head is: densities measured at the vertices of a grid."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from likeness.ops.march import updated_density, vertex_places

if TYPE_CHECKING:
    from likeness.methods.nerfblendshape.avatar import BlendAvatar

_BLOCK = 1 << 17  # points measured at a time


@torch.no_grad()
def measured(
    avatar: "BlendAvatar", generator: Generator, carve: bool, probes: int
) -> Float[Tensor, "X Y Z"]:
    """The grid after looking at every vertex (or those of the hull) as the heads of `probes`
    drawn training frames have it there, and of no expression; the densest counts."""
    old, box = avatar.grid, avatar.box
    fresh = torch.zeros_like(old).flatten()
    rows = torch.arange(old.numel(), device=old.device)
    if carve:
        rows = avatar.hull.flatten().nonzero()[:, 0]
    which = torch.arange(len(avatar.spread))
    if probes:
        which = torch.cat([which[:1], 1 + torch.randperm(len(which) - 1, generator=generator)])
        which = which[: probes + 1]
    for probe in which.tolist():
        places = vertex_places((old.shape[0], old.shape[1], old.shape[2]), box, generator)
        bend = avatar.bends[probe] if avatar.walk.bend else None
        points = avatar.asked(places.reshape(-1, 3)[rows], bend, None)
        blend = avatar.spread[probe][None]
        found = [avatar.field.measure(part, blend)[0] for part in points.split(_BLOCK)]
        fresh[rows] = torch.maximum(fresh[rows], torch.cat(found))
    return updated_density(old, fresh.view(old.shape))


def unit(points: Float[Tensor, "N 3"], box: Float[Tensor, "2 3"]) -> Float[Tensor, "N 3"]:
    """Places in a box as places in the unit cube."""
    return (points - box[0]) / (box[1] - box[0])
