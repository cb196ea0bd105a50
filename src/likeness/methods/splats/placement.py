"""Where splats begin: evenly over the rig, in a shell where hair may be, and on the shoulders."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from likeness.core.camera import Camera, project
from likeness.core.geometry import invert_rigid, transform
from likeness.core.regions import REGION
from likeness.methods.splats.code import RestPose
from likeness.methods.splats.colours import coloured
from likeness.methods.splats.fringe import HAIR_SPACING, in_fringe, uncovered
from likeness.methods.splats.hair import hair_heights
from likeness.methods.splats.lining import lining
from likeness.methods.splats.looks import Look, sampled
from likeness.methods.splats.placed import (
    Placed,
    at_rest,
    chosen,
    in_world,
    joined,
    riding,
    seen_at,
    stratified,
    turned_to,
    visibility,
)
from likeness.methods.splats.surface import Surface, triangle_areas
from likeness.methods.splats.visible import affordable, gaps

# Splats per area, relative to plain skin.
_DENSITY = {
    "skin": 1.0,
    "brows": 2.0,
    "eyes": 4.0,
    "irises": 6.0,
    "lips": 3.0,
    "mouth": 0.5,
    "teeth": 2.0,
    "tongue": 0.7,
    "hair": 0.0,
    "ears": 0.8,
    "neck": 0.6,
    "clothes": 0.5,
    "scalp": 0.5,
}
_HAIR_DEEP = 0.4  # of its height, below which hair is not filled: nobody sees it
_FRINGE = 0.004  # metres that loose hair stands out beyond
_SKIN_SPACING = (0.0003, 0.006)
_CLOTHES_SPACING = (0.001, 0.008)
_PERSON = 0.9  # of the matte: surely not the backdrop's colour
_BEYOND = 0.04  # of the picture's width that clothes go on outside it
_TOWARDS = 0.1  # cosine from which a pixel tells whether hair grows there
_SPARE = 1.8  # candidates for each splat of rig and hair, of which the seen ones are kept


def place(
    surface: Surface,
    looks: list[Look],
    rest: RestPose,
    camera: Camera,
    budget: int,
    generator: Generator,
) -> Placed:
    """`budget` splats: 55 % on and under the rig, 20 % in the hair shell, 25 % on the shoulders, as
    far as the looks show them. `camera` is that of the frame at rest."""
    hair, shoulders = budget // 5, budget // 4
    rest_torso = rest.head_from_torso
    under = lining(surface, looks, budget, generator)
    rig = budget - hair - shoulders - len(under.corners)
    heights = hair_heights(surface, looks)
    parts = [
        undressed(on_surface(surface, round(_SPARE * rig), generator), looks, surface, rest_torso),
        joined(
            [
                in_hair(surface, looks, heights, round(_SPARE * hair), generator),
                in_fringe(surface, looks, heights, hair // 2, generator),
            ]
        ),
        on_shoulders(surface, looks, rest_torso, shoulders, generator),
    ]
    whole = seen_ones(parts, (rig, hair, shoulders), looks, surface, rest_torso)
    whole = joined([whole, under])
    whole = with_torso(whole, surface, rest, camera)
    return coloured(whole, looks, surface, rest_torso)


def seen_ones(
    parts: list[Placed],
    counts: tuple[int, ...],
    looks: list[Look],
    surface: Surface,
    rest_torso: Tensor,
) -> Placed:
    """So many of each part, seen ones first, each as large as its distance to its neighbours."""
    filled = visibility(joined(parts), looks, surface, rest_torso)
    kept = []
    for part, own, count in zip(
        parts, filled.split([len(p.corners) for p in parts]), counts, strict=True
    ):
        kept.append(chosen(part, affordable(own, min(count, len(own)))))
    for k, limits in enumerate((_SKIN_SPACING, HAIR_SPACING, _CLOTHES_SPACING)):
        kept[k] = replace(kept[k], spacing=gaps(at_rest(kept[k], surface), *limits))
    return joined(kept)


def with_torso(placed: Placed, surface: Surface, rest: RestPose, camera: Camera) -> Placed:
    """Shoulders and neck on the second tile of the atlas, by where they are seen at rest: what
    bends a collar bends the skin beside it."""
    means = at_rest(placed, surface)
    pixels = project(camera, transform(rest.world_from_head, means))
    tile = pixels / pixels.new_tensor([camera.width, camera.height])
    beside = tile.clamp(0, 0.999) + torch.tensor([0.0, 1.0])
    torso = (placed.region == REGION["neck"]) | (placed.region == REGION["clothes"])
    return replace(placed, uv=torch.where(torso[:, None], beside, placed.uv))


def on_surface(surface: Surface, count: int, generator: Generator) -> Placed:
    """Evenly over the rig's skin, eyes and mouth, denser where a portrait is looked at."""
    area = triangle_areas(surface)
    region = surface.regions[surface.triangles].mode(-1).values
    table = torch.zeros(len(REGION))
    for name, value in _DENSITY.items():
        table[REGION[name]] = value
    mass = area * table[region]
    face = stratified(mass, count, generator)
    spacing = (mass.sum() / count / table[region[face]]).sqrt()
    return riding(surface, face, region[face], spacing, generator)


def undressed(placed: Placed, looks: list[Look], surface: Surface, rest_torso: Tensor) -> Placed:
    """Without what lies on the neck but where frames show clothes: a collar goes with the torso."""
    votes = torch.zeros(len(placed.corners))
    for look in looks:
        pixels, _ = seen_at(placed, look, surface, rest_torso)
        votes += sampled(look.clothes[..., None], pixels)[:, 0] / len(looks)
    neck = placed.region == REGION["neck"]
    return chosen(placed, torch.nonzero(~(neck & (votes > 0.5)))[:, 0])


