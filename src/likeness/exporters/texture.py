"""A texture for a surface, out of pictures of the avatar from several sides."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from likeness.core.camera import Camera, pinhole, project, to_camera
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, look_at, transform
from likeness.exporters.surface import Skinned, vertex_normals
from likeness.ops.mesh import interpolate, rasterise

_TURNS = ((0, 0), (35, 0), (-35, 0), (65, 0), (-65, 0), (0, 25), (0, -20))  # yaw, pitch, degrees
_BEHIND = 0.006  # metres a point may lie behind what the camera sees and still be seen
_FIELD, _DISTANCE = 0.36, 0.9
_GREY = 0.5


@dataclass(frozen=True, eq=False)
class View:
    camera: Camera
    expression: Expression
    weight: float


def bake(
    avatar: Any, surface: Skinned, rest: Expression, size: int = 1024, pixels: int = 768
) -> Float[Tensor, "S S 3"]:
    """The colour at each texel, averaged over views by how squarely and surely each sees it.

    `rest` says where the head is. The inside of the mouth is looked at with the jaw open. Texels
    no view sees take the colour of the nearest that one does.
    """
    camera = Camera(torch.eye(3), torch.eye(4), size, size)
    flat = surface.uv * size
    sheet = torch.cat([flat, torch.ones(len(flat), 1)], -1)
    texels = rasterise(camera, sheet, surface.triangles)
    total, weights = torch.zeros(size * size, 3), torch.zeros(size * size)
    where = texels.mask.flatten().nonzero()[:, 0]
    for view in views(surface, rest, pixels):
        picture = avatar.render(view.camera, view.expression)
        head = view.expression.world_from_head
        mesh = surface.at(view.expression.coefficients)
        world = transform(head, mesh.vertices)
        normals = vertex_normals(world, surface.triangles, surface.source)
        at = interpolate(texels, torch.cat([world, normals], -1)).flatten(0, 1)[where]
        colour, sure = _seen(picture, view, world, surface.triangles, at[:, :3], at[:, 3:])
        total[where] += colour * sure[:, None]
        weights[where] += sure
    known = (weights > 1e-3).view(size, size)
    found = (total / weights.clamp(min=1e-3)[:, None]).view(size, size, 3).clamp(0, 1)
    return filled(found, known)


def views(surface: Skinned, rest: Expression, pixels: int) -> list[View]:
    head = rest.world_from_head
    target = transform(head, torch.tensor([[0.0, -0.03, -0.07]]))[0]
    made = []
    for yaw, pitch in _TURNS:
        a, b = np.radians(yaw), np.radians(pitch)
        aside = torch.tensor(
            [np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)], dtype=torch.float32
        )
        eye = target + _DISTANCE * (head[:3, :3] @ aside)
        pose = look_at(eye, target, head[:3, 1])
        camera = pinhole(pixels * _DISTANCE / _FIELD, pixels, pixels, pose)
        made.append(View(camera, rest, 1.0))
    if "jawOpen" in surface.names:
        coefficients = rest.coefficients.clone()
        coefficients[surface.names.index("jawOpen")] = 0.6
        made.append(View(made[0].camera, replace(rest, coefficients=coefficients), 0.02))
    return made


def _seen(
    picture: Any, view: View, world: Tensor, triangles: Tensor, points: Tensor, normals: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours of points in one picture, and how much to trust them."""
    camera = view.camera
    depth = rasterise(camera, world, triangles).depth.float()
    alpha = picture.alpha.detach().cpu().float()
    straight = picture.rgb.detach().cpu().float() / alpha[..., None].clamp(min=0.05)
    xy, z = project(camera, points), to_camera(camera, points)[:, 2]
    planes = torch.cat([straight, alpha[..., None]], -1).permute(2, 0, 1)[None]
    scale = torch.tensor([2 / camera.width, 2 / camera.height])
    grid = (xy * scale - 1)[None, None]
    sampled = torch.nn.functional.grid_sample(planes, grid, align_corners=False)[0, :, 0].T
    column = xy[:, 0].long().clamp(0, camera.width - 1)
    row = xy[:, 1].long().clamp(0, camera.height - 1)
    inside = (grid[0, 0].abs() <= 1).all(-1)
    visible = inside & (z < depth[row, column] + _BEHIND) & (sampled[:, 3] > 0.8)
    eye = invert_rigid(camera.camera_from_world)[:3, 3]
    towards = torch.nn.functional.normalize(eye - points, dim=-1)
    square = (towards * normals).sum(-1).clamp(min=0)
    return sampled[:, :3], view.weight * visible * square**3


def filled(colour: Float[Tensor, "S S 3"], known: Tensor) -> Float[Tensor, "S S 3"]:
    """Every texel that is not known takes the nearest one's colour; grey when none is known."""
    if not bool(known.any()):
        return torch.full_like(colour, _GREY)
    nearest: Any = distance_transform_edt(
        ~known.numpy(), return_distances=False, return_indices=True
    )
    return colour[torch.from_numpy(nearest[0]).long(), torch.from_numpy(nearest[1]).long()]
