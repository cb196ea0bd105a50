"""A dozen training frames, small, from which a start is carved and coloured."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from likeness.core.batching import take
from likeness.core.camera import Camera, resized
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.regions import REGION
from likeness.core.track import Track
from likeness.methods.splats.surface import Surface
from likeness.training.frames import matte_of

_SAMPLES = 12  # frames looked at to carve and to colour


@dataclass(frozen=True, eq=False)
class Look:
    """One training frame, small enough to hold a dozen of: picture, matte, where clothes and hair
    are (as far as the track knows), and where things are."""

    camera: Camera
    rgb: Tensor
    alpha: Tensor
    clothes: Tensor
    hair: Tensor
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
        kinds = [where(track, index, alpha, name) for name in ("clothes", "hair")]
        planes = torch.cat([rgb, torch.stack([alpha, *kinds], -1)], -1)
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
                small[..., 4],
                small[..., 5],
                expression.world_from_head,
                expression.world_from_head if torso is None else torso,
                surface.head_vertices(expression),
            )
        )
    return looks


def where(track: Track, index: int, alpha: Tensor, name: str) -> Tensor:
    """1 where a frame's regions say so; 0 throughout where there are no regions."""
    regions = None if track.maps is None else track.maps.regions(index)
    if regions is None or regions.shape != alpha.shape:
        return torch.zeros_like(alpha)
    return torch.from_numpy(regions == REGION[name]).to(alpha)


def needed_matte(capture: Capture, track: Track, index: int) -> Tensor:
    alpha = matte_of(capture, track, index)
    if alpha is None:
        raise BadInput(
            f"Frame {index} of {capture.name!r} has no matte. Run `likeness track` to draw one."
        )
    return alpha


def sampled(picture: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear colours at (x, y) pixels; the border goes on outside."""
    size = pixels.new_tensor([picture.shape[1], picture.shape[0]])
    grid = (2 * pixels / size - 1)[None, None]
    planes = picture.permute(2, 0, 1)[None]
    found = torch.nn.functional.grid_sample(
        planes, grid, padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T
