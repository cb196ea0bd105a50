"""Motion as JSON: every number of a track's expressions, by name, for programs and people."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.files import read_json
from likeness.exporters.motion import Motion, Moves, check_finite, names_of, write_lines
from likeness.exporters.notes import KEY, Note

_BLOCKS = ("coefficients", "joints", "world_from_head", "world_from_torso", "personal", "torso")


@dataclass(frozen=True)
class MotionJson:
    """Motion as JSON, by name: one list a frame, matrices row by row, axis-angle radians."""

    needs = Moves
    suffix = ".json"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        write_motion_json(path, motion, note)
        return path


def write_motion_json(path: str | Path, motion: Motion, note: Note | None = None) -> None:
    check_finite(motion)
    write_lines(path, _lines(motion, note or Note()))


def _lines(motion: Motion, note: Note) -> Iterator[str]:
    """The document, a line a moment. Numbers are the shortest that give the same float32 back."""
    what = motion.expressions
    shapes, joints = names_of(what.rig, what.coefficients.shape[-1], what.joints.shape[-2])
    about: dict[str, Any] = {
        "format": 1,
        "rig": what.rig,
        "fps": motion.fps,
        "frames": len(motion),
        "shape_names": list(shapes),
        "joint_names": list(joints),
    }
    yield "{"
    yield from (f"{json.dumps(key)}: {json.dumps(value)}," for key, value in about.items())
    for name in _BLOCKS:
        if (value := getattr(what, name)) is not None:
            yield f"{json.dumps(name)}: ["
            yield from _rows(value.detach().cpu().reshape(len(motion), -1))
            yield "],"
    yield f"{json.dumps(KEY)}: {json.dumps(note.plain())}"
    yield "}"


def _rows(values: Tensor) -> Iterator[str]:
    last = len(values) - 1
    for index, row in enumerate(values):
        digits = row.numpy().astype(np.float32).astype("U")
        yield f"[{', '.join(digits)}]{'' if index == last else ','}"


def read_motion_json(path: str | Path) -> Motion:
    """A motion written by us. Coefficients the rig does not know are refused by name."""
    about = read_json(path)
    try:
        names = tuple(about["shape_names"])
        joints, frames, fps = len(about["joint_names"]), int(about["frames"]), float(about["fps"])
        blocks = {n: torch.tensor(about[n]).float() for n in _BLOCKS if n in about}
        rig = str(about["rig"])
        shapes = {
            "coefficients": (frames, len(names)),
            "joints": (frames, joints, 3),
            "world_from_head": (frames, 4, 4),
            "world_from_torso": (frames, 4, 4),
        }
        shaped = {n: v.view(shapes.get(n, (frames, -1))) for n, v in blocks.items()}
        what = Expression(rig, **shaped)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{path} is not a whole motion: {error} is missing or wrong.") from error
    known, _ = names_of(rig, len(names), joints)
    if known != names and known != tuple(str(i) for i in range(len(names))):
        wrong = sorted(set(names) - set(known)) or ["(their order)"]
        raise BadInput(f"{path} has coefficients {rig!r} does not know: {', '.join(wrong)}.")
    motion = Motion(what, fps)
    check_finite(motion)
    return motion
