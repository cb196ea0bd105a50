"""Triangles to pixels: which triangle a pixel sees, where in it, and what vertices say there.

Everything happens in homogeneous pixels, (x z, y z, z): there the weights of a corner are a dot
product with the pixel (x, y, 1), right in perspective, and a triangle that crosses the plane of
the camera needs no cutting. Only whole-pixel visibility is decided here, so a gradient reaches
vertices through weights and depth; `ops.mesh_edges` adds what outlines say.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.camera import Camera, to_camera
from likeness.core.errors import BadInput
from likeness.ops.twins import pick

NEAR = 1e-3
"""Metres; nearer surface is not drawn."""
FLAT = 1e-13
"""Triangles are edge-on or without area when their volume with the camera is below this share."""


@dataclass(frozen=True, eq=False)
class Raster:
    """What each pixel sees of a mesh.

    `seen` is a triangle or -1, `weights` its perspective-correct barycentrics (zero where
    nothing is seen), `depth` camera z in metres (infinite where nothing is seen). `corners` are
    all vertices in homogeneous pixels and `triangles` their triples.
    """

    BATCHED: ClassVar[tuple[str, ...]] = ("seen", "weights", "depth", "corners")

    seen: Int[Tensor, "*b H W"]
    weights: Float[Tensor, "*b H W 3"]
    depth: Float[Tensor, "*b H W"]
    corners: Float[Tensor, "*b V 3"]
    triangles: Int[Tensor, "F 3"]

    @property
    def mask(self) -> Tensor:
        """Where anything is seen."""
        return self.seen >= 0


def rasterise(
    camera: Camera,
    vertices: Float[Tensor, "*b V 3"],
    triangles: Int[Tensor, "F 3"],
    cull: bool = False,
) -> Raster:
    """The nearest triangle at each pixel centre; with `cull`, only those seen from outside.

    Vertices that are not finite hide their triangles. Of two at one depth the first is seen.
    """
    _check(vertices, triangles)
    if vertices.dtype not in (torch.float32, torch.float64):
        raise BadInput(
            f"Meshes are drawn in float32 or float64, not {vertices.dtype}: convert first."
        )
    corners = to_camera(camera, vertices) @ camera.intrinsics.mT
    batch, size = corners.shape[:-2], (camera.height, camera.width)
    views = corners.reshape(prod(batch), *corners.shape[-2:])
    see, locate = pick(_see, corners.device.type), pick(_locate, corners.device.type)
    seen = [see(view.detach(), triangles, *size, cull) for view in views]
    found = [locate(view, triangles, one) for view, one in zip(views, seen, strict=True)]
    return Raster(
        _stacked(seen).reshape(*batch, *size),
        _stacked([weights for weights, _ in found]).reshape(*batch, *size, 3),
        _stacked([depth for _, depth in found]).reshape(*batch, *size),
        corners,
        triangles,
    )


def _stacked(pictures: list[Tensor]) -> Tensor:
    """Stacked, and one alone not copied for it."""
    return pictures[0][None] if len(pictures) == 1 else torch.stack(pictures)


def interpolate(
    raster: Raster,
    attributes: Float[Tensor, "*#b A C"],
    triangles: Int[Tensor, "F 3"] | None = None,
) -> Float[Tensor, "*b H W C"]:
    """What vertices carry, at each pixel; zero where nothing is seen.

    `triangles` index `attributes` when those are not per vertex of the mesh, such as UVs.
    """
    triangles = raster.triangles if triangles is None else triangles
    if triangles.shape != raster.triangles.shape:
        raise BadInput(
            f"{len(triangles)} triangles of attributes do not fit "
            f"the {len(raster.triangles)} drawn."
        )
    _check(attributes, triangles)
    (*batch, height, width), count = raster.seen.shape, attributes.shape[-2]
    mix = pick(_mix, attributes.device.type)
    views = zip(
        raster.seen.reshape(prod(batch), height, width),
        raster.weights.to(attributes.dtype).reshape(prod(batch), height, width, 3),
        attributes.expand(*batch, count, -1).reshape(prod(batch), count, -1),
        strict=True,
    )
    out = [mix(seen, weights, value, triangles) for seen, weights, value in views]
    return torch.stack(out).reshape(*raster.seen.shape, attributes.shape[-1])


def _check(vertices: Tensor, triangles: Tensor) -> None:
    if vertices.device != triangles.device:
        raise BadInput(f"Vertices are on {vertices.device}, triangles on {triangles.device}.")
    count = vertices.shape[-2]
    if triangles.numel() and not 0 <= int(triangles.min()) <= int(triangles.max()) < count:
        raise BadInput(
            f"Triangles name vertices {int(triangles.min())} to {int(triangles.max())}; "
            f"there are {count}."
        )


def _see(corners: Tensor, triangles: Tensor, height: int, width: int, cull: bool) -> Tensor:
    pixels = _pixels(height, width, corners.device)
    nearest = torch.full((height * width,), torch.inf, dtype=torch.float64, device=corners.device)
    seen = torch.full((height * width,), -1, dtype=torch.int64, device=corners.device)
    for index, triple in enumerate(triangles):
        abc = corners[triple].double()
        edges = torch.linalg.cross(abc[[1, 2, 0]], abc[[2, 0, 1]])  # opposite corner 0, 1, 2
        volume = (abc[0] * edges[0]).sum()
        flat = ~(volume.abs() > FLAT * abc.norm(dim=-1).prod())
        if not abc.isfinite().all() or flat or (cull and volume > 0):
            continue
        shares = (pixels @ edges.T) * torch.sign(volume)
        depth = volume.abs() / shares.sum(-1)
        closer = (shares >= 0).all(-1) & (depth >= NEAR) & (depth < nearest)
        nearest = torch.where(closer, depth, nearest)
        seen = torch.where(closer, index, seen)
    return seen.reshape(height, width)


def _locate(corners: Tensor, triangles: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    height, width = seen.shape
    pixels = _pixels(height, width, corners.device)[seen.flatten() >= 0]
    weights = corners.new_zeros(height * width, 3)
    depth = corners.new_full((height * width,), torch.inf)
    hit = seen.flatten() >= 0
    abc = corners.double()[triangles[seen.flatten()[hit]]]  # N 3 3
    edges = torch.linalg.cross(abc[:, [1, 2, 0]], abc[:, [2, 0, 1]])
    shares = (edges * pixels[:, None]).sum(-1)
    whole = shares.sum(-1)
    volume = (abc[:, 0] * edges[:, 0]).sum(-1)
    return (
        weights.masked_scatter(hit[:, None], (shares / whole[:, None]).to(weights.dtype)).reshape(
            height, width, 3
        ),
        depth.masked_scatter(hit, (volume / whole).to(depth.dtype)).reshape(height, width),
    )


def _mix(seen: Tensor, weights: Tensor, values: Tensor, triangles: Tensor) -> Tensor:
    if len(triangles) == 0:
        return values.new_zeros(*seen.shape, values.shape[-1])
    corners = values[triangles[seen.clamp(min=0)]]  # H W 3 C
    mixed = (corners * weights[..., None]).sum(-2)
    return torch.where(seen[..., None] >= 0, mixed, 0)


def _pixels(height: int, width: int, device: torch.device) -> Tensor:
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64, device=device) + 0.5,
        torch.arange(width, dtype=torch.float64, device=device) + 0.5,
        indexing="ij",
    )
    return torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
