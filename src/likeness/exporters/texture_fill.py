"""Texels seen in several pictures brought to one colour, and those that none saw given one."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from torch import Tensor

from likeness.core.regions import REGION

_TONES = {
    "mouth": (0.36, 0.15, 0.14), "teeth": (0.72, 0.68, 0.61), "tongue": (0.55, 0.30, 0.29),
    "eyes": (0.74, 0.71, 0.69), "irises": (0.25, 0.20, 0.17),
}  # of what was never seen  # fmt: skip
_HOLLOW = ("mouth", "teeth", "tongue")  # darker the further back
_SOFT = ("mouth", "tongue")  # of one colour: they slide about behind what is seen of them
_DARKEST, _DEEP = 0.35, 0.045  # of it, this many metres behind the front
_DIFFER = 0.12  # in colour; views that differ by more from the others count little
_SURE = 0.08  # how much trust makes a texel as good as known
_SOURCES, _NEAR, _NEIGHBOURS = 40_000, 0.004, 6
_KNOWN = 0.9  # of that trust
_EVIDENCE = 40  # texels of a region that must be seen to say what colour it has
_WHITE = 0.6  # quantile of brightness from which what is seen of an eyeball is its white
_SKIN = 0.6  # brightness of the skin that the tones above go with
_GREY = 0.5


@dataclass(frozen=True, eq=False)
class Sight:
    """What one picture says: of which texels, their colours, and how much each is to be trusted."""

    which: Int[Tensor, " M"]
    colour: Float[Tensor, "M 3"]
    sure: Float[Tensor, " M"]


def agreed(seen: list[Sight], count: int) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"]]:
    """The colour that pictures agree on for each of `count` texels, and their trust together.

    Twice averaged: in the second round those that differ from the first mean count less, so that
    one with something else before the surface leaves no speckle.
    """
    mean, total = _mean(seen, count)
    closer = []
    for sight in seen:
        away = (sight.colour - mean[sight.which]).square().sum(-1) / _DIFFER**2
        closer.append(replace(sight, sure=sight.sure * torch.exp(-away)))
    refined, kept = _mean(closer, count)
    return torch.where(kept[:, None] > 1e-4, refined, mean), total


def _mean(seen: list[Sight], count: int) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"]]:
    total, colour = torch.zeros(count), torch.zeros(count, 3)
    for sight in seen:
        colour.index_add_(0, sight.which, sight.colour * sight.sure[:, None])
        total.index_add_(0, sight.which, sight.sure)
    return colour / total.clamp(min=1e-9)[:, None], total


def completed(
    colour: Float[Tensor, "N 3"],
    sure: Float[Tensor, " N"],
    places: Float[Tensor, "N 3"],
    labels: Int[Tensor, " N"],
) -> Float[Tensor, "N 3"]:
    """A colour for every texel: its own as far as it is sure, else its region's nearby.

    `places` are metres in the frame of the head at rest. A region that is hardly seen takes a plain
    tone; what lies in the hollow of the mouth gets darker towards the back.
    """
    trust = (sure / _SURE).clamp(0, 1)
    made = colour.clone()
    light = _exposure(colour, trust, labels)
    tones = {REGION[name]: light * torch.tensor(tone) for name, tone in _TONES.items()}
    hollow, soft_ones = [[REGION[name] for name in names] for names in (_HOLLOW, _SOFT)]
    own = [*tones, REGION["scalp"]]
    rest = ~torch.isin(labels, torch.tensor(own))
    groups = [(-1, rest), *((label, labels == label) for label in own)]
    for label, mine in groups:
        if not bool(mine.any()):
            continue
        known, soft = mine & (trust > _KNOWN), label in soft_ones
        mine = mine & (soft | (trust < 1))
        if label in tones and int(known.sum()) < _EVIDENCE:
            guess = tones[label].expand(int(mine.sum()), 3) * _light(places[mine], label in hollow)
        elif label in hollow:
            guess = colour[known].median(0).values * _light(places[mine], True)
        elif label == REGION["eyes"]:  # lashes and shadows lie on what is seen of the white
            bright = colour[known].sum(-1)
            white = colour[known][bright >= bright.quantile(_WHITE)].mean(0)
            guess = (0.5 * (white + tones[label])).expand(int(mine.sum()), 3)
        else:
            guess = _nearby(places, colour, known, mine)
        share = 0 if soft else trust[mine, None]
        made[mine] = guess + share * (colour[mine] - guess)
    return made


def _exposure(colour: Tensor, trust: Tensor, labels: Tensor) -> float:
    """How bright the recording is, by its skin."""
    skin = colour[(labels == REGION["skin"]) & (trust > _KNOWN)]
    return float(skin.mean(-1).median().clamp(0.2, 0.75)) / _SKIN if len(skin) else 1.0


def _light(places: Tensor, hollow: bool) -> Float[Tensor, "N 1"]:
    """What is left of the light, from 1 at the front."""
    if not hollow:
        return torch.ones(len(places), 1)
    depth = (places[:, 2].max() - places[:, 2]) / _DEEP
    return (1 - (1 - _DARKEST) * depth.clamp(0, 1))[:, None]


def _nearby(places: Tensor, colour: Tensor, known: Tensor, mine: Tensor) -> Float[Tensor, "M 3"]:
    """Colours of the nearest known texels in space, blended; grey when none is known."""
    found = known.nonzero()[:, 0]
    if not len(found):
        return torch.full((int(mine.sum()), 3), _GREY)
    found = found[:: max(1, len(found) // _SOURCES)]
    tree: Any = KDTree(places[found].numpy())
    count = min(_NEIGHBOURS, len(found))
    away, index = tree.query(places[mine].numpy(), count, eps=0.3)
    away, index = away.reshape(-1, count), index.reshape(-1, count)
    weight = 1 / (away + _NEAR) ** 2
    weight = torch.from_numpy((weight / weight.sum(1, keepdims=True)).astype(np.float32))
    return (colour[found][torch.from_numpy(index)] * weight[..., None]).sum(1)


def padded(colour: Float[Tensor, "S S 3"], known: Bool[Tensor, "S S"]) -> Float[Tensor, "S S 3"]:
    """Around its islands a texture goes on in the colour of the nearest texel; grey without any."""
    if not bool(known.any()):
        return torch.full_like(colour, _GREY)
    nearest: Any = distance_transform_edt(
        ~known.numpy(), return_distances=False, return_indices=True
    )
    return colour[torch.from_numpy(nearest[0]).long(), torch.from_numpy(nearest[1]).long()]
