"""Retargeting: what one person does, carried over to another."""

import logging
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput, Missing, Unsupported
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, invert_rigid, matrix_to_axis_angle, rigid
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.drivers.placing import check_finite
from likeness.rigs import RIGS

_log = logging.getLogger(__name__)
_QUIET = 0.2  # share of the frames that count as the driver at rest
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Retarget:
    """A Track of the same or another person."""

    neutral: float = 0.1
    """Which quantile of each coefficient is the driver's neutral face; 0 takes none out."""
    torso: bool = False
    """Whether the driver's shoulders move the target's."""

    def drive(self, source: Track, rig: Rig) -> Expression:
        """The performance behind a track: coefficients without the driver's neutral face, and the
        head's motion away from its pose at rest. Personal modes are left out, because they mean
        nothing for another face. Frames in which no face was found hold the pose next to them."""
        seen = source.confidence > 0
        if not bool(seen.any()):
            raise BadInput("The driver's track has no frame with a face in it.")
        check_finite(source.expressions)
        told = by_name(source.expressions, rig)
        neutral = self.face(told.coefficients[seen])
        quiet = neutral_frame(told.coefficients[seen])
        pose = neutral_pose(told.world_from_head[seen], quiet)
        torso = told.world_from_torso
        if torso is not None and self.torso:
            rest = neutral_pose(torso[seen], quiet)
            moved = torso @ invert_rigid(rest)  # in the driver's world
            torso = invert_rigid(pose) @ moved @ pose
        return replace(
            told,
            coefficients=told.coefficients - neutral,
            world_from_head=invert_rigid(pose) @ told.world_from_head,
            world_from_torso=torso if self.torso else None,
            personal=None,
            torso=None,
            sound=None,
        )

    def face(self, coefficients: Float[Tensor, "T E"]) -> Float[Tensor, " E"]:
        """The driver's neutral face: a low quantile, because coefficients only rise from rest."""
        if not 0 <= self.neutral <= 0.5:
            raise BadInput(f"A neutral quantile of {self.neutral} is outside 0 to 0.5.")
        if self.neutral == 0 or not len(coefficients):
            return torch.zeros_like(coefficients[0])
        return coefficients.quantile(self.neutral, dim=0)


def neutral_frame(coefficients: Float[Tensor, "T E"]) -> Tensor:
    """The frames in which a face does least (at least one)."""
    away = (coefficients - coefficients.median(0).values.clamp(max=0.3)).square().sum(-1)
    count = max(1, round(_QUIET * len(away)))
    return away.argsort()[:count]


def neutral_pose(poses: Float[Tensor, "T 4 4"], frames: Tensor) -> Float[Tensor, "4 4"]:
    """The middle of the poses in some frames; robust against a few that are far off."""
    some = poses[frames]
    first = some[(some[:, :3, 3] - some[:, :3, 3].median(0).values).norm(dim=-1).argmin()]
    away = matrix_to_axis_angle(first[:3, :3].T @ some[:, :3, :3]).median(0).values
    return rigid(first[:3, :3] @ axis_angle_to_matrix(away), some[:, :3, 3].median(0).values)


def by_name(expressions: Expression, rig: Rig) -> Expression:
    """The same coefficients for `rig`, by their names; what only one of the two has is dropped
    or zero, and said."""
    if expressions.rig == rig.name:
        if expressions.coefficients.shape[-1] != len(rig.shape_names):
            raise Unsupported(
                f"The driver has {expressions.coefficients.shape[-1]} coefficients; the rig "
                f"{rig.name!r} has {len(rig.shape_names)}. Track the driver again."
            )
        return expressions
    names = _names(expressions.rig)
    common = [name for name in rig.shape_names if name in names]
    if not common or len(names) != expressions.coefficients.shape[-1]:
        raise Unsupported(
            f"The driver is of the rig {expressions.rig!r} and the avatar of {rig.name!r}, which "
            f"share no names of coefficients. Track the driver with --rig {rig.name}."
        )
    values = expressions.coefficients
    if missing := [name for name in rig.shape_names if name not in names]:
        _log.warning(
            "The driver's rig %r lacks %d coefficients of %r, which stay at rest: %s.",
            expressions.rig, len(missing), rig.name, shortened(missing),
        )  # fmt: skip
    still = rig.neutral(len(values))
    out = still.coefficients.to(values)
    for name in common:
        out[:, rig.shape_names.index(name)] = values[:, names.index(name)]
    return replace(
        still,
        coefficients=out,
        joints=still.joints.to(values),
        world_from_head=expressions.world_from_head,
        world_from_torso=expressions.world_from_torso,
    )


def shortened(names: list[str]) -> str:
    """A list of names that fits into a line."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


@cache
def _names(rig: str) -> tuple[str, ...]:
    """The names of a rig's coefficients; none for a rig that is not on this machine."""
    try:
        return tuple(RIGS.load(rig)().shape_names) if rig in RIGS else ()
    except Missing:
        return ()
