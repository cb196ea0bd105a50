"""What all splat formats share: checks, and the axes they are written in."""

import logging
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.avatar import HasSplats, Splats
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import quaternion_multiply
from likeness.ops.harmonics import spherical_harmonics

_log = logging.getLogger(__name__)


def posed(avatar: HasSplats, expression: Expression) -> Splats:
    """The avatar's splats on the CPU; those that are not finite are left out, with a warning."""
    return finite(avatar.splats(expression))


def finite(splats: Splats) -> Splats:
    splats = Splats(*(getattr(splats, n).detach().cpu().float() for n in _FIELDS))
    good = torch.ones(len(splats.means), dtype=torch.bool)
    for name in _FIELDS:
        good &= torch.isfinite(getattr(splats, name).view(len(good), -1)).all(1)
    if not bool(good.any()):
        raise BadInput("None of the avatar's splats is finite. Training went astray: fit again.")
    if not bool(good.all()):
        _log.warning("%d splats are not finite and were left out.", int((~good).sum()))
        splats = Splats(*(getattr(splats, n)[good] for n in _FIELDS))
    degree_of(splats)
    return splats


_FIELDS = ("means", "rotation", "scale", "opacity", "harmonics")


def degree_of(splats: Splats) -> int:
    """The degree of the spherical harmonics, 0 to 3."""
    rows = splats.harmonics.shape[1]
    degree = round(rows**0.5) - 1
    if (degree + 1) ** 2 != rows or not 0 <= degree <= 3:
        raise BadInput(f"{rows} rows of harmonics are no whole degree from 0 to 3.")
    return degree


def turned_over(splats: Splats) -> Splats:
    """Half a turn about x: from y up, z towards us, to y down, z away, and back."""
    flip = torch.tensor([1.0, -1.0, -1.0])
    half = torch.tensor([0.0, 1.0, 0.0, 0.0])
    rotation = quaternion_multiply(half.expand_as(splats.rotation), splats.rotation)
    signs = harmonic_signs(degree_of(splats), flip)
    return replace(
        splats,
        means=splats.means * flip,
        rotation=rotation,
        harmonics=splats.harmonics * signs[:, None],
    )


def harmonic_signs(degree: int, flip: Float[Tensor, " 3"]) -> Float[Tensor, " H"]:
    """How each harmonic changes sign when axes are mirrored by `flip` (entries 1 or -1)."""
    somewhere = torch.nn.functional.normalize(torch.tensor([0.3, 0.5, 0.8]), dim=0)
    here = spherical_harmonics(somewhere, degree)
    there = spherical_harmonics(somewhere * flip, degree)
    return torch.sign(here * there)
