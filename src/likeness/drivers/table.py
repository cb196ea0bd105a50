"""A table of named coefficients: what phone apps and our exporters write."""

from dataclasses import dataclass, replace

from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, matrix_to_axis_angle
from likeness.core.rig import Rig
from likeness.drivers.placing import check_finite, turned
from likeness.drivers.retarget import by_name, neutral_frame, neutral_pose


@dataclass(frozen=True)
class Table:
    """Coefficients as they stand in a file. The head moves away from its middle pose."""

    still: bool = True
    """Whether the pose of the head at rest is taken out (else angles are used as they are)."""

    def drive(self, source: Expression, rig: Rig) -> Expression:
        """The performance in a table (T moments). Numbers that are no numbers are refused."""
        if source.coefficients.dim() != 2 or not len(source.coefficients):
            raise BadInput("The table holds no moment, so there is nothing to play.")
        check_finite(source)
        told = by_name(source, rig)
        head = told.world_from_head
        if self.still:
            head = invert_rigid(neutral_pose(head, neutral_frame(told.coefficients))) @ head
        if float(head[:, :3, 3].abs().max()) < 1e-6:  # only turns were kept: about the neck then
            head = turned(matrix_to_axis_angle(head[:, :3, :3]))
        return replace(
            told, world_from_head=head, world_from_torso=None, personal=None, torso=None, sound=None
        )
