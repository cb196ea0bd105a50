"""`likeness mesh`: an avatar's surface at one expression."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.core.avatar import HasDensity, HasMesh
from likeness.core.batching import move
from likeness.core.errors import BadInput, Unsupported
from likeness.core.expression import Expression
from likeness.core.geometry import transform
from likeness.core.rig import Mesh
from likeness.exporters.glb import resting
from likeness.exporters.motion import moment
from likeness.exporters.plain_mesh import SUFFIXES, write_plain_mesh
from likeness.exporters.surface import skinned
from likeness.exporters.volumes import RESOLUTION, asked, cut, wrapped
from likeness.verbs.export import note_of
from likeness.verbs.loading import device_of, open_avatar
from likeness.verbs.moments import at_rest, shape_names, with_settings


def mesh(
    avatar: Path,
    out: Path,
    expression: tuple[str, ...] = (),
    resolution: int = RESOLUTION,
    level: float = 30.0,
    wrap: bool = False,
    device: str = "auto",
) -> None:
    """Write an avatar's surface in metres, in the frame of its head.

    Volumes are cut where their density passes a level (marching cubes, vertex colours, the largest
    piece); avatars that ride on a mesh give that.

    Args:
        avatar: The avatar folder.
        out: A .ply, .obj or .glb file.
        expression: Coefficients by name, such as jawOpen=0.4.
        resolution: Cells along the longest side of the volume.
        level: The density, per metre, that counts as surface.
        wrap: Lay the rig's mesh, with its own vertices and triangles, onto the surface of a volume.
        device: "cpu", "cuda", or "auto".
    """
    if Path(out).suffix.lower() not in SUFFIXES:
        raise BadInput(f"{out} should end in {', '.join(SUFFIXES)}.")
    if not 8 <= resolution <= 1024 or level <= 0:
        raise BadInput(f"--resolution {resolution} or --level {level} is out of range.")
    where = device_of(device)
    head = open_avatar(avatar, where)
    rest = at_rest(head)
    now = with_settings(rest, expression, shape_names(rest.rig, len(rest.coefficients)))
    if wrap:
        surface, colour = _wrapped(head, move(rest, where), now.coefficients, resolution, level)
    elif isinstance(head, HasDensity):
        surface, colour = cut(head, move(now, where), resolution, level)
    elif isinstance(head, HasMesh):
        surface, colour = move(head.mesh(move(now, where)), "cpu"), None
    else:
        raise Unsupported(f"{avatar} has neither a volume nor a mesh to write.")
    if len(surface.triangles) == 0:
        raise BadInput(f"No density passes --level {level}. Try a lower level.")
    rotation, shift = now.world_from_head[:3, :3], now.world_from_head[:3, 3]
    vertices = (surface.vertices.cpu() - shift) @ rotation
    write_plain_mesh(Path(out), Mesh(vertices, surface.triangles.cpu()), note_of(avatar), colour)


@torch.no_grad()
def _wrapped(
    head: Any, rest: Expression, coefficients: Tensor, resolution: int, level: float
) -> tuple[Mesh, Tensor]:
    """The rig's surface laid onto the volume of the face at rest, shaped after that: where it lies
    in the world, and the colours of the volume there."""
    still = resting(moment(rest))
    surface = skinned(head)
    laid = wrapped(head, surface, still, level, resolution)
    at = transform(still.world_from_head.cpu(), laid.vertices)
    colour = asked(head, at.to(still.world_from_head), still)[1]
    mesh = laid.at(coefficients)
    return Mesh(transform(still.world_from_head.cpu(), mesh.vertices), mesh.triangles), colour.cpu()
