"""Motion as NPZ: the arrays of an Expression as they are, exactly."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.files import write_bytes
from likeness.exporters.motion import Motion, Moves, check_finite, check_shapes, names_of
from likeness.exporters.notes import KEY, Note


@dataclass(frozen=True)
class MotionNpz:
    """Motion for Python: `np.load` opens it; nothing is rounded."""

    needs = Moves
    suffix = ".npz"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        write_motion_npz(path, motion, note)
        return path


def write_motion_npz(path: str | Path, motion: Motion, note: Note | None = None) -> None:
    check_finite(motion)
    what = motion.expressions
    shapes, joints = names_of(what.rig, what.coefficients.shape[-1], what.joints.shape[-2])
    arrays: dict[str, Any] = {
        "rig": np.array(what.rig),
        "fps": np.array(motion.fps),
        "shape_names": np.array(shapes),
        "joint_names": np.array(joints),
        KEY: np.array((note or Note()).line()),
    }
    for name in Expression.BATCHED:
        if (value := getattr(what, name)) is not None:
            arrays[name] = value.detach().cpu().numpy()
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    write_bytes(path, packed.getvalue())


def read_motion_npz(path: str | Path) -> Motion:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        blocks = {n: torch.from_numpy(found[n]) for n in Expression.BATCHED if n in found}
        check_shapes(blocks)
        motion = Motion(Expression(str(found["rig"]), **blocks), float(found["fps"]))  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} is not a motion of ours ({error}).") from error
    check_finite(motion)
    return motion
