"""Where splats begin: evenly over the rig, in a shell where hair may be, and on the shoulders."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Generator, Tensor

from likeness.core.batching import take
from likeness.core.camera import Camera, project, resized
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.geometry import invert_rigid, transform
from likeness.core.regions import REGION
from likeness.core.track import Track
from likeness.methods.splats.code import RestPose
from likeness.methods.splats.surface import Surface
from likeness.ops.carry import carry
from likeness.training.frames import matte_of

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
_HAIR_REACH = 0.06  # metres hair may stand off the scalp
_SAMPLES = 12  # frames looked at to carve and to colour


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


@dataclass(frozen=True, eq=False)
class Look:
    """One training frame, small enough to hold a dozen of: picture, matte, and where things are."""

    camera: Camera
    rgb: Tensor
    alpha: Tensor
    world_from_head: Tensor
    world_from_torso: Tensor
    vertices: Tensor


def look_at_frames(
    capture: Capture, track: Track, surface: Surface, frames: list[int], size: int = 256
) -> list[Look]:
    """Evenly chosen training frames. A frame without a matte ends it: shapes come from mattes."""
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, _SAMPLES).round().astype(int)]
    looks = []
    for index in dict.fromkeys(chosen):
        alpha = needed_matte(capture, track, index)
        rgb = capture[index].rgb
        if alpha.shape != rgb.shape[:2]:
            raise BadInput(
                f"Frame {index} has a {alpha.shape[1]}x{alpha.shape[0]} matte but a "
                f"{rgb.shape[1]}x{rgb.shape[0]} picture. Delete the track to redraw it."
            )
        scale = size / max(rgb.shape[:2])
        width, height = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
        planes = torch.cat([rgb, alpha[..., None]], -1)
        small = torch.nn.functional.interpolate(
            planes.permute(2, 0, 1)[None], (height, width), mode="area"
        )[0].permute(1, 2, 0)
        expression = take(track.expressions, index)
        torso = expression.world_from_torso
        looks.append(
            Look(
                resized(take(track.cameras, index), width, height),
                small[..., :3],
                small[..., 3],
                expression.world_from_head,
                expression.world_from_head if torso is None else torso,
                surface.head_vertices(expression),
            )
        )
    return looks


def needed_matte(capture: Capture, track: Track, index: int) -> Tensor:
    alpha = matte_of(capture, track, index)
    if alpha is None:
        raise BadInput(
            f"Frame {index} of {capture.name!r} has no matte. Run `likeness track` to draw one."
        )
    return alpha


def place(
    surface: Surface,
    looks: list[Look],
    rest: RestPose,
    camera: Camera,
    budget: int,
    generator: Generator,
) -> Placed:
    """`budget` splats: 55 % on the rig, 20 % in the hair shell, 25 % on the shoulders. `camera` is
    that of the frame at rest."""
    hair, shoulders = budget // 5, budget // 4
    rest_torso = rest.head_from_torso
    whole = joined(
        [
            on_surface(surface, budget - hair - shoulders, generator),
            in_hair(surface, looks, hair, generator),
            on_shoulders(surface, looks, rest_torso, shoulders, generator),
        ]
    )
    whole = with_torso(whole, surface, rest, camera)
    return coloured(whole, looks, surface, rest_torso)


def with_torso(placed: Placed, surface: Surface, rest: RestPose, camera: Camera) -> Placed:
    """Shoulders and neck on the second tile of the atlas, by where they are seen at rest: what
    bends a collar bends the skin beside it."""
    vertices = surface.with_free(surface.template)
    turn = torch.tensor([1.0, 0, 0, 0]).expand(len(placed.corners), 4)
    means, _ = carry(vertices, placed.corners, placed.weights, placed.offset, turn)
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
    return _riding(surface, face, region[face], spacing, generator)


def stratified(mass: Tensor, count: int, generator: Generator) -> Tensor:
    """`count` indices with probability proportional to `mass`, evenly spread along the list."""
    edges = torch.cumsum(mass.double(), 0)
    jitter = torch.rand(count, generator=generator, dtype=torch.float64)
    places = (torch.arange(count, dtype=torch.float64) + jitter) / count * edges[-1]
    return torch.searchsorted(edges, places).clamp(max=len(mass) - 1)


def _riding(
    surface: Surface, face: Tensor, region: Tensor, spacing: Tensor, generator: Generator
) -> Placed:
    u = torch.rand(len(face), 2, generator=generator)
    u = torch.where(u.sum(-1, keepdim=True) > 1, 1 - u, u)
    weights = torch.stack([1 - u.sum(-1), u[:, 0], u[:, 1]], -1)
    uv = (surface.uv[surface.uv_triangles[face]] * weights[..., None]).sum(1)
    corners = surface.triangles[face]
    follow = (surface.follows_head[corners] * weights).sum(-1)
    zero = torch.zeros(len(face), 3)
    return Placed(corners, weights, zero, uv, region, follow, spacing, zero + 0.5)


def in_hair(surface: Surface, looks: list[Look], count: int, generator: Generator) -> Placed:
    """In a shell over scalp and ears, kept where every look's matte has the person."""
    region = surface.regions[surface.triangles].mode(-1).values
    grows = (region == REGION["scalp"]) | (region == REGION["ears"])
    mass = triangle_areas(surface) * (grows if bool(grows.any()) else 1.0)
    tries = 4 * count
    face = stratified(mass, tries, generator)
    hair = torch.full((tries,), REGION["hair"])
    start = _riding(surface, face, hair, torch.zeros(tries), generator)
    height = _HAIR_REACH * torch.rand(tries, generator=generator)
    flat = torch.zeros(tries)
    start = replace(start, offset=torch.stack([flat, flat, height], -1))
    inside = torch.ones(tries)
    for look in looks:
        pixels, ahead = seen_at(start, look, surface)
        inside = torch.minimum(inside, sampled(look.alpha[..., None], pixels)[:, 0] * ahead)
    order = torch.argsort((inside < 0.6).float() + 1e-3 * torch.rand(tries, generator=generator))
    share = float((inside >= 0.6).float().mean().clamp(min=0.05))
    spacing = (float(mass.sum()) * _HAIR_REACH * share / count) ** (1 / 3)
    return replace(chosen(start, order[:count]), spacing=torch.full((count,), spacing))


