"""Rays through a single field, stopping only where something is: the quick way to draw and train.

Where the published method asks two networks at evenly spread places to find the surface, a grid
remembers it here.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from likeness.methods.nerface.network import Field
from likeness.methods.nerface.rendering import HALF, Asked, Rays
from likeness.ops.march import Stride, march
from likeness.ops.rays import ray_box
from likeness.ops.volumes import Composite, composite_packed

_GAIN, _SHIFT = 20.0, 4.0
_FLOOR = 0.01  # light left behind which a ray ends


@dataclass(frozen=True, eq=False)
class Told:
    """What the field is told of a moment: its condition, and where the torso has gone."""

    condition: Float[Tensor, " C"]
    asked: Asked | None


def density_of(raw: Tensor) -> Tensor:
    """Densities per unit out of the field's raw ones: mist where it says zero."""
    return _GAIN * F.softplus(raw - _SHIFT)


def walk(
    field: Field,
    rays: Rays,
    told: Told,
    occupied: Bool[Tensor, "X Y Z"],
    most: int,
    jitter: Float[Tensor, "R J"] | None = None,
) -> Composite:
    """Colour (premultiplied), opacity and depth (in the rays' own units) of rays, looking at no
    more than `most` places of each."""
    length = rays.directions.norm(dim=-1)
    unit = rays.directions / length[:, None]
    box = rays.origins.new_tensor([[-HALF] * 3, [HALF] * 3])
    near, far = ray_box(rays.origins, unit, box)
    near, far = torch.maximum(near, rays.near * length), torch.minimum(far, rays.far * length)
    far = torch.where(far > near, far, -torch.inf)
    cell = 2 * HALF / (occupied.shape[0] - 1)
    stride = Stride(cell, cell, limit=most)
    walked = march(rays.origins, unit, near, far, occupied, box, stride, jitter)
    places = rays.origins[walked.ray] + walked.t[:, None] * unit[walked.ray]
    points = places if told.asked is None else told.asked(places)
    raw, density = field.at(points, rays.seen_from[walked.ray], told.condition)
    seen = composite_packed(
        density_of(density), walked.step, torch.sigmoid(raw), walked.offsets, walked.t, _FLOOR
    )
    assert seen.depth is not None
    return Composite(seen.values, seen.opacity, seen.depth / length, seen.weights)


def opaque(steps: float) -> float:
    """The raw density with which so many steps of a grid of 64 cells leave a third of the light."""
    return _SHIFT + math.log(math.expm1(64 / (2 * HALF) / _GAIN / steps))
