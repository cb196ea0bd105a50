"""Rays through a coarse and a fine field, the backdrop as their last sample."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from likeness.methods.nerface.network import Field
from likeness.ops.rays import refine, stratified
from likeness.ops.volumes import Composite, backdrop_last, composite, intervals
from likeness.training.hull import within

HALF = 0.7
"""Half the cube a hull fills, in the units of the field."""
_LOOKS = 48  # places at which a ray asks a hull where to begin and end


Asked = Callable[[Tensor], Tensor]
"""Where the field is asked about places: elsewhere, when the torso has moved."""


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays in the units of the field. `directions` are not normalised: `near` and `far` count in
    them; `seen_from` is what the colour layers are told as direction."""

    origins: Float[Tensor, "R 3"]
    directions: Float[Tensor, "R 3"]
    seen_from: Float[Tensor, "R 3"]
    near: Float[Tensor, " R"]
    far: Float[Tensor, " R"]

    def split(self, size: int) -> list["Rays"]:
        parts = zip(
            *(
                x.split(size)
                for x in (self.origins, self.directions, self.seen_from, self.near, self.far)
            )
        )
        return [Rays(*p) for p in parts]


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers of one training step: uniform for places, normal for density noise."""

    coarse: Float[Tensor, "R S"]
    fine: Float[Tensor, "R M"]
    coarse_noise: Float[Tensor, "R S"]
    fine_noise: Float[Tensor, "R N"]


@dataclass(frozen=True, eq=False)
class Seen:
    """One pass: the composite, and where its samples lie."""

    composite: Composite
    z: Float[Tensor, "R S"]

    @property
    def rgb(self) -> Float[Tensor, "R 3"]:
        return self.composite.values

    @property
    def behind(self) -> Float[Tensor, " R"]:
        """How much of the backdrop shows."""
        return self.composite.weights[..., -1]


def look(
    field: Field,
    rays: Rays,
    z: Float[Tensor, "R S"],
    condition: Float[Tensor, " C"],
    backdrop: Float[Tensor, "R 3"] | None,
    noise: Float[Tensor, "R S"] | None = None,
    hull: Bool[Tensor, "X Y Z"] | None = None,
    asked: Asked | None = None,
) -> Seen:
    """One pass over given distances. The last sample of a ray is opaque and shows the backdrop, or
    without one what the field has there. Outside of a hull there is nothing, and nothing asked."""
    points = rays.origins[:, None] + rays.directions[:, None] * z[..., None]
    points = points if asked is None else asked(points)
    if hull is None:
        raw, density = field(points, rays.seen_from, condition)
    else:
        kept = within(points, hull, HALF)
        seen_from = rays.seen_from[:, None].expand_as(points)[kept]
        some, dense = field.at(points[kept], seen_from, condition)
        raw = torch.zeros_like(points).masked_scatter(kept[..., None], some)
        density = torch.full_like(z, -10.0).masked_scatter(kept, dense)
    if noise is not None:
        density = density + noise
    density, colour = backdrop_last(torch.relu(density), torch.sigmoid(raw), backdrop)
    return Seen(composite(density, intervals(z, rays.directions), colour, z), z)


def look_twice(
    coarse: Field,
    fine: Field | None,
    rays: Rays,
    condition: Float[Tensor, " C"],
    backdrop: Float[Tensor, "R 3"] | None,
    counts: tuple[int, int],
    draws: Draws | None = None,
    noise: float = 0.0,
    inverse: bool = False,
    hull: Bool[Tensor, "X Y Z"] | None = None,
    asked: Asked | None = None,
) -> tuple[Seen, Seen]:
    """Evenly spaced samples first, then those and as many more where something was seen."""
    jitter = None if draws is None else draws.coarse
    z = stratified(rays.near, rays.far, counts[0], jitter, inverse)
    bumps = None if draws is None or noise == 0 else noise * draws.coarse_noise
    first = look(coarse, rays, z, condition, backdrop, bumps, hull, asked)
    if fine is None or counts[1] == 0:
        return first, first
    jitter = None if draws is None else draws.fine
    z = refine(z, first.composite.weights.detach(), counts[1], jitter)
    bumps = None if draws is None or noise == 0 else noise * draws.fine_noise
    return first, look(fine, rays, z, condition, backdrop, bumps, hull, asked)


def narrowed(rays: Rays, hull: Bool[Tensor, "X Y Z"], asked: Asked | None = None) -> Rays:
    """Rays that begin and end where they meet a hull; those that miss it keep a point's length."""
    even = stratified(rays.near, rays.far, _LOOKS)
    points = rays.origins[:, None] + rays.directions[:, None] * even[..., None]
    met = within(points if asked is None else asked(points), hull, HALF)
    step = (rays.far - rays.near) / (_LOOKS - 1)
    first = torch.where(met, even, torch.inf).amin(-1) - step
    last = torch.where(met, even, -torch.inf).amax(-1) + step
    hit = met.any(-1)
    near = torch.where(hit, torch.maximum(first, rays.near), rays.far - step)
    far = torch.where(hit, torch.minimum(last, rays.far), rays.far)
    return Rays(rays.origins, rays.directions, rays.seen_from, near, far)
