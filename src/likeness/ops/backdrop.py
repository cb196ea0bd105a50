"""What is far behind the person, as a camera that turns and zooms sees it."""

import math

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
    planes = picture.permute(2, 0, 1)[None]
    height, width = picture.shape[:2]
    taken = resized(taken, width, height)
    finer = float(camera.intrinsics[0, 0] / taken.intrinsics[0, 0])
    if finer < _COARSE:
        height, width = max(1, round(finer * height)), max(1, round(finer * width))
        planes = F.interpolate(planes, (height, width), mode="area")
        taken = resized(taken, width, height)
    shrunk = planes[0].permute(1, 2, 0)
    back = torch.linalg.inv(far_away(camera, taken))
    across, down = camera.width, camera.height
    corners = back.new_tensor([[0, 0, 1], [across, 0, 1], [0, down, 1], [across, down, 1]])
    moved = corners @ back.mT
    shift = (moved[:, :2] / moved[:, 2:] - corners[:, :2]).tolist()
    left, top = (round(x) for x in shift[0])
    still = all(abs(x - left) < _STILL and abs(y - top) < _STILL for x, y in shift)
    if still and (left, top, across, down) == (0, 0, width, height):
        return shrunk
    if still and 0 <= left <= width - across and 0 <= top <= height - down:
        return shrunk[top : top + down, left : left + across]
    return pick(_warped, picture.device.type)(shrunk, back, camera)


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
