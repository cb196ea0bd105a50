"""BVH: where the head is and how it turns, for animation programs. Centimetres and degrees."""

import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import rigid
from likeness.exporters.angles import matrix_from_turns, turns_of
from likeness.exporters.motion import Motion, Moves, check_finite, write_lines
from likeness.exporters.notes import Note, write_beside
from likeness.rigs import RIGS

_CHANNELS = "Xposition Yposition Zposition Yrotation Xrotation Zrotation"
_TIP = 12.0  # centimetres up to the end of the bone, for display only


@dataclass(frozen=True)
class Bvh:
    """Motion of the head only: one bone with six channels, in centimetres and degrees."""

    needs = Moves
    suffix = ".bvh"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        check_finite(motion)
        write_bvh(path, motion.expressions.world_from_head, motion.fps)
        write_beside(path, note)
        return path


def write_bvh(path: str | Path, world_from_head: Float[Tensor, "T 4 4"], fps: float) -> None:
    turns = turns_of(world_from_head[:, :3, :3]).double() * (180 / math.pi)
    rows = torch.cat([100 * world_from_head[:, :3, 3].double(), turns], -1)
    head = [
        "HIERARCHY",
        "ROOT Head",
        "{",
        "\tOFFSET 0 0 0",
        f"\tCHANNELS 6 {_CHANNELS}",
        "\tEnd Site",
        "\t{",
        f"\t\tOFFSET 0 {_TIP:g} 0",
        "\t}",
        "}",
        "MOTION",
        f"Frames: {len(rows)}",
        f"Frame Time: {1 / fps:.8f}",
    ]
    body = (" ".join(f"{v:.6f}" for v in row.tolist()) for row in rows)
    write_lines(path, chain(head, body))


def read_bvh(path: str | Path) -> tuple[Float[Tensor, "T 4 4"], float]:
    """The root's motion and the frame rate, of a file with our order of channels."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}).") from error
    if _CHANNELS not in " ".join(text.split()) or "MOTION" not in text:
        raise BadInput(f"{path} is no BVH whose root has the channels {_CHANNELS}.")
    try:
        lines = text[text.index("MOTION") :].splitlines()
        count = int(lines[1].split(":")[1])
        fps = 1 / float(lines[2].split(":")[1])
        table = torch.tensor(
            [[float(v) for v in line.split()[:6]] for line in lines[3 : 3 + count]]
        )
        if table.shape != (count, 6) or not count:
            raise ValueError(f"{len(table)} of {count} frames")
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise BadInput(f"{path} is damaged ({error}). Export it again.") from error
    turns = table[:, 3:] * (math.pi / 180)
    return rigid(matrix_from_turns(turns), table[:, :3] / 100), fps


def read_motion_bvh(path: str | Path, rig: str = "clay") -> Motion:
    """A neutral face of `rig` under the head's motion: a BVH says nothing of the face."""
    head, fps = read_bvh(path)
    still = RIGS.load(rig)().neutral(len(head))
    return Motion(Expression(rig, still.coefficients, still.joints, head), fps)
