"""The colours splats start with, out of a dozen frames."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from likeness.core.regions import REGION
from likeness.methods.splats.looks import Look, sampled
from likeness.methods.splats.placed import Placed, at_rest, in_world, seen_at, turned_to
from likeness.methods.splats.surface import Surface
from likeness.methods.splats.visible import SHOWS, borrowed, shown

_PERSON = 0.9  # of the matte: surely not the backdrop's colour
_GRAZING = 0.3  # cosine below which a pixel says little about a splat's colour
_PLAIN = 0.6  # cosine from which skin shows its own hue
_HUES, _LEAST_HUE = 4.0, 0.015  # usual distances from the usual hue that skin may have; at least


def coloured(placed: Placed, looks: list[Look], surface: Surface, rest_torso: Tensor) -> Placed:
    """Each splat in the median colour of the person's pixels it falls on where it faces the
    camera, and how well the best look faces it; what is covered, turned away or falls on none
    borrows from its like."""
    votes, faces = [], []
    for look in looks:
        world = in_world(placed, look, surface, rest_torso)
        face = turned_to(placed, look, surface, world)
        filled = shown(look.camera, world, placed.spacing)
        faces.append(face * (filled >= SHOWS))
        pixels, _ = seen_at(placed, look, surface, rest_torso)
        planes = torch.cat([look.rgb, torch.stack([look.alpha, look.hair], -1)], -1)
        found = sampled(planes, pixels)
        fine = (found[:, 3] > _PERSON) & (face >= _GRAZING)
        if bool(look.hair.any()):
            fine &= ~_mistaken(placed, found[:, 4] > 0.5)
        votes.append(torch.where(fine[:, None], found[:, :3], torch.nan))
    colour, facing = torch.stack(votes).nanmedian(0).values, torch.stack(faces).amax(0)
    told = (facing >= _GRAZING) & torch.isfinite(colour).all(-1)
    plain = facing >= _PLAIN
    skin = _any_of(placed, "skin", "ears", "neck")
    told &= ~skin | plain | of_skin(colour, skin & told & plain)
    colour, places = colour.nan_to_num(0.5), at_rest(placed, surface)
    hair, clothes = _any_of(placed, "hair", "scalp"), _any_of(placed, "clothes")
    for kind in (hair, clothes, ~(hair | clothes)):
        colour[kind] = borrowed(places[kind], colour[kind], told[kind])
    return replace(placed, colour=colour, facing=facing)


def _mistaken(placed: Placed, hairy: Bool[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """Hair on bare pixels, and skin under hair; a scalp may be either."""
    wrong = hairy ^ _any_of(placed, "hair")
    return wrong & ~_any_of(placed, "scalp")


def _any_of(placed: Placed, *names: str) -> Bool[Tensor, " N"]:
    return torch.isin(placed.region, torch.tensor([REGION[name] for name in names]))


def of_skin(colour: Float[Tensor, "N 3"], plain: Bool[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """Whether a colour has the hue of those of `plain`: lamps behind a cheek do not."""
    if not bool(plain.any()):
        return torch.ones_like(plain)
    hue = colour[:, :2] / colour.sum(-1, keepdim=True).clamp(min=0.03)
    middle = hue[plain].median(0).values
    spread = (hue[plain] - middle).abs().median(0).values
    return ((hue - middle).abs() <= (_HUES * spread).clamp(min=_LEAST_HUE)).all(-1)