def in_hair(
    surface: Surface,
    looks: list[Look],
    heights: Float[Tensor, " V"],
    count: int,
    generator: Generator,
) -> Placed:
    """In the layer of hair over scalp and ears, kept where most looks' mattes have the person."""
    region = surface.regions[surface.triangles].mode(-1).values
    grows = (region == REGION["scalp"]) | (region == REGION["ears"])
    mass = triangle_areas(surface) * (grows if bool(grows.any()) else 1.0)
    tries = 4 * count
    face = stratified(mass, tries, generator)
    hair = torch.full((tries,), REGION["hair"])
    start = riding(surface, face, hair, torch.zeros(tries), generator)
    stands = heights[start.corners]
    stands = (stands * start.weights).sum(-1)
    height = stands * (_HAIR_DEEP + (1 - _HAIR_DEEP) * torch.rand(tries, generator=generator))
    height = height + _FRINGE * torch.rand(tries, generator=generator)
    flat = torch.zeros(tries)
    start = replace(start, offset=torch.stack([flat, flat, height], -1))
    inside = torch.zeros(tries)
    for look in looks:
        pixels, ahead = seen_at(start, look, surface)
        inside += (sampled(look.alpha[..., None], pixels)[:, 0] * ahead > 0.3).float() / len(looks)
    ears = region[face] == REGION["ears"]
    inside = torch.where(bare(start, ears, looks, surface), 0.0, inside)
    order = torch.argsort((inside < 0.7).float() + 1e-3 * torch.rand(tries, generator=generator))
    kept = chosen(start, order[:count])
    return replace(kept, spacing=gaps(at_rest(kept, surface), *HAIR_SPACING))


def bare(hair: Placed, ears: Tensor, looks: list[Look], surface: Surface) -> Tensor:
    """Whether most frames that look at a place where hair might be see none there. An ear goes as
    a whole: what is behind a bare one is not hidden by hair."""
    none, told = torch.zeros(len(ears)), torch.zeros(len(ears))
    for look in looks:
        if not bool(look.hair.any()):
            continue
        pixels, within = seen_at(hair, look, surface)
        alpha, hairy = sampled(torch.stack([look.alpha, look.hair], -1), pixels).unbind(-1)
        clear = turned_to(hair, look, surface, in_world(hair, look, surface)) > _TOWARDS
        clear &= (alpha > _PERSON) & (within > 0)
        told += clear
        none += clear & (hairy < 0.5)
    found = none > 0.5 * told
    left = surface.template[hair.corners[:, 0], 0] > 0
    for ear in (ears & left, ears & ~left):
        found = found | ear & (none[ear].sum() > 0.5 * told[ear].sum())
    return found


def on_shoulders(
    surface: Surface, looks: list[Look], rest_torso: Tensor, count: int, generator: Generator
) -> Placed:
    """Facing the camera, where mattes show a person whom the head's own splats do not cover:
    clothes on a bust about the throat, all else on a plane through it, behind a chin that comes
    down. They ride on nothing and go with the torso."""
    anchor = transform(invert_rigid(rest_torso), surface.throat()[None])
    share = -(-count // len(looks))
    lips = surface.regions == REGION["lips"]
    found = []
    for look in looks:
        camera_from_torso = look.camera.camera_from_world @ look.world_from_torso
        pixels = reflected(uncovered(look, lips, share, generator), look)
        z = transform(camera_from_torso, anchor)[0, 2].expand(len(pixels))
        k = look.camera.intrinsics
        ray = torch.stack([pixels[:, 0] - k[0, 2], pixels[:, 1] - k[1, 2]], -1) / k.diagonal()[:2]
        away = ray * z[:, None] - transform(camera_from_torso, anchor)[:, :2]
        dressed = sampled(look.clothes[..., None], pixels)[:, 0]
        z = z - dressed * bust(away)
        at = transform(
            invert_rigid(camera_from_torso), torch.cat([ray * z[:, None], z[:, None]], -1)
        )
        found.append(transform(rest_torso, at))
    at = torch.cat(found)[:count]
    spread = (at.amax(0) - at.amin(0))[:2].clamp(min=0.01).prod()
    number = len(at)
    return Placed(
        surface.free.expand(number, 3),
        torch.tensor([1.0, 0.0, 0.0]).expand(number, 3),
        at,
        torch.zeros(number, 2),
        torch.full((number,), REGION["clothes"]),
        torch.zeros(number),
        (0.7 * spread / number).sqrt().expand(number),
        torch.full((number, 3), 0.5),
        torch.ones(number),
    )


def bust(away: Tensor) -> Tensor:
    """Metres that a chest stands out before the throat's middle, at (right, down) from it: a collar
    about the neck, a chest below it, shoulders that fall back."""
    right, down = away.unbind(-1)
    collar = 0.04 * torch.exp(-((right / 0.10) ** 2))
    chest = 0.04 * (down / 0.12).clamp(0, 1) * torch.exp(-((right / 0.16) ** 2))
    back = 0.03 * ((right.abs() - 0.1) / 0.12).clamp(0, 1) ** 2
    return collar + chest - back


def reflected(pixels: Tensor, look: Look) -> Tensor:
    """Every other pixel near the picture's border (but the upper one) thrown beyond it: clothes go
    on there, and come into view when the torso moves."""
    wide, high = look.camera.width, look.camera.height
    x, y = pixels.unbind(-1)
    odd = torch.arange(len(pixels)) % 2 == 1
    near = _BEYOND * wide
    x = torch.where(odd & (x < near), -x, torch.where(odd & (x > wide - near), 2 * wide - x, x))
    y = torch.where(odd & (y > high - near), 2 * high - y, y)
    return torch.stack([x, y], -1)