def on_shoulders(
    surface: Surface, looks: list[Look], rest_torso: Tensor, count: int, generator: Generator
) -> Placed:
    """On a plane through the throat facing the camera, where mattes show a person whom the
    head's own splats do not cover. They ride on nothing and go with the torso."""
    anchor = transform(invert_rigid(rest_torso), surface.throat()[None])
    share = -(-count // len(looks))
    found = []
    for look in looks:
        camera_from_torso = look.camera.camera_from_world @ look.world_from_torso
        pixels = uncovered(look, share, generator)
        z = transform(camera_from_torso, anchor)[0, 2].expand(len(pixels))
        k = look.camera.intrinsics
        x, y = (pixels[:, 0] - k[0, 2]) / k[0, 0] * z, (pixels[:, 1] - k[1, 2]) / k[1, 1] * z
        at = transform(invert_rigid(camera_from_torso), torch.stack([x, y, z], -1))
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
        torch.full((number,), 0.05),
        (0.7 * spread / number).sqrt().expand(number),
        torch.full((number, 3), 0.5),
    )


def uncovered(look: Look, count: int, generator: Generator) -> Tensor:
    """Pixels of the matte farther than a little from every vertex of the head, as (x, y)."""
    height, width = look.alpha.shape
    at = project(look.camera, transform(look.world_from_head, look.vertices)).long()
    head = torch.zeros(1, 1, height, width)
    ok = (at[:, 0] >= 0) & (at[:, 0] < width) & (at[:, 1] >= 0) & (at[:, 1] < height)
    head[0, 0, at[ok, 1], at[ok, 0]] = 1
    reach = 2 * (width // 50) + 1
    head = torch.nn.functional.max_pool2d(head, reach, 1, reach // 2)[0, 0]
    mass = (look.alpha * (1 - 0.9 * head)).flatten()
    if float(mass.sum()) < 1:
        mass = torch.ones_like(mass)
    pick = stratified(mass, count, generator)
    jitter = torch.rand(count, 2, generator=generator)
    return torch.stack([pick % width, pick // width], -1) + jitter


def coloured(placed: Placed, looks: list[Look], surface: Surface, rest_torso: Tensor) -> Placed:
    """Each splat in the median colour of the pixels it falls on; colour behind it does not show."""
    votes = []
    for look in looks:
        pixels, _ = seen_at(placed, look, surface, rest_torso)
        votes.append(sampled(look.rgb, pixels))
    return replace(placed, colour=torch.stack(votes).median(0).values)


def seen_at(
    placed: Placed, look: Look, surface: Surface, rest_torso: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Pixels the splats fall on in a look, and 1 for those inside the picture."""
    turn = torch.tensor([1.0, 0, 0, 0]).expand(len(placed.corners), 4)
    vertices = surface.with_free(look.vertices)
    means, _ = carry(vertices, placed.corners, placed.weights, placed.offset, turn)
    world = transform(look.world_from_head, means)
    if rest_torso is not None:
        torso = transform(look.world_from_torso @ invert_rigid(rest_torso), means)
        world = torso + placed.follow[:, None] * (world - torso)
    pixels = project(look.camera, world)
    size = pixels.new_tensor([look.camera.width, look.camera.height])
    return pixels, ((pixels > 0) & (pixels < size)).all(-1).float()


def sampled(picture: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear colours at (x, y) pixels; the border goes on outside."""
    size = pixels.new_tensor([picture.shape[1], picture.shape[0]])
    grid = (2 * pixels / size - 1)[None, None]
    planes = picture.permute(2, 0, 1)[None]
    found = torch.nn.functional.grid_sample(
        planes, grid, padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T


def chosen(placed: Placed, index: Tensor) -> Placed:
    return Placed(*(getattr(placed, f.name)[index] for f in fields(Placed)))


def joined(parts: list[Placed]) -> Placed:
    return Placed(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Placed)))


def triangle_areas(surface: Surface) -> Tensor:
    sides = surface.template[surface.triangles]
    sides = sides[:, 1:] - sides[:, :1]
    return 0.5 * torch.linalg.cross(sides[:, 0], sides[:, 1]).norm(dim=-1)
