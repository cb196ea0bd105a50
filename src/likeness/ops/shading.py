"""Normals, light and textures of meshes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, normalize

from likeness.core.errors import BadInput
from likeness.ops.harmonics import spherical_harmonics
from likeness.ops.mesh import Raster


def vertex_normals(
    vertices: Float[Tensor, "*b V 3"], triangles: Int[Tensor, "F 3"]
) -> Float[Tensor, "*b V 3"]:
    """Unit normals, outwards, each the mean of its triangles' by area. Zero where there is none."""
    corners = vertices[..., triangles, :]
    a, b, c = corners.unbind(-2)
    face = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(-2, triangles[:, corner], face)
    return normalize(total, dim=-1, eps=1e-20)


def light_by_harmonics(
    normals: Float[Tensor, "*b 3"], light: Float[Tensor, "9 C"]
) -> Float[Tensor, "*b C"]:
    """Light that arrives from all around, as nine harmonics of the normal; may be negative."""
    return spherical_harmonics(normals, 2) @ light


def light_from(
    normals: Float[Tensor, "*b 3"],
    direction: Float[Tensor, "3"],
    colour: Float[Tensor, " C"],
    ambient: Float[Tensor, " C"],
) -> Float[Tensor, "*b C"]:
    """One far lamp in `direction` (from the surface to the lamp, any length) and a uniform rest."""
    facing = (normals @ normalize(direction, dim=0)).clamp(min=0)
    return ambient + facing[..., None] * colour


def mip_pyramid(texture: Float[Tensor, "H W C"], most: int = 16) -> list[Tensor]:
    """The texture, and each time half of it, down to one pixel on the shorter side."""
    levels = [texture]
    while len(levels) < most and min(levels[-1].shape[:2]) > 1:
        half = avg_pool2d(levels[-1].movedim(-1, 0)[None], 2)[0]
        levels.append(half.movedim(0, -1))
    return levels


def sample_texture(
    pyramid: list[Tensor], uv: Float[Tensor, "*b 2"], level: Float[Tensor, "*b"] | None = None
) -> Float[Tensor, "*b C"]:
    """Bilinear in the picture and, with `level`, linear between sizes.

    uv (0, 0) is the outer corner of the first pixel of the first row, (1, 1) that of the last;
    beyond, the border repeats. Gradients reach texture, uv and level.
    """
    if not pyramid:
        raise BadInput("A texture pyramid without levels cannot be sampled. Use mip_pyramid.")
    if level is None:
        return _bilinear(pyramid[0], uv)
    level = level.clamp(0, len(pyramid) - 1)
    total = uv.new_zeros(*uv.shape[:-1], pyramid[0].shape[-1])
    for index, picture in enumerate(pyramid):
        share = (1 - (level - index).abs()).clamp(min=0)
        if bool((share > 0).any()):
            total = total + share[..., None] * _bilinear(picture, uv)
    return total


def mip_levels(
    raster: Raster,
    uv: Float[Tensor, "U 2"],
    uv_triangles: Int[Tensor, "F 3"],
    size: tuple[int, int],
) -> Float[Tensor, "*b H W"]:
    """Which mip level fits each pixel: by how many texels a triangle spends per pixel.

    `size` is the texture's (height, width). One level per triangle; zero where nothing is seen.
    """
    if not len(raster.triangles):
        return torch.zeros_like(raster.depth)
    texels = _doubled_area(uv * uv.new_tensor([size[1], size[0]]), uv_triangles)
    on_screen = raster.corners[..., :2] / raster.corners[..., 2:].clamp(min=1e-6)
    pixels = _doubled_area(on_screen, raster.triangles)
    level = 0.5 * torch.log2(texels.clamp(min=1e-12) / pixels.clamp(min=1e-12))
    flat = raster.seen.clamp(min=0).flatten(-2)
    drawn = level.expand(*flat.shape[:-1], -1).gather(-1, flat).reshape(raster.seen.shape)
    return torch.where(raster.mask, drawn.clamp(min=0), 0)


def _doubled_area(points: Tensor, triangles: Tensor) -> Tensor:
    a, b, c = points[..., triangles, :].unbind(-2)
    u, v = b - a, c - a
    return (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]).abs()


def _bilinear(picture: Tensor, uv: Tensor) -> Tensor:
    grid = (2 * uv - 1).reshape(1, -1, 1, 2)
    source = picture.movedim(-1, 0)[None].to(uv.dtype)
    found = grid_sample(source, grid, padding_mode="border", align_corners=False)
    return found[0, :, :, 0].T.reshape(*uv.shape[:-1], picture.shape[-1])
