"""Splats of a head, from what is learned to the picture of one moment."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.geometry import invert_rigid
from likeness.ops.atlas import draw_coded
from likeness.ops.gleam import gleam, seen_along
from likeness.ops.ride import Posed, Riders, ride
from likeness.ops.splats import project_splats, rasterise_splats
from likeness.ops.twins import one_place, pick


@dataclass(frozen=True, eq=False)
class Changes:
    """What a code of K numbers adds to N splats, by an atlas of M cells for each number.

    Each splat draws `motion` (3) and `shade` (5, see `ops.ride`) from four `cells` with `weights`.
    Numbers of the code after the first `own` reach the second half of the cells only.
    `harmonics`, from degree 1 on, are what colours gain by where they are seen from.
    """

    motion: Float[Tensor, "K Mx3"]
    shade: Float[Tensor, "K Mx5"]
    cells: Int[Tensor, "N 4"]
    weights: Float[Tensor, "N 4"]
    own: int
    harmonics: Float[Tensor, "N H 3"]


def moved(
    riders: Riders,
    changes: Changes,
    code: Float[Tensor, " K"],
    vertices: Float[Tensor, "V 3"],
    head: Float[Tensor, "4 4"],
    torso: Float[Tensor, "4 4"],
    eye: Float[Tensor, " 3"] | None = None,
) -> Posed:
    """Splats in the world as `code` has them, on `vertices` in the frame of the head; with an
    `eye`, those it can see, in the colours it sees."""
    motion, shade = (
        draw_coded(code, atlas, changes.own, n, changes.cells, changes.weights)
        for atlas, n in ((changes.motion, 3), (changes.shade, 5))
    )
    posed = ride(riders, vertices, motion, shade, head, torso, eye)
    if eye is None or not changes.harmonics.shape[1]:
        return posed
    of_head = riders.follow.detach()[posed.shown] > 0
    along = seen_along(posed.means.detach(), eye, head.detach(), torso.detach(), of_head)
    seen = posed.colour + gleam(changes.harmonics, along, posed.shown)
    return Posed(posed.means, posed.rotation, posed.scale, posed.opacity, seen, posed.shown)


@torch.no_grad()
def portray(
    riders: Riders,
    changes: Changes,
    code: Float[Tensor, " K"],
    vertices: Float[Tensor, "V 3"],
    head: Float[Tensor, "4 4"],
    torso: Float[Tensor, "4 4"],
    camera: Camera,
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """What a camera sees of the splats that `moved` gives: colour within [0, 1] and alpha, without
    gradients. Corners and cells must be there: they are not looked through for each picture."""
    one_place(riders.offset, changes.motion, code, vertices, head, torso, camera.intrinsics)
    twin = pick(_portray, vertices.device.type)
    return twin(riders, changes, code, vertices, head, torso, camera)


def _portray(
    riders: Riders,
    changes: Changes,
    code: Tensor,
    vertices: Tensor,
    head: Tensor,
    torso: Tensor,
    camera: Camera,
) -> tuple[Tensor, Tensor]:
    eye = invert_rigid(camera.camera_from_world)[:3, 3]
    posed = moved(riders, changes, code, vertices, head, torso, eye)
    on_screen = project_splats(posed.means, posed.rotation, posed.scale, camera)
    picture, alpha = rasterise_splats(
        on_screen, posed.colour, posed.opacity, camera.width, camera.height
    )
    return picture.clamp(0, 1), alpha
