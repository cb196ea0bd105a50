"""Surfaces of avatars that learn a volume: cut out of it, or the rig's laid onto the cut."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

from likeness.core.avatar import HasDensity
from likeness.core.errors import BadInput, Unsupported
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, transform
from likeness.core.progress import stage
from likeness.core.regions import REGION
from likeness.core.rig import Mesh
from likeness.exporters.surface import Skinned, skinned
from likeness.ops.surfaces import surface_at
from likeness.ops.wrap import wrap

RESOLUTION = 192
_BLOCK = 1 << 17  # points asked for at a time
_MARGIN = 0.06  # metres around the rig in which its surface is looked for: hair reaches so far
_HELD = ("eyes", "irises", "mouth", "teeth", "tongue")
"""Regions that a volume shows too little of to be moved by it."""
_NEAR, _FAR = 0.012, 0.06  # metres that the surface may be from the tracked face; from the scalp


def surface_of(avatar: Any, rest: Expression, level: float) -> Skinned:
    """The avatar's surface for mesh formats; wrapped where a level of density is given."""
    if level < 0:
        raise BadInput(f"wrap={level:g} is no density: give one above 0, such as 30.")
    surface = skinned(avatar)
    return wrapped(avatar, surface, rest, level, RESOLUTION) if level else surface


def wrapped(
    avatar: Any, surface: Skinned, rest: Expression, level: float, resolution: int
) -> Skinned:
    """`surface` laid onto where the avatar's density passes `level` in the face at `rest`.

    Hair and what else the rig does not know gets its volume; eyes and the inside of the mouth stay
    as they are. What the shapes add is as before. `rest` is on the avatar's device.
    """
    if not isinstance(avatar, HasDensity):
        who = type(avatar).__name__
        raise Unsupported(f"Wrapping needs a volume to wrap the rig onto, and {who} has none.")
    head = rest.world_from_head.cpu()
    world = transform(head, surface.vertices)
    box = torch.stack([world.amin(0) - _MARGIN, world.amax(0) + _MARGIN])
    found, _ = cut(avatar, rest, resolution, level, box)
    if len(found.triangles) == 0:
        raise BadInput(f"No density passes {level:g} per metre around the head. Try a lower level.")
    onto = Mesh(transform(invert_rigid(head), found.vertices.cpu()), found.triangles.cpu())
    rows, back = torch.unique(surface.source, return_inverse=True)  # one vertex for both of a seam
    first = torch.zeros_like(rows).scatter_(0, back, torch.arange(len(back)))
    regions = surface.regions[first]
    reach = torch.where(regions == REGION["scalp"], _FAR, _NEAR)
    reach[torch.isin(regions, torch.tensor([REGION[name] for name in _HELD]))] = 0
    laid = wrap(Mesh(surface.vertices[first], back[surface.triangles]), onto, reach)
    return replace(surface, vertices=laid.vertices[back])


@torch.no_grad()
def cut(
    avatar: HasDensity,
    expression: Expression,
    resolution: int,
    level: float,
    box: Float[Tensor, "2 3"] | None = None,
) -> tuple[Mesh, Float[Tensor, "V 3"]]:
    """The largest piece of the surface where the density passes `level`, and its colours; within
    `box` in the world, where one is given."""
    low, high = avatar.bounds(expression)
    if box is not None:
        low, high = torch.maximum(low, box[0].to(low)), torch.minimum(high, box[1].to(high))
    counts = ((high - low) / (high - low).max() * resolution).round().long().clamp(min=2) + 1
    axes = [
        torch.linspace(float(a), float(b), int(n), device=low.device)
        for a, b, n in zip(low, high, counts)
    ]
    with stage("measuring the volume", len(axes[0])) as bar:
        slices = []
        for x in axes[0]:
            y, z = torch.meshgrid(axes[1], axes[2], indexing="ij")
            points = torch.stack([x.expand_as(y), y, z], -1).reshape(-1, 3)
            slices.append(asked(avatar, points, expression)[0].view(y.shape))
            bar.advance()
    surface = largest_piece(surface_at(torch.stack(slices), level, low, high))
    if len(surface.vertices) == 0:
        return surface, surface.vertices
    return surface, asked(avatar, surface.vertices.to(low), expression)[1]


def asked(avatar: HasDensity, points: Tensor, expression: Expression) -> tuple[Tensor, Tensor]:
    """Density and colour of many points."""
    parts = [avatar.density(block, expression) for block in points.split(_BLOCK)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def largest_piece(surface: Mesh) -> Mesh:
    """The connected piece with the most triangles."""
    if len(surface.triangles) == 0:
        return surface
    triangles = surface.triangles.cpu().numpy()
    edges = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    labels = trimesh.graph.connected_component_labels(edges, len(surface.vertices))
    piece = labels[triangles[:, 0]]
    kept = triangles[piece == np.bincount(piece).argmax()]
    used, renumbered = np.unique(kept, return_inverse=True)
    faces = torch.from_numpy(renumbered.reshape(-1, 3))
    return Mesh(surface.vertices[torch.from_numpy(used)], faces)
