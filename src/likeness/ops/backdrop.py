"""What is far behind the person, as a camera that turns and zooms sees it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera, far_away, pixel_grid, resized
from likeness.ops.twins import pick

_STILL = 1e-3  # pixels by which nothing is seen to move


def seen_behind(
    picture: Float[Tensor, "H W C"], taken: Camera, camera: Camera
) -> Float[Tensor, "h w C"]:
    """A backdrop that the camera `taken` saw, as `camera` sees it: bilinear, its border going on.

    Everything in it counts as infinitely far. The picture may be of another size than `taken`.
    Differentiable in the picture.
    """
    height, width = picture.shape[:2]
    planes = picture.permute(2, 0, 1)[None]
    taken = resized(taken, camera.width, camera.height)
    if (height, width) != (camera.height, camera.width):
        planes = F.interpolate(planes, (camera.height, camera.width), mode="area")
    back = torch.linalg.inv(far_away(camera, taken))
    corners = back.new_tensor(
        [[0, 0, 1], [camera.width, 0, 1], [0, camera.height, 1], [camera.width, camera.height, 1]]
    )
    moved = corners @ back.mT
    if float((moved[:, :2] / moved[:, 2:] - corners[:, :2]).abs().max()) < _STILL:
        return planes[0].permute(1, 2, 0)
    twin = pick(_warped, picture.device.type)
    return twin(planes[0].permute(1, 2, 0), back, camera)


def _warped(picture: Tensor, back: Tensor, camera: Camera) -> Tensor:
    """The picture, of the camera's size, at where `back` takes each of the camera's pixels."""
    grid = pixel_grid(camera)
    source = torch.cat([grid, torch.ones_like(grid[:, :1])], -1) @ back.mT
    source = source[:, :2] / source[:, 2:]
    size = source.new_tensor([camera.width, camera.height])
    where = (2 * source / size - 1).view(1, camera.height, camera.width, 2)
    planes = picture.permute(2, 0, 1)[None]
    found = F.grid_sample(planes, where.to(planes), padding_mode="border", align_corners=False)
    return found[0].permute(1, 2, 0)
