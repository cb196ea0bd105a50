"""`likeness mesh`: an avatar's surface at one expression."""

from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

from likeness.core.avatar import HasDensity, HasMesh
from likeness.core.batching import move
from likeness.core.errors import BadInput, Unsupported
from likeness.core.expression import Expression
from likeness.core.files import atomic
from likeness.core.media import to_bytes
from likeness.core.progress import stage
from likeness.core.rig import Mesh
from likeness.ops.surfaces import surface_at
from likeness.verbs.loading import device_of, open_avatar
from likeness.verbs.moments import at_rest, shape_names, with_settings

_SUFFIXES = (".ply", ".obj", ".glb")
_BLOCK = 1 << 17  # points asked for at a time


def mesh(
    avatar: Path,
    out: Path,
    expression: tuple[str, ...] = (),
    resolution: int = 192,
    level: float = 30.0,
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
        device: "cpu", "cuda", or "auto".
    """
    if Path(out).suffix.lower() not in _SUFFIXES:
        raise BadInput(f"{out} should end in {', '.join(_SUFFIXES)}.")
    if not 8 <= resolution <= 1024 or level <= 0:
        raise BadInput(f"--resolution {resolution} or --level {level} is out of range.")
    where = device_of(device)
    head = open_avatar(avatar, where)
    rest = at_rest(head)
    moment = with_settings(rest, expression, shape_names(rest.rig, len(rest.coefficients)))
    if isinstance(head, HasDensity):
        surface, colour = cut(head, move(moment, where), resolution, level)
    elif isinstance(head, HasMesh):
        surface, colour = move(head.mesh(move(moment, where)), "cpu"), None
    else:
        raise Unsupported(f"{avatar} has neither a volume nor a mesh to write.")
    if len(surface.triangles) == 0:
        raise BadInput(f"No density passes --level {level}. Try a lower level.")
    rotation, shift = moment.world_from_head[:3, :3], moment.world_from_head[:3, 3]
    write_mesh(out, (surface.vertices.cpu() - shift) @ rotation, surface.triangles, colour)


@torch.no_grad()
def cut(
    avatar: HasDensity, expression: Expression, resolution: int, level: float
) -> tuple[Mesh, Float[Tensor, "V 3"]]:
    """The largest piece of the surface where the density passes `level`, and its colours."""
    low, high = avatar.bounds(expression)
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
            slices.append(_asked(avatar, points, expression)[0].view(y.shape))
            bar.advance()
    surface = largest_piece(surface_at(torch.stack(slices), level, low, high))
    if len(surface.vertices) == 0:
        return surface, surface.vertices
    return surface, _asked(avatar, surface.vertices.to(low), expression)[1]


def _asked(avatar: HasDensity, points: Tensor, expression: Expression) -> tuple[Tensor, Tensor]:
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


def write_mesh(
    out: str | Path, vertices: Tensor, triangles: Tensor, colour: Tensor | None = None
) -> None:
    """PLY, OBJ or GLB by the suffix, with vertex colours where there are some."""
    out = Path(out)
    shades = None if colour is None else to_bytes(colour[None])[0]
    made = trimesh.Trimesh(
        vertices.cpu().double().numpy(),
        triangles.cpu().numpy(),
        vertex_colors=shades,
        process=False,
    )
    with atomic(out) as temporary:
        made.export(temporary, file_type=out.suffix.lower().removeprefix("."))
