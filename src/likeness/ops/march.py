"""Walking along rays and stopping only where something is: occupancy grids and packed samples."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from likeness.core.errors import BadInput
from likeness.ops.rays import uniform
from likeness.ops.twins import one_place, pick

_FARTHEST = 2**20
"""Least steps a ray may go: one that is told to walk for ever comes to an end too."""


@dataclass(frozen=True)
class Stride:
    """How far a step goes: `per_distance` of the way walked so far, within `least` and `most`.

    `limit` is the greatest number of samples of one ray.
    """

    least: float
    most: float
    per_distance: float = 0.0
    limit: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most or self.per_distance < 0 or self.limit < 0:
            raise BadInput(
                f"A stride needs 0 < least <= most, and nothing negative; this one has least "
                f"{self.least}, most {self.most}, {self.per_distance} per distance, limit "
                f"{self.limit}."
            )


@dataclass(frozen=True, eq=False)
class Samples:
    """Where rays look, packed: ray r owns samples `offsets[r]` up to `offsets[r + 1]`.

    `t` is the start of each step and `step` its length, in units of the ray's direction. `ray` is
    the ray of each sample; `end` is where each ray stopped, to walk on from.
    """

    t: Float[Tensor, " N"]
    step: Float[Tensor, " N"]
    ray: Int[Tensor, " N"]
    offsets: Int[Tensor, " R1"]
    end: Float[Tensor, " R"]


def march(
    origins: Float[Tensor, "R 3"],
    directions: Float[Tensor, "R 3"],
    near: Float[Tensor, " R"],
    far: Float[Tensor, " R"],
    occupied: Bool[Tensor, "X Y Z"],
    box: Float[Tensor, "2 3"],
    stride: Stride,
    jitter: Float[Tensor, "R K"] | None = None,
) -> Samples:
    """Samples from `near` to `far` of each ray, one step apart, in occupied places only.

    `occupied` are the vertices of a grid that spans `box`; a place belongs to its nearest
    vertex. In an empty place whole steps are taken until the ray passes the next vertex plane
    (as NeRFBlendShape does: a skip may overshoot by half a cell). With jitter, numbers in [0,
    1) used in turn by the samples of a ray, each step is scaled by twice the number. A ray
    without a finite stretch has no samples, and one goes no farther than a million of its least
    steps, or where a step is lost to rounding. Computed in float64, so that every device stops
    at the same places; nothing is differentiated.
    """
    if min(occupied.shape) < 2:
        raise BadInput(f"An occupancy grid needs 2 vertices per axis; it has {occupied.shape}.")
    if jitter is not None and jitter.shape[1] == 0:
        raise BadInput("Jitter needs at least one number per ray; it has none.")
    one_place(origins, directions, near, far, occupied, box, jitter)
    start, stop = near.detach().double(), far.detach().double()
    stop = torch.where(torch.isfinite(start) & torch.isfinite(stop), stop, -torch.inf)
    stop = torch.minimum(stop, start + _FARTHEST * stride.least)
    twin = pick(_march, origins.device.type)
    t, step, counts, end = twin(
        origins.detach().double(),
        directions.detach().double(),
        start,
        stop,
        occupied,
        box.detach().double(),
        stride,
        None if jitter is None else jitter.detach().double(),
    )
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    rays = torch.arange(counts.shape[0], device=counts.device)
    ray = torch.repeat_interleave(rays, counts, output_size=t.shape[0])
    return Samples(t.to(origins), step.to(origins), ray, offsets, end.to(origins))


def _march(
    origins: Tensor,
    directions: Tensor,
    t: Tensor,
    far: Tensor,
    occupied: Tensor,
    box: Tensor,
    stride: Stride,
    jitter: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All rays together, one step at a time."""
    cells = torch.tensor(occupied.shape, device=t.device) - 1
    counts = torch.zeros_like(t, dtype=torch.long)
    target = torch.full_like(t, -torch.inf)  # while short of it a ray walks without looking
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    while True:
        step = (t * stride.per_distance).clamp(stride.least, stride.most)
        live = (t < far) & (counts < stride.limit) & (t + step > t)  # else lost to rounding
        if not bool(live.any()):
            break
        place = torch.clamp(origins + t[:, None] * directions, box[0], box[1])
        vertex = ((place - box[0]) / (box[1] - box[0]) * cells + 0.5).floor().long()
        vertex = torch.minimum(vertex.clamp(min=0), cells)
        looks = live & (t >= target)
        hit = looks & occupied[tuple(vertex.unbind(-1))]
        if jitter is not None:
            draw = jitter.gather(1, (counts % jitter.shape[1])[:, None])[:, 0]
            step = torch.where(hit, 2 * draw * step, step)
        rays = hit.nonzero()[:, 0]
        found.append((rays, t[rays], step[rays]))
        plane = box[0] + (vertex + (directions >= 0)) / cells * (box[1] - box[0])
        ahead = torch.where(directions == 0, torch.inf, (plane - place) / directions)
        target = torch.where(looks & ~hit, t + ahead.amin(-1).clamp(min=0), target)
        counts = counts + hit
        t = torch.where(live, t + step, t)
    return *_in_ray_order(found, t), counts, t


def _in_ray_order(
    found: list[tuple[Tensor, Tensor, Tensor]], like: Tensor
) -> tuple[Tensor, Tensor]:
    if not found:
        return like.new_zeros(0), like.new_zeros(0)
    rays, t, step = (torch.cat(parts) for parts in zip(*found))
    order = torch.sort(rays, stable=True).indices
    return t[order], step[order]


def is_occupied(
    density: Float[Tensor, "X Y Z"], cap: float = 10.0, mean: float | None = None
) -> Bool[Tensor, "X Y Z"]:
    """Where a density grid counts as holding something: above its mean, or above `cap`.

    `mean` overrides the mean: 0 before a grid has been measured, so that everything is occupied.
    """
    least = float(density.mean()) if mean is None else mean
    return density > min(cap, least)


def vertex_places(
    shape: tuple[int, int, int],
    box: Float[Tensor, "2 3"],
    jitter: Generator | Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "X Y Z 3"]:
    """Where to measure a density grid: its vertices, drawn in by half a cell in all.

    With jitter (a generator, or numbers in [0, 1) for every coordinate) each place moves by up to
    half a cell, so that repeated measurements see between the vertices and stay inside the box.
    """
    axes = [torch.linspace(-1, 1, n, dtype=box.dtype, device=box.device) for n in shape]
    corner = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    half = (box[1] - box[0]) / 2
    cell = half / (torch.tensor(shape, device=box.device) - 1)
    places = (box[0] + box[1]) / 2 + corner * (half - cell)
    if jitter is None:
        return places
    return places + (2 * uniform(jitter, places) - 1) * cell


def updated_density(
    old: Float[Tensor, "X Y Z"], fresh: Float[Tensor, "X Y Z"], decay: float = 0.9
) -> Float[Tensor, "X Y Z"]:
    """A density grid after a new measurement: what was fades, what is found counts at once.

    A vertex takes the greatest of the 8 measured at itself and its next neighbours, because a ray
    looks up the nearest vertex of a place anywhere between them.
    """
    grown = torch.nn.functional.pad(fresh[None, None], (0, 1, 0, 1, 0, 1))
    pooled = torch.nn.functional.max_pool3d(grown, kernel_size=2, stride=1)[0, 0]
    return torch.maximum(old * decay, pooled)
