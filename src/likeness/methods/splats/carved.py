"""Necks drawn in to where mattes have them: a rig's neck is often wider than the person's.

What no frame faces, no frame teaches: the flanks of a neck that reach beyond the outline of the
person would stand there, in the colour of skin, as soon as one looks from a side.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.regions import REGION
from likeness.methods.splats.looks import Look, sampled
from likeness.methods.splats.placed import Placed, at_rest, chosen, seen_at
from likeness.methods.splats.surface import Surface
from likeness.ops.carry import triangle_axes

_TRIED = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of their distance from the neck's axis
_INSIDE = 0.3  # of the matte
_AGREED = 0.7  # of the looks


def drawn_in(
    placed: Placed, looks: list[Look], surface: Surface, rest_torso: Float[Tensor, "4 4"]
) -> Placed:
    """Splats of the neck moved towards its axis until most looks have a person there, and left out
    where none of that helps."""
    neck = torch.nonzero(placed.region == REGION["neck"])[:, 0]
    if not len(neck):
        return placed
    part = chosen(placed, neck)
    places, axes = at_rest(part, surface), triangle_axes(surface.template[part.corners])
    away = places - _axis(surface, places[:, 1])
    offset, found = part.offset.clone(), torch.zeros(len(neck), dtype=torch.bool)
    for share in _TRIED:
        moved = part.offset + (axes.mT @ ((share - 1) * away)[..., None])[..., 0]
        inside = _within(replace(part, offset=moved), looks, surface, rest_torso)
        new = inside & ~found
        offset[new], found = moved[new], found | inside
    keep = torch.ones(len(placed.corners), dtype=torch.bool)
    keep[neck[~found]] = False
    every = placed.offset.clone()
    every[neck] = offset
    return chosen(replace(placed, offset=every), torch.nonzero(keep)[:, 0])


def _axis(surface: Surface, height: Float[Tensor, " N"]) -> Float[Tensor, "N 3"]:
    """The neck's middle at some heights: a straight line through its vertices."""
    own = surface.template[surface.regions == REGION["neck"]]
    middle = own.mean(0)
    up = own[:, 1] - middle[1]
    slope = (up[:, None] * (own - middle)).sum(0) / up.square().sum().clamp(min=1e-9)
    return middle + (height - middle[1])[:, None] * slope


def _within(
    part: Placed, looks: list[Look], surface: Surface, rest_torso: Float[Tensor, "4 4"]
) -> Tensor:
    """Whether most looks have a person where splats are; beside the picture nobody knows."""
    inside = torch.zeros(len(part.corners))
    for look in looks:
        pixels, ahead = seen_at(part, look, surface, rest_torso)
        alpha = sampled(look.alpha[..., None], pixels)[:, 0]
        inside += ((alpha > _INSIDE) | (ahead == 0)).float() / len(looks)
    return inside >= _AGREED
