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

HAIR_SPACING = (0.001, 0.006)
"""Metres between splats of the hair."""
_AWAY, _STEPS = 0.08, 9  # metres before and behind where hair grows, and how many depths are tried
_AGREED = 0.1  # of the looks that a depth may be worse than the best


def in_fringe(surface: Surface, looks: list[Look], count: int, generator: Generator) -> Placed:
    """Where mattes show a person above the mouth whom no vertex of the head covers, or hair below
    it. Each splat rides on the nearest place where hair grows."""
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
            places.append(_deep(pixels, look, looks, surface.triangles[own, 0]))
    place = torch.cat([*places, torch.zeros(0, 3)])[:count]
    number = len(place)
    rests = surface.template[surface.triangles[own, 0]]
    nearest = torch.from_numpy(KDTree(rests.numpy()).query(place.numpy())[1]).long()
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
    pixels: Float[Tensor, "N 2"], look: Look, looks: list[Look], first: Tensor
) -> Float[Tensor, "N 3"]:
    """Where in the head's frame pixels of one look are: at the depth of the vertex beside them, or
    near it where more of the looks have a person. Heads are nearly the same on both sides, so each
    look counts from its mirrored side too: clips often show one side alone."""
    camera_from_head = look.camera.camera_from_world @ look.world_from_head
    around = transform(camera_from_head, look.vertices[first])
    k = look.camera.intrinsics
    at = around @ k.T
    nearest = KDTree((at[:, :2] / at[:, 2:]).numpy()).query(pixels.numpy())[1]
    ray = torch.cat([pixels, torch.ones_like(pixels[:, :1])], -1) @ torch.linalg.inv(k).T
    tried = torch.linspace(-_AWAY, _AWAY, _STEPS)
    depth = around[torch.from_numpy(nearest), 2, None] + tried
    places = transform(
        invert_rigid(camera_from_head), (ray[:, None] * depth[..., None]).reshape(-1, 3)
    )
    inside = torch.zeros(len(places))
    for other in looks:
        for side in (1.0, -1.0):
            turned = places * places.new_tensor([side, 1.0, 1.0])
            seen = project(other.camera, transform(other.world_from_head, turned))
            inside += sampled(other.alpha[..., None], seen)[:, 0] / (2 * len(looks))
    inside = inside.view(-1, _STEPS)
    fine = inside >= inside.amax(-1, keepdim=True) - _AGREED
    best = torch.where(fine, tried.abs(), torch.inf).argmin(-1)
    return places.view(-1, _STEPS, 3)[torch.arange(len(pixels)), best]


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
