"""What an avatar makes of a moment before any splat is looked at."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.expression import Expression
from likeness.ops.twins import pick

if TYPE_CHECKING:
    from likeness.methods.splats.avatar import SplatAvatar

Standing = tuple[
    Float[Tensor, " K"], Float[Tensor, "V 3"], Float[Tensor, "4 4"], Float[Tensor, "4 4"]
]
"""A code; vertices in the frame of the head; what carries the head, and what goes with the torso,
into the world."""


@torch.no_grad()
def moment(avatar: "SplatAvatar", expression: Expression) -> Standing:
    """How an avatar stands in one moment that was not refined: with the correction that features
    predict. Without gradients."""
    return pick(_moment, expression.coefficients.device.type)(avatar, expression)


def _moment(avatar: "SplatAvatar", expression: Expression) -> Standing:
    seen = avatar.features(expression)
    corrected = avatar.corrected(expression, avatar.regression(seen))
    return (avatar.code(seen), *avatar.standing(corrected))
