"""A lining beneath the skin of the flanks, so that nobody looks into the head from a side.

Splats that were only seen from the front close up for the front: from a side there are gaps
between them. A few broad, flat ones just below, hidden from every camera that teaches, show
through such gaps in the colour of the skin above them.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Generator, Tensor

from likeness.core.regions import REGION
from likeness.methods.splats.looks import Look
from likeness.methods.splats.placed import Placed, chosen, in_world, riding, stratified, turned_to
from likeness.methods.splats.surface import Surface, triangle_areas

DEEP = 0.004  # metres below the skin
FLAT = 0.0006  # metres, the deviation of such a splat across the skin
_SPACING = 0.004  # metres between them
_SHARE = 0.06  # of all splats, at most
_SEEN = 0.75  # cosine of the best look from which skin needs none
_CLEAR = 0.008  # metres from eyes and mouth, through which one looks


def lining(surface: Surface, looks: list[Look], budget: int, generator: Generator) -> Placed:
    """Splats below skin and neck where no look faces them well."""
    region = surface.regions[surface.triangles].mode(-1).values
    skin = (region == REGION["skin"]) | (region == REGION["neck"])
    mass = triangle_areas(surface) * skin * _far_from_openings(surface)
    tries = int(mass.sum() / _SPACING**2)
    face = stratified(mass, tries, generator)
    start = riding(surface, face, region[face], torch.full((tries,), _SPACING), generator)
    best = torch.stack(
        [turned_to(start, look, surface, in_world(start, look, surface)) for look in looks]
    ).amax(0)
    flanks = torch.nonzero(best < _SEEN)[:, 0]
    most = int(_SHARE * budget)
    if len(flanks) > most:
        flanks = flanks[torch.randperm(len(flanks), generator=generator)[:most]]
    kept = chosen(start, flanks)
    below = torch.tensor([0.0, 0.0, -DEEP]).expand(len(flanks), 3)
    return replace(kept, offset=below)


def is_lining(anchor: Float[Tensor, "N 3"], region: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """Which splats, by where they began, are of a lining."""
    return (anchor[:, 2] <= -DEEP) & (region != REGION["hair"]) & (region != REGION["clothes"])


def _far_from_openings(surface: Surface) -> Float[Tensor, " F"]:
    """1 for triangles away from eyes and mouth."""
    names = ("lips", "eyes", "irises", "mouth", "teeth", "tongue")
    openings = torch.isin(surface.regions, torch.tensor([REGION[name] for name in names]))
    if not bool(openings.any()):
        return torch.ones(len(surface.triangles))
    middles = surface.template[surface.triangles].mean(1)
    away, _ = KDTree(surface.template[openings].numpy()).query(middles.numpy())
    return torch.from_numpy(away > _CLEAR).float()
