"""A torso that moves apart from the head, taken back to where it was at rest.

A field in the frame of the head sees shoulders swing with every turn. Asked at straightened places
it learns them once, standing still.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid

BORDER = (-0.115, -0.185, 0.5)
"""Heights in the frame of the head, in metres from the eyes: above the first all goes with the
head, below the second all with the torso. The border rises to the back by the third, for a chin
hangs before the neck, and is the head's."""
_MIDDLE = -0.05  # metres: heights are those of places so far behind the eyes


def torso_bend(expression: Expression, rest_torso: Float[Tensor, "4 4"]) -> Float[Tensor, "*b 4 4"]:
    """Takes a point of the torso, in the frame of the head, from now to rest. `rest_torso` is the
    torso seen from the head at rest."""
    head = expression.world_from_head
    if expression.world_from_torso is None:
        return torch.eye(4, dtype=head.dtype, device=head.device).expand_as(head)
    now = invert_rigid(head) @ expression.world_from_torso
    return rest_torso @ invert_rigid(now)


def straightened(
    points: Float[Tensor, "*b 3"],
    bend: Float[Tensor, "4 4"] | Float[Tensor, "*b 4 4"],
    border: tuple[float, float, float] = BORDER,
) -> Float[Tensor, "*b 3"]:
    """Points in the frame of the head, each moved by its share of the torso's bend."""
    top, bottom, slope = border
    height = points[..., 1:2] + slope * (points[..., 2:] - _MIDDLE)
    share = ((top - height) / (top - bottom)).clamp(0, 1)
    share = share * share * (3 - 2 * share)
    if bend.dim() == 2:
        moved = points @ bend[:3, :3].mT + bend[:3, 3]
    else:
        moved = (bend[..., :3, :3] @ points[..., None])[..., 0] + bend[..., :3, 3]
    return points + share * (moved - points)
