"""metrical-tracker results: `checkpoint/*.frame` beside the pictures it looked at."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likeness.captures.fields import array, load_torch, pose, reading
from likeness.captures.flame_params import RIG, from_rows
from likeness.captures.head_poses import OPENGL, still_camera, track_of
from likeness.captures.picture_files import PictureFiles, picture_paths
from likeness.captures.transforms_json import fitted, one_size
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.geometry import matrix_to_axis_angle
from likeness.core.unpickle import restricted_read


def recognises(path: Path) -> bool:
    return path.is_dir() and any((path / "checkpoint").glob("*.frame"))


def read(path: Path, fps: float = 25.0) -> Capture:
    """An actor's output folder, with its FLAME track (rig "flame", 100 coefficients).

    The tracker keeps the head still and moves the camera; here the camera is still. Eyelid
    coefficients, which FLAME has no shapes for, are in `notes["eyelids"]`.
    """
    folder = Path(path)
    checkpoints = sorted((folder / "checkpoint").glob("*.frame"))
    frames = [read_frame(p) for p in checkpoints]
    pictures = tuple(_picture(folder, p.stem) for p in checkpoints)
    size = one_size(pictures, folder)
    poses, intrinsics, joints = [], [], []
    for file, frame in zip(checkpoints, frames):
        poses.append(camera_from_head(frame, file))
        height, width = array(frame.get("img_size"), file, "'img_size'", (2,))
        k = array(_of(frame, "opencv", "K", file), file, "'K'", (1, 3, 3))[0]
        intrinsics.append(fitted(k, (int(width), int(height)), size, file))
        joints.append(_joints(frame, file))
    head_from_camera = np.linalg.inv(np.stack(poses)) @ OPENGL
    camera, world_from_head = still_camera(head_from_camera, np.stack(intrinsics), *size)
    coefficients = [array(_of(f, "flame", "exp", p), p, "'exp'", (1, None))[0]
                    for p, f in zip(checkpoints, frames)]  # fmt: skip
    odd = next(
        (p for p, c in zip(checkpoints, coefficients) if len(c) != len(coefficients[0])), None
    )
    if odd is not None:
        raise BadInput(f"{odd} has 'exp' of another length than {checkpoints[0]}. Track again.")
    shape = array(_of(frames[0], "flame", "shape", checkpoints[0]), folder, "'shape'", (1, None))
    lids = [_lids(f, p) for p, f in zip(checkpoints, frames)]
    return Capture(
        name=folder.name,
        pictures=PictureFiles(pictures),
        times=tuple(i / fps for i in range(len(frames))),
        size=size,
        fps=fps,
        names=tuple(p.stem for p in checkpoints),
        focal=float(intrinsics[0][0, 0]),
        track=track_of(
            camera, RIG, world_from_head, np.stack(coefficients), np.stack(joints), shape[0]
        ),
        source=str(folder),
        notes={"layout": "metrical", "eyelids": lids},
    )


def read_frame(path: Path) -> dict[str, Any]:
    """One `.frame`: plain arrays inside a torch archive, read without running anything."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}.")
    with reading(path):
        if not zipfile.is_zipfile(path):
            found = load_torch(path)
        else:
            with zipfile.ZipFile(path) as archive:
                inside = [n for n in archive.namelist() if n.endswith("data.pkl")]
                if not inside:
                    raise BadInput(f"{path} is an archive without data.pkl. Track again.")
                found = restricted_read(io.BytesIO(archive.read(inside[0])), path)
    if not isinstance(found, dict) or not {"flame", "camera", "opencv"} <= found.keys():
        raise BadInput(f"{path} lacks 'flame', 'camera' or 'opencv'. Track the clip again.")
    return found


def _of(frame: dict[str, Any], part: str, name: str, path: Path) -> Any:
    group = frame[part]
    if not isinstance(group, dict) or name not in group:
        raise BadInput(f"{path} has no {name!r} in {part!r}. Track the clip again.")
    return group[name]


def camera_from_head(frame: dict[str, Any], path: Path) -> np.ndarray:
    """OpenCV camera-from-head, as the tracker stores it for others."""
    whole = np.eye(4)
    whole[:3, :3] = array(_of(frame, "opencv", "R", path), path, "'R'", (1, 3, 3))[0]
    whole[:3, 3] = array(_of(frame, "opencv", "t", path), path, "'t'", (1, 3))[0]
    return pose(whole, path, "'opencv' pose")


def _lids(frame: dict[str, Any], path: Path) -> list[float]:
    stored = frame["flame"].get("eyelids", np.zeros((1, 2)))
    return array(stored, path, "'eyelids'", (1, 2))[0].tolist()


def _joints(frame: dict[str, Any], path: Path) -> np.ndarray:
    """Neck (at rest), jaw, left and right eye."""
    jaw = array(_of(frame, "flame", "jaw", path), path, "'jaw'", (1, 6))
    eyes = array(_of(frame, "flame", "eyes", path), path, "'eyes'", (1, 12)).reshape(2, 6)
    turns = torch.from_numpy(from_rows(np.concatenate([jaw, eyes])))
    return np.concatenate([np.zeros((1, 3)), matrix_to_axis_angle(turns).numpy()])


def _picture(folder: Path, name: str) -> Path:
    """The tracker copies what it looked at to `input/`."""
    for path in (folder / "input" / f"{name}.png", folder / "input" / f"{name}.jpg"):
        if path.is_file():
            return path
    there = picture_paths(folder / "input") if (folder / "input").is_dir() else []
    raise BadInput(
        f"{folder} has no picture input/{name}.png ({len(there)} others are there). "
        "Copy the tracker's whole output folder."
    )
