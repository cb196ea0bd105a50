"""Loose hair: what stands out beyond the layer on the scalp, or hangs beside a neck."""

from dataclasses import replace

import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Generator, Tensor

from likeness.core.camera import project
from likeness.core.geometry import invert_rigid, transform
from likeness.core.regions import REGION
from likeness.methods.splats.looks import Look, sampled
from likeness.methods.splats.placed import Placed, at_rest, stratified
from likeness.methods.splats.surface import Surface
from likeness.methods.splats.visible import gaps
from likeness.ops.carry import triangle_axes
from likeness.ops.shading import vertex_normals

HAIR_SPACING = (0.001, 0.006)
"""Metres between splats of the hair."""
_AWAY, _STEPS = 0.08, 9  # metres before and behind where hair grows, and how many depths are tried
_LOOSE = 0.015  # metres beyond the layer of hair, above the mouth
_SIDEWAYS = 0.35  # cosine to the view below which a vertex lies at the outline
_FEW = 40  # vertices
_AGREED = 0.1  # of the looks that a depth may be worse than the best


def in_fringe(
    surface: Surface,
    looks: list[Look],
    heights: Float[Tensor, " V"],
    count: int,
    generator: Generator,
) -> Placed:
    """Where mattes show a person above the mouth whom no vertex of the head covers, not far beyond
    the `heights` of hair there, or hair below the mouth. Each splat rides on the nearest place
    where hair grows."""
    grows = torch.isin(surface.regions, torch.tensor([REGION["scalp"], REGION["ears"]]))
    own = grows[surface.triangles].all(-1).nonzero()[:, 0]
    if not len(own):
        own = torch.arange(len(surface.triangles))
    lips = surface.regions == REGION["lips"]
    share = -(-count // len(looks))
    places = []
    for look in looks:
        pixels = uncovered(look, lips, share, generator, above=True)
        if len(pixels):
            at = _deep(pixels, look, looks, surface.triangles[own, 0], surface.triangles)
            places.append(at)
    place = torch.cat([*places, torch.zeros(0, 3)])[:count]
    rests = surface.template[surface.triangles[own, 0]]
    gap, found = KDTree(rests.numpy()).query(place.numpy())
    nearest = torch.from_numpy(found).long()
    near = torch.from_numpy(gap) < heights[surface.triangles[own[nearest], 0]] + _LOOSE
    hangs = place[:, 1] < surface.template[lips, 1].amin() if bool(lips.any()) else near
    place, nearest = place[near | hangs], nearest[near | hangs]
    number = len(place)
    corners = surface.triangles[own[nearest]]
    axes = triangle_axes(surface.template[corners])
    away = place - surface.template[corners[:, 0]]
    hair = torch.full((number,), REGION["hair"])
    weights = torch.tensor([1.0, 0.0, 0.0]).expand(number, 3)
    corner_uv = torch.zeros(len(surface.template), 2)
    corner_uv[surface.triangles.flatten()] = surface.uv[surface.uv_triangles.flatten()]
    uv = corner_uv[corners[:, 0]]
    follow = surface.follows_head[corners[:, 0]]
    grey = torch.full((number, 3), 0.5)
    offset = (axes.mT @ away[..., None])[..., 0]
    placed = Placed(corners, weights, offset, uv, hair, follow, follow, grey, follow)
    return replace(placed, spacing=gaps(at_rest(placed, surface), *HAIR_SPACING))


def _deep(
    pixels: Float[Tensor, "N 2"],
    look: Look,
    looks: list[Look],
    first: Tensor,
    triangles: Tensor,
) -> Float[Tensor, "N 3"]:
    """Where in the head's frame pixels of one look are: near the depth of the outline beside them,
    where most looks have a person, and of such places at the nearest to where hair grows. Where
    all depths are alike to them, mirrored looks say which: heads are nearly the same on both sides,
    and clips often show one side alone."""
    camera_from_head = look.camera.camera_from_world @ look.world_from_head
    around = transform(camera_from_head, look.vertices[first])
    k = look.camera.intrinsics
    at = around @ k.T
    outline = _outline(look, first, triangles)
    own = outline if len(outline) >= _FEW else torch.arange(len(at))
    nearest = own[KDTree((at[own, :2] / at[own, 2:]).numpy()).query(pixels.numpy())[1]]
    ray = torch.cat([pixels, torch.ones_like(pixels[:, :1])], -1) @ torch.linalg.inv(k).T
    tried = torch.linspace(-_AWAY, _AWAY, _STEPS)
    depth = around[nearest, 2, None] + tried
    places = transform(
        invert_rigid(camera_from_head), (ray[:, None] * depth[..., None]).reshape(-1, 3)
    )
    seen, turned = (
        _inside(places * places.new_tensor([side, 1.0, 1.0]), looks).view(-1, _STEPS)
        for side in (1.0, -1.0)
    )
    told = seen.amax(-1, keepdim=True) - seen.amin(-1, keepdim=True) > _AGREED
    inside = torch.where(told, seen, seen + turned)
    fine = inside >= inside.amax(-1, keepdim=True) - _AGREED
    grown, _ = KDTree(look.vertices[first].numpy()).query(places.numpy())
    away = torch.from_numpy(grown).view(-1, _STEPS)
    best = torch.where(fine, away, torch.inf).argmin(-1)
    return places.view(-1, _STEPS, 3)[torch.arange(len(pixels)), best]


def _inside(places: Float[Tensor, "N 3"], looks: list[Look]) -> Float[Tensor, " N"]:
    """The share of looks that have a person at places of the head's frame."""
    inside = torch.zeros(len(places))
    for look in looks:
        seen = project(look.camera, transform(look.world_from_head, places))
        inside += sampled(look.alpha[..., None], seen)[:, 0] / len(looks)
    return inside


def _outline(look: Look, first: Tensor, triangles: Tensor) -> Tensor:
    """Which of these vertices the camera sees from a side: there the head curves out of sight."""
    normals = vertex_normals(look.vertices, triangles)[first]
    eye = invert_rigid(look.camera.camera_from_world @ look.world_from_head)[:3, 3]
    view = torch.nn.functional.normalize(eye - look.vertices[first], dim=-1)
    return torch.nonzero((view * normals).sum(-1).abs() < _SIDEWAYS)[:, 0]


def uncovered(
    look: Look, lips: Tensor, count: int, generator: Generator, above: bool = False
) -> Tensor:
    """Pixels of the matte below (or above) the mouth, mostly farther than a little from every
    vertex of the head, as (x, y). What stands out above the mouth is hair."""
    height, width = look.alpha.shape
    at = project(look.camera, transform(look.world_from_head, look.vertices)).long()
    mouth = int(at[lips, 1].max().clamp(0, height - 1))
    head = torch.zeros(1, 1, height, width)
    ok = (at[:, 0] >= 0) & (at[:, 0] < width) & (at[:, 1] >= 0) & (at[:, 1] < height)
    head[0, 0, at[ok, 1], at[ok, 0]] = 1
    reach = 2 * (width // 50) + 1
    head = torch.nn.functional.max_pool2d(head, reach, 1, reach // 2)[0, 0]
    rows = torch.arange(height)
    side = (rows < mouth if above else rows >= mouth).float()[:, None]
    if not above:  # clothes are no part of the head, wherever its neck may lie
        head = head * (1 - look.clothes)
    mass = look.alpha * (1 - (1.0 if above else 0.9) * head) * side
    if bool(look.hair.any()):
        if above:  # nor does a lamp that the matte took for a person; and what hangs beside a neck
            mass = mass * look.hair + look.alpha * look.hair * (1 - side)
        else:
            mass = mass * (1 - look.hair)
    mass = mass.flatten()
    if float(mass.sum()) < 1:
        if above:
            return torch.zeros(0, 2)
        mass = torch.ones_like(mass)
    pick = stratified(mass, count, generator)
    jitter = torch.rand(count, 2, generator=generator)
    return torch.stack([pick % width, pick // width], -1) + jitter
