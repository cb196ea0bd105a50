"""What a head is doing."""

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import Unsupported


@dataclass(frozen=True, eq=False)
class Expression:
    """Coefficients, joint angles, and where head and torso are. Names its rig.

    `coefficients` weigh the rig's `shape_names`; `personal` weighs modes of one person that no
    named shape can say (see `Identity.modes`), so it means nothing to anybody else. `joints` are
    axis-angle, in the order of the rig's `joint_names`, on top of what coefficients imply (gaze).
    `world_from_torso` is the torso's own rigid motion, in the frame of the head at rest: equal to
    `world_from_head` when they move as one; `torso` weighs modes in which the clothes of one
    recording bend beyond that, in standard deviations. `sound` is features for methods that listen.
    """

    BATCHED: ClassVar[tuple[str, ...]] = (
        "coefficients",
        "joints",
        "world_from_head",
        "world_from_torso",
        "personal",
        "torso",
        "sound",
    )

    rig: str
    coefficients: Float[Tensor, "*b E"]
    joints: Float[Tensor, "*b J 3"]
    world_from_head: Float[Tensor, "*b 4 4"]
    world_from_torso: Float[Tensor, "*b 4 4"] | None = None
    personal: Float[Tensor, "*b P"] | None = None
    torso: Float[Tensor, "*b M"] | None = None
    sound: Float[Tensor, "*b A"] | None = None

    @property
    def count(self) -> int:
        """How many moments a one-dimensional batch holds."""
        return self.coefficients.shape[0]


def concatenate(parts: list[Expression]) -> Expression:
    """One batch out of several of the same rig, in order."""
    rigs = {p.rig for p in parts}
    if len(rigs) != 1:
        raise Unsupported(
            f"Expressions of different rigs do not mix: {', '.join(sorted(rigs))}. "
            "Retarget them to one rig first."
        )
    joined = {}
    for f in fields(Expression):
        values = [getattr(p, f.name) for p in parts]
        if f.name in Expression.BATCHED and all(v is not None for v in values):
            joined[f.name] = torch.cat(values)
    optional = {"world_from_torso", "personal", "torso", "sound"}
    return replace(
        parts[0],
        **{name: joined.get(name) for name in optional},
        **{k: v for k, v in joined.items() if k not in optional},
    )
