"""A performance put on one person: strength by region, the range of training, the rest pose."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, matrix_to_axis_angle, rigid

NECK = (0.0, -0.11, -0.08)  # what a head turns about, in its own frame, metres
_TORSO_SHARE = 0.4  # of the head's shift that shoulders make with it
_STIR = 1e-3  # a coefficient less beyond its range than this is not counted as held back


@dataclass(frozen=True)
class Strength:
    """How much of a performance gets through, by region; 1 is all, 0 none."""

    mouth: float = 1.0
    """Jaw, lips, cheeks, nose and tongue."""
    eyes: float = 1.0
    """Lids and gaze."""
    brows: float = 1.0
    """Brows."""
    head: float = 1.0
    """Turns and shifts of the head."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 3:
                raise BadInput(f"A strength of {value} for the {name} is outside 0 to 3.")

    def of(self, shape: str) -> float:
        """The strength of a coefficient, by its name. Names of other rigs count as mouth."""
        if shape.startswith("eye"):
            return self.eyes
        return self.brows if shape.startswith("brow") else self.mouth


@dataclass(frozen=True, eq=False)
class Target:
    """Whom to drive: one moment at rest, and how far training saw them go.

    `rest` holds the coefficients of their own neutral face. `low` and `high` bound coefficients;
    `turn` is radians and `shift` metres that the head went away from rest.
    """

    rest: Expression
    low: Float[Tensor, " E"]
    high: Float[Tensor, " E"]
    turn: float = 0.6
    shift: float = 0.08


@dataclass(frozen=True, eq=False)
class Placed:
    """`held` counts how often each coefficient was held back; `held_head` how often the head."""

    expressions: Expression
    held: Float[Tensor, " E"]
    held_head: int


def place(
    performance: Expression,
    target: Target,
    names: tuple[str, ...],
    strength: Strength = Strength(),
    beyond: float = 0.25,
) -> Placed:
    """Expressions of the target for a performance (T moments of the target's rig).

    Inside the range of training nothing changes; outside, a coefficient approaches an edge
    `beyond` further out, because splats and fields have learned nothing there. The torso stays
    where it rests and goes along with a part of the head's shift, unless the performance brings
    its own motion of the torso.
    """
    like = performance.coefficients
    weights = torch.tensor([strength.of(name) for name in names]).to(like)
    asked = target.rest.coefficients.to(like) + weights * like
    reached = _soft(asked, target.low.to(like), target.high.to(like), beyond)
    held = ((asked - reached).abs() > _STIR).sum(0).to(like.dtype)
    motion, held_head = _held(_scaled(performance.world_from_head, strength.head), target)
    rest = target.rest.world_from_head.to(like)
    torso = target.rest.world_from_torso
    if torso is not None:
        torso = _torso(performance, motion, target, strength.head)
    placed = replace(
        performance,
        coefficients=reached,
        world_from_head=rest @ motion,
        world_from_torso=torso,
    )
    return Placed(placed, held, held_head)


def turned(angles: Float[Tensor, "T 3"]) -> Float[Tensor, "T 4 4"]:
    """Motions of a head that turns about its neck, by axis-angle."""
    turn = axis_angle_to_matrix(angles)
    pivot = turn.new_tensor(NECK)
    return rigid(turn, pivot - turn @ pivot)


def check_finite(expressions: Expression) -> None:
    """Raise, naming the frame, when a number is not finite."""
    for name in Expression.BATCHED:
        value = getattr(expressions, name)
        if value is None:
            continue
        bad = (~torch.isfinite(value.reshape(len(value), -1))).any(1).nonzero()
        if len(bad):
            raise BadInput(
                f"Frame {int(bad[0])} of the driver has a {name} that is not a finite number. "
                "Cut that frame out, or track the driver again."
            )


def _soft(asked: Tensor, low: Tensor, high: Tensor, beyond: float) -> Tensor:
    """`asked` within [low, high]; outside it bends towards an edge `beyond` further out."""
    if beyond < 1e-6:
        return torch.maximum(torch.minimum(asked, high), low)
    over, under = torch.relu(asked - high), torch.relu(low - asked)
    inside = torch.maximum(torch.minimum(asked, high), low)
    return inside + beyond * (torch.tanh(over / beyond) - torch.tanh(under / beyond))


def _scaled(motion: Tensor, strength: float) -> Tensor:
    turn = matrix_to_axis_angle(motion[:, :3, :3])
    return rigid(axis_angle_to_matrix(strength * turn), strength * motion[:, :3, 3])


def _held(motion: Tensor, target: Target) -> tuple[Tensor, int]:
    """The head's motion within reach: turns and shifts bend towards a quarter beyond it."""
    turn, shift = matrix_to_axis_angle(motion[:, :3, :3]), motion[:, :3, 3]
    turn, far = _shortened(turn, target.turn)
    shift, away = _shortened(shift, target.shift)
    return rigid(axis_angle_to_matrix(turn), shift), int((far | away).sum())


def _shortened(vectors: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    length = vectors.norm(dim=-1, keepdim=True)
    shorter = _soft(length, torch.zeros(()), torch.full((), reach), 0.25 * reach + 1e-6)
    far = (length - shorter).abs()[:, 0] > _STIR
    return vectors * (shorter / length.clamp(min=1e-9)), far


def _torso(performance: Expression, motion: Tensor, target: Target, strength: float) -> Tensor:
    rest = target.rest.world_from_torso
    assert rest is not None
    own = performance.world_from_torso
    head = target.rest.world_from_head.to(motion)
    if own is not None:
        away = head @ _scaled(own, strength) @ torch.linalg.inv(head)
        return away @ rest.to(motion)
    moved = rest.to(motion).repeat(len(motion), 1, 1)
    moved[:, :3, 3] += _TORSO_SHARE * motion[:, :3, 3] @ head[:3, :3].T
    return moved
