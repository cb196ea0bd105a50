"""What is far behind the person, as a camera that turns and zooms sees it."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera, far_away, pixel_grid, resized
from likeness.ops.twins import pick

_STILL = 1e-3  # pixels by which nothing is seen to move
_COARSE = 0.75  # of a picture's resolution: below, it is shrunk before it is looked up
_ROOM = 0.5  # of a picture, at most, is added at each of its sides


def seen_behind(
    picture: Float[Tensor, "H W C"], taken: Camera, camera: Camera
) -> Float[Tensor, "h w C"]:
    """A backdrop that the camera `taken` saw, as `camera` sees it: bilinear, its border going on.

    Everything in it counts as infinitely far. The picture may be of another size than `taken`.
    Differentiable in the picture.
    """
    height, width = picture.shape[:2]
    if (
        (camera.width, camera.height) == (taken.width, taken.height) == (width, height)
        and torch.equal(camera.intrinsics, taken.intrinsics)
        and torch.equal(camera.camera_from_world[:3, :3], taken.camera_from_world[:3, :3])
    ):
        return picture
    lens, turn = _plain(camera.intrinsics), _plain(camera.camera_from_world)[:3, :3]
    scale = np.array([width / taken.width, height / taken.height, 1])[:, None]
    kept, other = scale * _plain(taken.intrinsics), _plain(taken.camera_from_world)[:3, :3]
    finer, shrunk = lens[0, 0] / kept[0, 0], picture
    if finer < _COARSE:
        size = (max(1, round(finer * height)), max(1, round(finer * width)))
        planes = F.interpolate(picture.permute(2, 0, 1)[None], size, mode="area")
        kept = np.array([size[1] / width, size[0] / height, 1])[:, None] * kept
        (height, width), shrunk = size, planes[0].permute(1, 2, 0)
    back = kept @ other @ turn.T @ np.linalg.inv(lens)
    across, down = camera.width, camera.height
    corners = np.array([[0, 0, 1], [across, 0, 1], [0, down, 1], [across, down, 1]])
    moved = corners @ back.T
    shift = moved[:, :2] / moved[:, 2:] - corners[:, :2]
    left, top = (round(x) for x in shift[0])
    still = all(abs(x - left) < _STILL and abs(y - top) < _STILL for x, y in shift)
    if still and (left, top, across, down) == (0, 0, width, height):
        return shrunk
    if still and 0 <= left <= width - across and 0 <= top <= height - down:
        return shrunk[top : top + down, left : left + across]
    where = torch.from_numpy(back).to(picture)
    return pick(_warped, picture.device.type)(shrunk, where, camera)


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().cpu().double().numpy()


def widened(
    picture: Float[Tensor, "H W C"], taken: Camera, cameras: Camera
) -> tuple[Float[Tensor, "h w C"], int, int]:
    """The picture with room around it for what other cameras see beyond its border, filled by its
    border going on; and how many pixels are new at the left (and right), and at the top."""
    height, width = picture.shape[:2]
    taken = resized(taken, width, height)
    back = torch.linalg.inv(far_away(cameras, taken)).reshape(-1, 3, 3)
    across, down = cameras.width, cameras.height
    corners = back.new_tensor([[0, 0, 1], [across, 0, 1], [0, down, 1], [across, down, 1]])
    at = corners @ back.mT
    at = (at[..., :2] / at[..., 2:]).flatten(0, 1)
    size = at.new_tensor([width, height])
    beyond = torch.maximum(-at.amin(0), at.amax(0) - size).clamp(min=0)
    needed = zip(beyond.tolist(), (width, height))
    left, top = (min(4 * math.ceil(x / 4 - _STILL), int(_ROOM * most)) for x, most in needed)
    planes = F.pad(picture.permute(2, 0, 1)[None], (left, left, top, top), "replicate")
    return planes[0].permute(1, 2, 0).contiguous(), left, top


def _warped(picture: Tensor, back: Tensor, camera: Camera) -> Tensor:
    """The picture at where `back` takes each of the camera's pixels."""
    grid = pixel_grid(camera)
    source = torch.cat([grid, torch.ones_like(grid[:, :1])], -1) @ back.mT
    source = source[:, :2] / source[:, 2:]
    size = source.new_tensor([picture.shape[1], picture.shape[0]])
    where = (2 * source / size - 1).view(1, camera.height, camera.width, 2)
    planes = picture.permute(2, 0, 1)[None]
    found = F.grid_sample(planes, where.to(planes), padding_mode="border", align_corners=False)
    return found[0].permute(1, 2, 0)
