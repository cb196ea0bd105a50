"""CSV in the layout of the ARKit phone app: timecode, 52 coefficients, head and eye angles."""

import csv
import io
import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.core.errors import BadInput, Unsupported
from likeness.core.expression import Expression
from likeness.core.files import read_any_json
from likeness.core.geometry import axis_angle_to_matrix, matrix_to_axis_angle, rigid
from likeness.exporters.angles import matrix_from_turns, turns_of
from likeness.exporters.motion import Motion, Moves, check_finite, names_of, write_lines
from likeness.exporters.notes import Note, write_beside
from likeness.rigs import RIGS

_SIDES = ("Left", "Right")
_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
ORDER = (
    *(f"Eye{what}{side}" for side in _SIDES for what in _EYE),
    *("JawForward", "JawRight", "JawLeft", "JawOpen"),
    *("MouthClose", "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft"),
    *(f"Mouth{what}{side}" for what in ("Smile", "Frown", "Dimple", "Stretch") for side in _SIDES),
    *("MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"),
    *(f"Mouth{what}{side}" for what in ("Press", "LowerDown", "UpperUp") for side in _SIDES),
    *("BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight"),
    *("CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight"),
    "TongueOut",
)
_TURNS = ("Yaw", "Pitch", "Roll")
_ANGLES = tuple(f"{part}{turn}" for part in ("Head", "LeftEye", "RightEye") for turn in _TURNS)
_HEAD = ("Timecode", "BlendshapeCount")
_DIGITS = 6


@dataclass(frozen=True)
class MotionCsv:
    """Motion as the ARKit phone app writes it, angles in radians; the head's place is not kept."""

    needs = Moves
    suffix = ".csv"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        write_motion_csv(path, motion)
        write_beside(path, note, fps=motion.fps, rig=motion.expressions.rig)
        return path


def write_motion_csv(path: str | Path, motion: Motion) -> None:
    """Six digits after the point. A rig without the 52 coefficients is refused.

    Head angles are of `world_from_head`: yaw about up, pitch about the ears' axis, roll about the
    nose. Eye angles are those of the joints on top of what the coefficients imply.
    """
    check_finite(motion)
    what = motion.expressions
    names, joint_names = names_of(what.rig, what.coefficients.shape[-1], what.joints.shape[-2])
    columns = [_lower(name) for name in ORDER]
    if missing := [name for name in columns if name not in names]:
        raise Unsupported(
            f"The rig {what.rig!r} lacks {', '.join(missing[:3])} of the 52 ARKit coefficients. "
            "Retarget the motion to clay first."
        )
    coefficients = what.coefficients[:, [names.index(name) for name in columns]]
    angles = [turns_of(what.world_from_head[:, :3, :3])]
    for joint in ("left_eye", "right_eye"):
        if joint in joint_names:
            turn = axis_angle_to_matrix(what.joints[:, joint_names.index(joint)])
            angles.append(turns_of(turn))
        else:
            angles.append(torch.zeros(len(motion), 3))
    table = torch.cat([coefficients, *angles], -1).double()
    head = ",".join([*_HEAD, *ORDER, *_ANGLES])
    rows = (_row(frame, row.tolist(), motion.fps) for frame, row in enumerate(table))
    write_lines(path, chain([head], rows))


def _row(frame: int, values: list[float], fps: float) -> str:
    digits = (f"{value:.{_DIGITS}f}" for value in values)
    return ",".join([_timecode(frame, fps), str(len(values)), *digits])


def read_motion_csv(path: str | Path, rig: str = "clay") -> Motion:
    """A motion for `rig`. Columns may come in any order; absent ones are zero, unknown refused.

    Without a file beside it that tells, the frame rate comes from the timecodes (60 if they do
    not say). The head stays at the origin and only turns.
    """
    rows = _rows(path)
    header = [name.strip() for name in rows[0]]
    known = {*_HEAD, *ORDER, *_ANGLES}
    if strange := [name for name in header if name not in known]:
        raise BadInput(
            f"{path} has columns the ARKit layout does not: {', '.join(strange[:5])}. "
            "Remove or rename them."
        )
    if not any(name in ORDER for name in header):
        raise BadInput(f"{path} has none of the 52 ARKit columns, so it holds no expression.")
    numbers = _numbers(path, rows[1:], header)
    model = RIGS.load(rig)()
    count = len(rows) - 1
    coefficients = torch.zeros(count, len(model.shape_names))
    for name in ORDER:
        if name in numbers and _lower(name) in model.shape_names:
            coefficients[:, model.shape_names.index(_lower(name))] = numbers[name]

    def turned(part: str) -> Tensor:
        zero = torch.zeros(count)
        return torch.stack([numbers.get(f"{part}{turn}", zero) for turn in _TURNS], -1)

    joints = torch.zeros(count, len(model.joint_names), 3)
    for joint, part in (("left_eye", "LeftEye"), ("right_eye", "RightEye")):
        if joint in model.joint_names:
            joints[:, model.joint_names.index(joint)] = _axis_angle(turned(part))
    head = rigid(matrix_from_turns(turned("Head")), torch.zeros(count, 3))
    codes = [row[header.index("Timecode")] for row in rows[1:]] if "Timecode" in header else []
    return Motion(Expression(rig, coefficients, joints, head), _rate(path, codes))


def _axis_angle(turns: Tensor) -> Tensor:
    return matrix_to_axis_angle(matrix_from_turns(turns))


def _rows(path: str | Path) -> list[list[str]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file ({error}).") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}).") from error
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if len(rows) < 2:
        raise BadInput(f"{path} holds no frames.")
    return rows


def _numbers(path: str | Path, rows: list[list[str]], header: list[str]) -> dict[str, Tensor]:
    columns: dict[str, list[float]] = {n: [] for n in header if n not in _HEAD}
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise BadInput(f"{path} line {number} has {len(row)} of {len(header)} columns.")
        for name, text in zip(header, row):
            if name in _HEAD:
                continue
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise BadInput(f"{path} line {number}: {name} is {text!r}, not a number.")
            columns[name].append(value)
    return {name: torch.tensor(values) for name, values in columns.items()}


def _rate(path: str | Path, codes: list[str]) -> float:
    beside = Path(f"{path}.json")
    if beside.is_file():
        about = read_any_json(beside)
        if isinstance(about, dict) and isinstance(about.get("fps"), int | float):
            return float(about["fps"])
    frames = []
    for code in codes:
        parts = code.split(":")
        if len(parts) != 4:
            return 60.0
        try:
            frames.append(int(float(parts[3])))
        except ValueError:
            return 60.0
    return float(max(frames) + 1) if frames and len(frames) > max(frames) + 1 else 60.0


def _timecode(frame: int, fps: float) -> str:
    """HH:MM:SS:FF.fff, frames within the second counted from 0."""
    second, inside = divmod(frame, max(round(fps), 1))
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}:{inside:02d}.000"


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
