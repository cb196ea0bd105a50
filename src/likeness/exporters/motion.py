"""What is exported: one moment or many, with the names of their numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from likeness.core.batching import take
from likeness.core.capture import Sound
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.files import atomic
from likeness.rigs import RIGS

_ENDS = {"world_from_head": (4, 4), "world_from_torso": (4, 4)}


@runtime_checkable
class Moves(Protocol):
    """Anything that has a motion: an avatar, or a track on its own."""

    rig: str


@dataclass(frozen=True, eq=False)
class Motion:
    """Expressions at a steady rate; `expressions` is a batch of T >= 1 moments."""

    expressions: Expression
    fps: float = 30.0
    sound: Sound | None = None
    """What was heard during it; films keep it."""

    def __post_init__(self) -> None:
        if self.expressions.coefficients.dim() != 2 or not len(self.expressions.coefficients):
            raise BadInput("A motion needs at least one moment. Was the track empty?")
        if not 0 < self.fps <= 1000:
            raise BadInput(f"A motion of {self.fps} frames a second makes no sense.")

    def __len__(self) -> int:
        return len(self.expressions.coefficients)

    def __getitem__(self, index: int) -> Expression:
        return take(self.expressions, index)


def moment(expression: Expression) -> Motion:
    """A motion of one moment."""
    fields = {
        name: value[None]
        for name in Expression.BATCHED
        if (value := getattr(expression, name)) is not None
    }
    return Motion(replace(expression, **fields))


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """A text file line by line, so that a long motion takes no more memory than a short one."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def names_of(rig: str, coefficients: int, joints: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a rig's coefficients and joints; numbers where we do not have the rig."""
    if rig in RIGS:
        model = RIGS.load(rig)()
        shapes, turned = tuple(model.shape_names), tuple(model.joint_names)
        if len(shapes) == coefficients and len(turned) == joints:
            return shapes, turned
    return tuple(str(i) for i in range(coefficients)), tuple(str(i) for i in range(joints))


def check_shapes(blocks: dict[str, torch.Tensor]) -> None:
    """Raise, naming it, for numbers of a motion that do not belong to all its moments alike."""
    frames = len(blocks["coefficients"])
    for name, value in blocks.items():
        ends = _ENDS.get(name, tuple(value.shape[1:]))
        if not value.dim() or len(value) != frames or tuple(value.shape[1:]) != ends:
            raise BadInput(
                f"The motion's {name} is of shape {tuple(value.shape)}, which does not fit its "
                f"{frames} moments. Export or track it again."
            )


def check_finite(motion: Motion) -> None:
    """Raise, naming the frame, when a number is not finite."""
    for name in Expression.BATCHED:
        value = getattr(motion.expressions, name)
        if value is None:
            continue
        bad = (~torch.isfinite(value.reshape(len(value), -1))).any(1).nonzero()
        if len(bad):
            raise BadInput(
                f"Frame {int(bad[0])} of the motion has a {name} that is not a finite number. "
                "Cut it out, or track again."
            )
