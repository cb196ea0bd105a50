"""Retargeting without a future: what somebody does now, against how they were at rest."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid
from likeness.core.rig import Rig
from likeness.drivers.retarget import Retarget, by_name, neutral_frame, neutral_pose


@dataclass(frozen=True, eq=False)
class Calmed:
    """A driver's own face and pose at rest, of the rig that is driven."""

    face: Float[Tensor, " E"]
    pose: Float[Tensor, "4 4"]

    @classmethod
    def of(cls, moments: Expression, rig: Rig, neutral: float = 0.1) -> "Calmed":
        """From some moments (a batch) in which the driver did little; see `Retarget`."""
        told = by_name(moments, rig)
        quiet = neutral_frame(told.coefficients)
        return cls(
            Retarget(neutral).face(told.coefficients), neutral_pose(told.world_from_head, quiet)
        )

    def perform(self, moments: Expression, rig: Rig) -> Expression:
        """The performance behind some moments (a batch): see `drivers`."""
        told = by_name(moments, rig)
        return replace(
            told,
            coefficients=told.coefficients - self.face,
            world_from_head=invert_rigid(self.pose) @ told.world_from_head,
            world_from_torso=None,
            personal=None,
            torso=None,
            sound=None,
        )
