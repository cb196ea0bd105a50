"""A texture for a surface, out of pictures of the avatar from several sides."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from likeness.core.avatar import HasDensity
from likeness.core.camera import Camera, project, to_camera
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, transform
from likeness.core.regions import REGION
from likeness.exporters.surface import Skinned, vertex_normals
from likeness.exporters.texture_fill import Sight, agreed, completed, padded
from likeness.exporters.texture_views import View, views
from likeness.ops.mesh import Raster, interpolate, rasterise

INSIDE = ("eyes", "irises", "mouth", "teeth", "tongue")
"""Regions that show through openings; expressions which open them are looked at for these."""
_EYES = INSIDE[:2]
_BEHIND, _CLOSE_BEHIND = 0.006, 0.0025  # metres behind what hides it that a point is still seen;
# the second for what lies inside, where lips and lids are nearer than that
_RIM, _LID_RIM = 5, 9  # pixels around the outline of something before it, and of lids, in which
# what is behind is not trusted
_EDGE_ON = 0.15  # cosine to the eye below which a surface is not looked at
_MOST, _VOLUME = 768, 400  # pixels of a picture; volumes take long to draw and hold less detail
_SOLID = 0.8  # opacity below which a pixel says nothing of the surface


def bake(
    avatar: Any, surface: Skinned, rest: Expression, size: int = 1024, pixels: int | None = None
) -> Float[Tensor, "S S 3"]:
    """The colour at each texel, averaged over views by how squarely and surely each sees it.

    `rest` says where the head is. Eyes, teeth and mouth are also looked at in expressions that show
    them. What no view sees is completed from what is seen of the same region nearby, and inside the
    mouth in that region's own colour. Pictures of `pixels` a side are taken; as the texture needs
    unless given.
    """
    texels, labels = atlas(surface, size)
    where = texels.mask.flatten().nonzero()[:, 0]
    parts = _Parts(*(_among(labels, names) for names in (INSIDE, _EYES)))
    seen = []
    for view in views(avatar, surface, rest, pixels or _pixels(avatar, size)):
        picture = avatar.render(view.camera, view.expression)
        mesh = surface.at(view.expression.coefficients)
        world = transform(view.expression.world_from_head, mesh.vertices)
        normals = vertex_normals(world, surface.triangles, surface.source)
        both = torch.cat([world, normals], -1)
        at = interpolate(texels, both, surface.triangles).flatten(0, 1)[where]
        seen.append(_seen(picture, view, world, surface.triangles, at, parts))
    colour, sure = agreed(seen, len(where))
    places = interpolate(texels, surface.vertices, surface.triangles).flatten(0, 1)[where]
    whole = torch.zeros(size * size, 3)
    whole[where] = completed(colour, sure, places, labels)
    return padded(whole.view(size, size, 3), texels.mask)


def _pixels(avatar: Any, size: int) -> int:
    most = _VOLUME if isinstance(avatar, HasDensity) else _MOST
    return min(max(3 * size // 4, 192), most)


@dataclass(frozen=True, eq=False)
class _Parts:
    """Which texels lie inside, and which of those on eyeballs."""

    inside: Bool[Tensor, " N"]
    eyes: Bool[Tensor, " N"]


def _among(labels: Tensor, names: tuple[str, ...]) -> Bool[Tensor, " N"]:
    return torch.isin(labels, torch.tensor([REGION[name] for name in names]))


def atlas(surface: Skinned, size: int) -> tuple[Raster, Int[Tensor, " N"]]:
    """The surface laid flat, and the region of each of its N texels in their order.

    Where triangles overlap there, such as the rims of ears that reach from the front's island over
    to the back's, the least stretched one has the texel.
    """
    camera = Camera(torch.eye(3), torch.eye(4), size, size)
    flat, solid = surface.uv[surface.triangles], surface.vertices[surface.triangles]
    longest = [(x - x.roll(1, 1)).norm(dim=-1).amax(1) for x in (flat, solid)]
    rank = (longest[0] / longest[1].clamp(min=1e-6)).argsort().argsort()
    depth = (1 + rank / len(rank)).view(-1, 1, 1).expand(-1, 3, 1)
    sheet = torch.cat([flat * size * depth, depth], -1).view(-1, 3)
    texels = rasterise(camera, sheet, torch.arange(len(sheet)).view(-1, 3))
    corners = surface.triangles[texels.seen[texels.mask]]
    nearest = texels.weights[texels.mask].argmax(-1, keepdim=True)
    return texels, surface.regions[corners.gather(1, nearest)[:, 0]]


def _seen(
    picture: Any,
    view: View,
    world: Float[Tensor, "V 3"],
    triangles: Int[Tensor, "F 3"],
    at: Float[Tensor, "N 6"],
    parts: _Parts,
) -> Sight:
    """What one picture shows of points with normals, and how much to trust that."""
    camera = view.camera
    eye = invert_rigid(camera.camera_from_world)[:3, 3]
    weight = torch.where(parts.inside, view.inside, view.weight)
    square = (torch.nn.functional.normalize(eye - at[:, :3], dim=-1) * at[:, 3:]).sum(-1)
    which = ((square > _EDGE_ON) & (weight > 0)).nonzero()[:, 0]
    points, inside, eyes = at[which, :3], parts.inside[which], parts.eyes[which]
    depth = rasterise(camera, world, triangles).depth.float()
    xy, z = project(camera, points), to_camera(camera, points)[:, 2]
    column, row = (xy[:, k].long().clamp(0, n - 1) for k, n in enumerate(_size(camera)))
    hidden_from = torch.where(
        eyes, _before(depth, _LID_RIM)[row, column], _before(depth, _RIM)[row, column]
    ) + torch.where(inside, _CLOSE_BEHIND, _BEHIND)
    framed = ((xy >= 0) & (xy <= torch.tensor(_size(camera)))).all(-1)
    kept = (framed & (z < hidden_from)).nonzero()[:, 0]
    which, sampled = which[kept], _sampled(picture, camera, xy[kept])
    solid = ((sampled[:, 3] - _SOLID) / (1 - _SOLID)).clamp(0, 1)
    return Sight(which, sampled[:, :3].clamp(0, 1), weight[which] * solid * square[which] ** 3)


def _sampled(picture: Any, camera: Camera, xy: Float[Tensor, "M 2"]) -> Float[Tensor, "M 4"]:
    """Colour, not premultiplied, and opacity at places in a picture."""
    alpha = picture.alpha.detach().cpu().float()
    straight = picture.rgb.detach().cpu().float() / alpha[..., None].clamp(min=0.05)
    planes = torch.cat([straight, alpha[..., None]], -1).permute(2, 0, 1)[None]
    grid = (2 * xy / torch.tensor(_size(camera)) - 1)[None, None]
    return torch.nn.functional.grid_sample(planes, grid, align_corners=False)[0, :, 0].T


def _size(camera: Camera) -> tuple[int, int]:
    return camera.width, camera.height


def _before(depth: Float[Tensor, "H W"], across: int) -> Float[Tensor, "H W"]:
    """The nearest depth within a square of so many pixels around each."""
    pooled = torch.nn.functional.max_pool2d(-depth[None, None], across, 1, across // 2)
    return -pooled[0, 0]
