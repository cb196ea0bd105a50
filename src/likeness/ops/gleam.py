"""How colours of splats on a head change with where they are seen from."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from likeness.ops.harmonics import spherical_harmonics
from likeness.ops.twins import one_place, pick, within


def gleam(
    harmonics: Float[Tensor, "N H 3"],
    directions: Float[Tensor, "M 3"],
    shown: Int[Tensor, " M"],
) -> Float[Tensor, "M 3"]:
    """What is added to the colours of the splats that are `shown`, seen along unit `directions`.

    `harmonics` of each splat begin with degree 1, for the constant is the colour itself: 3, 8 or
    15 for degrees 1, 2, 3. Gradients reach the harmonics alone.
    """
    one_place(harmonics, directions, shown)
    within(shown, harmonics.shape[0], "splats")
    return pick(_gleam, harmonics.device.type)(harmonics, directions.detach(), shown)


def _gleam(harmonics: Tensor, directions: Tensor, shown: Tensor) -> Tensor:
    degree = round((harmonics.shape[1] + 1) ** 0.5) - 1
    basis = spherical_harmonics(directions, degree)[:, 1:]
    return (basis[..., None] * harmonics[shown]).sum(1)


def seen_along(
    means: Float[Tensor, "M 3"],
    eye: Float[Tensor, " 3"],
    head: Float[Tensor, "4 4"],
    torso: Float[Tensor, "4 4"],
    of_head: Bool[Tensor, " M"],
) -> Float[Tensor, "M 3"]:
    """Unit directions from the eye to splats, in the axes of what each of them goes with. Without
    gradients."""
    one_place(means, eye, head, torso, of_head)
    twin = pick(_seen_along, means.device.type)
    return twin(means.detach(), eye.detach(), head.detach(), torso.detach(), of_head)


def _seen_along(means: Tensor, eye: Tensor, head: Tensor, torso: Tensor, of_head: Tensor) -> Tensor:
    along = F.normalize(means - eye, dim=-1)
    return torch.where(of_head[:, None], along @ head[:3, :3], along @ torso[:3, :3])
