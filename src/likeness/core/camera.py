"""The pinhole camera."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)  # eq=False: tensors do not compare to one truth
class Camera:
    """A pinhole view, or a batch of views with one picture size.

    Axes follow OpenCV: x right, y down, z into the scene. Lengths are metres, `intrinsics` is in
    pixels, and the centre of the top-left pixel is (0.5, 0.5).
    """

    BATCHED: ClassVar[tuple[str, ...]] = ("intrinsics", "camera_from_world")

    intrinsics: Float[Tensor, "*b 3 3"]
    camera_from_world: Float[Tensor, "*b 4 4"]
    width: int
    height: int


def pinhole(
    focal: float | Tensor,
    width: int,
    height: int,
    camera_from_world: Tensor,
    centre: tuple[float, float] | None = None,
) -> Camera:
    """A camera with square pixels; the principal point is the picture's middle unless given."""
    cx, cy = centre if centre is not None else (width / 2, height / 2)
    focal = torch.as_tensor(focal, dtype=camera_from_world.dtype, device=camera_from_world.device)
    zero, one = torch.zeros_like(focal), torch.ones_like(focal)
    rows = [
        torch.stack([focal, zero, one * cx], -1),
        torch.stack([zero, focal, one * cy], -1),
        torch.stack([zero, zero, one], -1),
    ]
    intrinsics = torch.stack(rows, -2)
    batch = camera_from_world.shape[:-2]
    return Camera(intrinsics.expand(*batch, 3, 3), camera_from_world, width, height)


def to_camera(camera: Camera, points: Float[Tensor, "*b N 3"]) -> Float[Tensor, "*b N 3"]:
    """World points in the camera's own axes."""
    pose = camera.camera_from_world
    return points @ pose[..., :3, :3].mT + pose[..., None, :3, 3]


def project(camera: Camera, points: Float[Tensor, "*b N 3"]) -> Float[Tensor, "*b N 2"]:
    """Where world points land, in pixels. Points behind the camera are not marked: check depth."""
    on_plane = to_camera(camera, points) @ camera.intrinsics.mT
    return on_plane[..., :2] / on_plane[..., 2:]


def pixel_rays(
    camera: Camera, pixels: Float[Tensor, "*b N 2"]
) -> tuple[Float[Tensor, "*b N 3"], Float[Tensor, "*b N 3"]]:
    """Origins and directions in the world through `pixels` (x, y). Directions have camera z = 1,
    so that distance along them is depth."""
    fx, fy = camera.intrinsics[..., 0, 0], camera.intrinsics[..., 1, 1]
    skew = camera.intrinsics[..., 0, 1]
    cx, cy = camera.intrinsics[..., 0, 2], camera.intrinsics[..., 1, 2]
    y = (pixels[..., 1] - cy[..., None]) / fy[..., None]
    x = (pixels[..., 0] - cx[..., None] - skew[..., None] * y) / fx[..., None]
    in_camera = torch.stack([x, y, torch.ones_like(x)], -1)
    rotation = camera.camera_from_world[..., :3, :3]
    translation = camera.camera_from_world[..., :3, 3]
    directions = in_camera @ rotation  # rows times R = R^T applied to columns
    origin = -(translation[..., None, :] @ rotation)
    return origin.expand_as(directions), directions


def pixel_grid(camera: Camera) -> Float[Tensor, "N 2"]:
    """The centre of every pixel, row by row."""
    like = camera.intrinsics
    y, x = torch.meshgrid(
        torch.arange(camera.height, dtype=like.dtype, device=like.device) + 0.5,
        torch.arange(camera.width, dtype=like.dtype, device=like.device) + 0.5,
        indexing="ij",
    )
    return torch.stack([x, y], -1).reshape(-1, 2)


def resized(camera: Camera, width: int, height: int) -> Camera:
    """The same view on a picture of another size."""
    scale = camera.intrinsics.new_tensor([width / camera.width, height / camera.height, 1.0])
    return Camera(scale[:, None] * camera.intrinsics, camera.camera_from_world, width, height)


def cropped(camera: Camera, left: float, top: float, width: int, height: int) -> Camera:
    """The same view on a window of its picture whose top-left corner is (left, top)."""
    shift = camera.intrinsics.new_zeros(3, 3)
    shift[0, 2], shift[1, 2] = left, top
    return Camera(camera.intrinsics - shift, camera.camera_from_world, width, height)


def far_away(camera: Camera, reference: Camera) -> Float[Tensor, "*b 3 3"]:
    """The homography from pixels of `reference` to those of `camera`, for things so far behind
    that only turning and zooming moves them."""
    turn = camera.camera_from_world[..., :3, :3] @ reference.camera_from_world[..., :3, :3].mT
    return camera.intrinsics @ turn @ torch.linalg.inv(reference.intrinsics)
