"""How a head stands in a training frame, nudged by what refinement learns about it."""

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from likeness.core.expression import Expression
from likeness.ops.twins import pick

if TYPE_CHECKING:
    from likeness.methods.splats.avatar import SplatAvatar

Stance = tuple[Float[Tensor, "V 3"], Float[Tensor, "4 4"], Float[Tensor, "4 4"]]
"""Vertices in the frame of the head; what carries the head, and what goes with the torso, into the
world."""


def stance(
    avatar: "SplatAvatar", expression: Expression, correction: Float[Tensor, " C"]
) -> Stance:
    """How an avatar stands with a corrected expression. Gradients reach the correction, and the
    expression where it wants them."""
    twin = pick(_stance, expression.coefficients.device.type)
    return twin(avatar, expression, correction)


def _stance(avatar: "SplatAvatar", expression: Expression, correction: Tensor) -> Stance:
    return avatar.standing(avatar.corrected(expression, correction))
