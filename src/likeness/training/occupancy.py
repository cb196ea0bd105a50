"""Where something is: densities measured at the vertices of a grid, as several heads have them."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from likeness.ops.march import updated_density, vertex_places

_BLOCK = 1 << 17  # points measured at a time


@torch.no_grad()
def measured(
    old: Float[Tensor, "X Y Z"],
    box: Float[Tensor, "2 3"],
    kept: Bool[Tensor, "X Y Z"] | None,
    probes: Sequence[int],
    density: Callable[[Float[Tensor, "N 3"], int], Float[Tensor, " N"]],
    generator: Generator,
) -> Float[Tensor, "X Y Z"]:
    """The grid after looking at every vertex (or those of `kept`): `density` of places, for each of
    the numbers in `probes`; the densest counts."""
    fresh = torch.zeros_like(old).flatten()
    rows = torch.arange(old.numel(), device=old.device)
    if kept is not None:
        rows = kept.flatten().nonzero()[:, 0]
    for probe in probes:
        places = vertex_places((old.shape[0], old.shape[1], old.shape[2]), box, generator)
        parts = places.reshape(-1, 3)[rows].split(_BLOCK)
        found = torch.cat([density(part, probe) for part in parts])
        fresh[rows] = torch.maximum(fresh[rows], found)
    return updated_density(old, fresh.view(old.shape))


def some(count: int, probes: int, generator: Generator) -> list[int]:
    """Number 0 (no expression), and `probes` others of `count`; all of them where that is 0."""
    if not probes:
        return list(range(count))
    return [0, *(1 + torch.randperm(count - 1, generator=generator)).tolist()][: probes + 1]
