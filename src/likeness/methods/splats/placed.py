"""Splats of a start, and where they are in the frames that were looked at."""

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from likeness.core.camera import project
from likeness.core.geometry import invert_rigid, transform
from likeness.core.regions import REGION
from likeness.methods.splats.looks import Look
from likeness.methods.splats.surface import Surface
from likeness.methods.splats.visible import shown
from likeness.ops.carry import carry


@dataclass(frozen=True, eq=False)
class Placed:
    """A start: which triangle, where on it, how far off it, in which colour and size."""

    corners: Tensor
    weights: Tensor
    offset: Tensor
    uv: Tensor
    region: Tensor
    follow: Tensor
    spacing: Tensor
    colour: Tensor
    facing: Tensor


def chosen(placed: Placed, index: Tensor) -> Placed:
    return Placed(*(getattr(placed, f.name)[index] for f in fields(Placed)))


def joined(parts: list[Placed]) -> Placed:
    return Placed(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Placed)))


def at_rest(placed: Placed, surface: Surface) -> Tensor:
    """Where splats are in the frame of the head, the face at rest."""
    turn = torch.tensor([1.0, 0, 0, 0]).expand(len(placed.corners), 4)
    vertices = surface.with_free(surface.template)
    return carry(vertices, placed.corners, placed.weights, placed.offset, turn)[0]


def in_world(
    placed: Placed, look: Look, surface: Surface, rest_torso: Tensor | None = None
) -> Tensor:
    """Where splats are in a look; all with the head, unless the torso's rest is given."""
    turn = torch.tensor([1.0, 0, 0, 0]).expand(len(placed.corners), 4)
    vertices = surface.with_free(look.vertices)
    means, _ = carry(vertices, placed.corners, placed.weights, placed.offset, turn)
    world = transform(look.world_from_head, means)
    if rest_torso is None:
        return world
    torso = transform(look.world_from_torso @ invert_rigid(rest_torso), means)
    return torso + placed.follow[:, None] * (world - torso)


def seen_at(
    placed: Placed, look: Look, surface: Surface, rest_torso: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Pixels the splats fall on in a look, and 1 for those inside the picture."""
    pixels = project(look.camera, in_world(placed, look, surface, rest_torso))
    size = pixels.new_tensor([look.camera.width, look.camera.height])
    return pixels, ((pixels > 0) & (pixels < size)).all(-1).float()


def turned_to(placed: Placed, look: Look, surface: Surface, world: Tensor) -> Tensor:
    """Cosine between the surface a splat rides on and where the camera is; 1 for clothes."""
    vertices = transform(look.world_from_head, surface.with_free(look.vertices))
    a, b, c = vertices[placed.corners.T]
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    eye = invert_rigid(look.camera.camera_from_world)[:3, 3]
    cosine = (torch.nn.functional.normalize(eye - world, dim=-1) * normal).sum(-1)
    return torch.where(placed.region == REGION["clothes"], torch.ones(()), cosine)


def visibility(placed: Placed, looks: list[Look], surface: Surface, rest_torso: Tensor) -> Tensor:
    """Pixels each splat fills in the look that shows it best."""
    most = torch.zeros(len(placed.corners))
    for look in looks:
        world = in_world(placed, look, surface, rest_torso)
        most = torch.maximum(most, shown(look.camera, world, placed.spacing))
    return most


def riding(
    surface: Surface, face: Tensor, region: Tensor, spacing: Tensor, generator: Generator
) -> Placed:
    """One splat on each of these triangles, anywhere on it, grey."""
    u = torch.rand(len(face), 2, generator=generator)
    u = torch.where(u.sum(-1, keepdim=True) > 1, 1 - u, u)
    weights = torch.stack([1 - u.sum(-1), u[:, 0], u[:, 1]], -1)
    uv = (surface.uv[surface.uv_triangles[face]] * weights[..., None]).sum(1)
    corners = surface.triangles[face]
    follow = (surface.follows_head[corners] * weights).sum(-1)
    zero = torch.zeros(len(face), 3)
    return Placed(corners, weights, zero, uv, region, follow, spacing, zero + 0.5, zero[:, 0])


def stratified(mass: Tensor, count: int, generator: Generator) -> Tensor:
    """`count` indices with probability proportional to `mass`, evenly spread along the list."""
    edges = torch.cumsum(mass.double(), 0)
    jitter = torch.rand(count, generator=generator, dtype=torch.float64)
    places = (torch.arange(count, dtype=torch.float64) + jitter) / count * edges[-1]
    return torch.searchsorted(edges, places).clamp(max=len(mass) - 1)
