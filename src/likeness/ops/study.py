"""A picture of a moment that is learned from: as `ops.portray`, with gradients."""

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.geometry import invert_rigid
from likeness.ops.portray import Changes, moved
from likeness.ops.ride import Riders
from likeness.ops.splats import project_splats, rasterise_splats
from likeness.ops.twins import one_place, pick


def study(
    riders: Riders,
    changes: Changes,
    code: Float[Tensor, " K"],
    vertices: Float[Tensor, "V 3"],
    head: Float[Tensor, "4 4"],
    torso: Float[Tensor, "4 4"],
    camera: Camera,
    pull: Float[Tensor, " N"] | None = None,
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """What a camera sees of the splats that `moved` gives: colour before black, and alpha.

    Gradients reach what riders and changes have learned, vertices, head and torso. On the way back
    `pull` gains how hard each splat is pulled at on screen (length of the gradient by its place, a
    pixel being one). Corners and cells must be there: they are not looked through each time.
    """
    one_place(riders.offset, changes.motion, code, vertices, head, torso, camera.intrinsics, pull)
    twin = pick(_study, vertices.device.type)
    return twin(riders, changes, code, vertices, head, torso, camera, pull)


def _study(
    riders: Riders,
    changes: Changes,
    code: Tensor,
    vertices: Tensor,
    head: Tensor,
    torso: Tensor,
    camera: Camera,
    pull: Tensor | None,
) -> tuple[Tensor, Tensor]:
    eye = invert_rigid(camera.camera_from_world)[:3, 3]
    posed = moved(riders, changes, code, vertices, head, torso, eye)
    on_screen = project_splats(posed.means, posed.rotation, posed.scale, camera)
    if pull is not None and on_screen.xy.requires_grad:

        def pulled(gradient: Tensor) -> None:
            pull.index_add_(0, posed.shown, torch.hypot(*gradient.unbind(-1)))

        on_screen.xy.register_hook(pulled)
    return rasterise_splats(on_screen, posed.colour, posed.opacity, camera.width, camera.height)
