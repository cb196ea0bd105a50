"""A guess at the person's shape before anything is learned: surfaces, where mist would leave depth
open. One camera and a head that turns little say almost nothing about depth; the rig knows."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from likeness.core.errors import BadInput
from likeness.training.adam import Adam

_CLOSE = 0.008  # metres beside a vertex in which a surface is taken to go on
_BESIDE = 0.03  # metres: farther out, the parts about as near as the nearest count
_COLLAR = -0.14  # metres: above, only hair lies outside of the rig's surface
_HAIR = 0.025  # metres that it stands out
_AHEAD = 0.035  # metres that a head's outline lies before the hair beside it
_SOFT = 0.006  # metres in which a guess goes from outside to inside
_POINTS = 8192  # places of one step of shaping
_PART = 1 << 12  # places compared with a surface at a time


def depth_inside(
    places: Float[Tensor, "X Y Z 3"],
    kept: Bool[Tensor, "X Y Z"],
    surface: Float[Tensor, "V 3"] | None,
    normals: Float[Tensor, "V 3"] | None,
    hair: Float[Tensor, "X Y Z"] | None = None,
) -> Float[Tensor, "X Y Z"]:
    """How far inside of the person places (in the frame of the head, z towards the eye) are thought
    to lie, in metres; negative outside.

    Within the hull `kept`, that is inside of the surface; beside it, no farther out than hair is
    thick and not before its outline; and below the collar, where clothes hide it, anything as far
    back as the neck. `hair` is the same of hair that hangs beside head
    and neck, NaN where there is none (see training.tresses).
    """
    cell = float((places[0, 0, 1] - places[0, 0, 0]).norm())
    shrunk = (-F.max_pool3d(-kept.float()[None, None], 3, 1, 1)[0, 0] > 0).flatten()
    deep = torch.full((kept.numel(),), -cell)
    if surface is None or normals is None:
        return torch.where(shrunk, cell, deep).view(kept.shape)
    rows = kept.flatten().nonzero()[:, 0]
    points = places.reshape(-1, 3)[rows]
    skin, away = (
        torch.cat(x) for x in zip(*(_signed(p, surface, normals) for p in points.split(_PART)))
    )
    columns, which = torch.unique(points[:, :2], dim=0, return_inverse=True)
    front = torch.cat([_beside(part, surface) for part in columns.split(_PART)])[which]
    dressed = points[:, 1] < _COLLAR
    beside = torch.where(dressed, torch.inf, _HAIR - away)
    around = torch.minimum(front - points[:, 2], beside)
    if hair is not None:
        hangs = hair.flatten()[rows]
        around = torch.where(hangs.isfinite() & ~dressed, hangs, around)
    around = torch.where(shrunk[rows], around, -cell)
    whole = deep.index_put((rows,), skin).view(kept.shape)
    hollow = enclosed(whole > 0) & (whole <= 0)
    skin = torch.where(hollow, cell, whole).flatten()[rows]
    deep[rows] = torch.maximum(skin, around)
    return deep.view(kept.shape)


def enclosed(inside: Bool[Tensor, "X Y Z"]) -> Bool[Tensor, "X Y Z"]:
    """What lies behind something and before something, seen along z: a head is solid, whatever
    hollows a rig has behind eyes and lips."""
    count = inside.int().cumsum(-1)
    return (count > 0) & (count < count[..., -1:] + inside.int())


def _signed(
    points: Float[Tensor, "N 3"], surface: Float[Tensor, "V 3"], normals: Float[Tensor, "V 3"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """How far inside of a surface points lie, and how far from it."""
    away, nearest = torch.cdist(points, surface).min(-1)
    inside = ((surface[nearest] - points) * normals[nearest]).sum(-1)
    return torch.where(inside > 0, away, -away), away


def _beside(columns: Float[Tensor, "N 2"], surface: Float[Tensor, "V 3"]) -> Float[Tensor, " N"]:
    """Where hair and clothes beside a surface begin along z, at places x, y. Nowhere before it:
    what covers the skin there has to grow while training."""
    z = surface[:, 2]
    away = torch.cdist(columns, surface[:, :2])
    outline = torch.where(away.amin(-1) < _CLOSE, -torch.inf, z[away.argmin(-1)] - _AHEAD)
    scale = columns.new_tensor([1.0, 2.0])  # the same height counts for more than the same side
    apart = torch.cdist(columns * scale, surface[:, :2] * scale)
    level = apart < apart.amin(-1, keepdim=True) + _BESIDE
    shoulder = torch.where(level, z, -torch.inf).amax(-1)
    return torch.where(columns[:, 1] > _COLLAR, outline, shoulder)


def shape_density(
    raw: Callable[[Float[Tensor, "N 3"]], Float[Tensor, " N"]],
    parameters: Sequence[Tensor],
    inside: Float[Tensor, "X Y Z"],
    kept: Bool[Tensor, "X Y Z"],
    bounds: tuple[float, float],
    generator: Generator,
    steps: int,
    rate: float = 1e-2,
) -> None:
    """Teach a field what its raw density should be at places of the unit cube in `kept` cells:
    `bounds[1]` inside of a guessed shape, `bounds[0]` outside. `inside` are the metres, of the
    grid's vertices."""
    if not bool(kept.any()):
        raise BadInput("The mattes leave no place for a head. Check the track, or set carve=false.")
    optimizer = Adam([{"params": list(parameters)}], lr=rate, betas=(0.9, 0.99), eps=1e-15)
    for _ in range(steps):
        draws = torch.rand((_POINTS, 4), generator=generator)
        places, wanted = guessed(inside, kept, bounds, draws)
        optimizer.zero_grad(set_to_none=True)
        (raw(places) - wanted).square().mean().backward()
        optimizer.step()


@torch.no_grad()
def guessed(
    inside: Float[Tensor, "X Y Z"],
    kept: Bool[Tensor, "X Y Z"],
    bounds: tuple[float, float],
    draws: Float[Tensor, "N 4"],
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"]]:
    """Places of the unit cube in `kept` cells, and the raw densities thought to be there, for
    numbers in [0, 1): the first of each chooses a cell, the others a place within it."""
    rows = kept.nonzero()
    cells = rows[(draws[:, 0] * len(rows)).long()]
    places = (cells + draws[:, 1:] - 0.5) / (torch.tensor(kept.shape, device=kept.device) - 1)
    at = (2 * places - 1).flip(-1)[None, None, None]
    metres = F.grid_sample(inside[None, None], at, padding_mode="border", align_corners=True)
    wanted = bounds[0] + (metres.flatten() / _SOFT).clamp(0, 1) * (bounds[1] - bounds[0])
    return places.clamp(0, 1), wanted
