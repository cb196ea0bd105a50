"""nerfstudio's `transforms.json`, and the Blender-style folders it grew from."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from likeness.captures.fields import file_name, items, matrix, number, pose, text
from likeness.captures.head_poses import OPENGL, camera_to_head, single, track_of
from likeness.captures.native import save_picture
from likeness.captures.picture_files import PictureFiles, picture_size
from likeness.captures.transforms_json import (
    SPLITS,
    fitted,
    frame_name,
    must_fit,
    one_size,
    picture_file,
    split_file,
    stated_intrinsics,
)
from likeness.core.camera import Camera
from likeness.core.capture import Capture, Splits, last_fifth
from likeness.core.errors import BadInput
from likeness.core.files import read_any_json, write_text
from likeness.core.track import Track

RIG = "still"
"""The rig of layouts that know cameras and nothing of a face: it has no coefficients."""

Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1.0]])
"""Our world (y up) from a world whose z points up."""

_PINHOLES = {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"}
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_log = logging.getLogger(__name__)


def recognises(path: Path) -> bool:
    return path.is_dir() and split_file(path, "frames", "transform_matrix")


def read(path: Path, fps: float | None = None) -> Capture:
    """Pictures with their cameras (rig "still"); several splits are read one after the other.

    The world is turned from z up to y up. Lens distortion is not modelled: it is reported in
    `notes["distortion"]`, so undistort first where it matters.
    """
    folder = Path(path)
    files = _files(folder)
    pictures: list[Path] = []
    masks: list[Path | None] = []
    cameras: list[tuple[np.ndarray, np.ndarray, tuple[int, int]]] = []
    members: dict[str, list[int]] = {}
    distortion: dict[str, float] = {}
    for split, file in files.items():
        data = read_any_json(file)
        frames = items(data, "frames", file)
        distortion.update(_distortion(data, file))
        for index, frame in enumerate(frames):
            where = f"{file}, frame {index}"
            picture = picture_file(folder, frame_name(frame, where), where)
            mask = file_name(frame, "mask_path", where, None)
            c2w = pose(matrix(frame, "transform_matrix", where), where, "'transform_matrix'")
            size = picture_size(picture)
            k, stated = stated_intrinsics(data, frame, size, where)
            members.setdefault(_split_of(data, frame, split), []).append(len(pictures))
            pictures.append(picture)
            masks.append(None if mask is None else folder / mask)
            cameras.append((OPENGL @ np.linalg.inv(Z_UP @ c2w), k, stated))
    size = one_size(tuple(pictures), folder)
    intrinsics = np.stack([fitted(k, stated, size, folder) for _, k, stated in cameras])
    camera = Camera(single(intrinsics), single(np.stack([c[0] for c in cameras])), *size)
    still = single(np.broadcast_to(np.eye(4), (len(pictures), 4, 4)))
    parts = [tuple(members.get(s, ())) for s in SPLITS]
    return Capture(
        name=folder.name,
        pictures=PictureFiles(tuple(pictures), tuple(masks)),
        times=tuple(float(i) if fps is None else i / fps for i in range(len(pictures))),
        size=size,
        fps=fps,
        names=tuple(p.stem for p in pictures),
        splits=Splits(*parts) if any(parts) else None,
        focal=tuple(intrinsics[:, 0, 0].tolist()),
        track=track_of(camera, RIG, still),
        source=str(folder),
        notes={"layout": "nerfstudio", **({"distortion": distortion} if distortion else {})},
    )


def _files(folder: Path) -> dict[str, Path]:
    """The whole file, or else those of the splits."""
    whole = folder / "transforms.json"
    if whole.is_file():
        return {"": whole}
    found = {s: folder / f"transforms_{s}.json" for s in SPLITS}
    return {s: f for s, f in found.items() if f.is_file()}


def _split_of(data: dict[str, Any], frame: dict[str, Any], split: str) -> str:
    """The split of a frame: that of its file, or of the lists of names in a whole file."""
    if split:
        return split
    for name in SPLITS:
        listed = data.get(f"{name}_filenames")
        if isinstance(listed, list) and frame.get("file_path") in listed:
            return name
    return ""


def _distortion(data: dict[str, Any], file: Path) -> dict[str, float]:
    model = text(data, "camera_model", file, "OPENCV")
    if model.upper() not in _PINHOLES:
        raise BadInput(
            f"{file} was taken with a {model!r} camera; only pinhole cameras are understood. "
            "Undistort the pictures first."
        )
    found = {k: number(data, k, file, 0.0) for k in _DISTORTION}
    found = {k: v for k, v in found.items() if v}
    if found:
        _log.warning("%s: lens distortion %s is not modelled.", file, found)
    return found


def write_nerfstudio(
    capture: Capture, track: Track, folder: str | Path, head_still: bool = True
) -> None:
    """Write pictures (with alpha where known) and cameras as a nerfstudio folder.

    With `head_still` the head is the world and the camera moves around it, which is what methods
    for still scenes need; otherwise cameras are written as they are.
    """
    folder = Path(folder)
    must_fit(track, capture)
    if head_still:
        poses = camera_to_head(track).double().numpy()
    else:
        inverse = np.linalg.inv(track.cameras.camera_from_world.double().numpy())
        poses = inverse @ OPENGL
    poses = np.linalg.inv(Z_UP) @ poses
    frames = []
    for index in range(len(capture)):
        name = f"images/frame_{index:05d}.png"
        rgb, alpha = capture.pictures.rgb(index), capture.pictures.alpha(index)
        if alpha is None and track.maps is not None:
            alpha = track.maps.alpha(index)
        save_picture(folder / name, rgb if alpha is None else np.dstack([rgb, alpha]))
        k = track.cameras.intrinsics[index].double()
        frames.append(
            {
                "file_path": name,
                "transform_matrix": poses[index].tolist(),
                "fl_x": float(k[0, 0]),
                "fl_y": float(k[1, 1]),
                "cx": float(k[0, 2]),
                "cy": float(k[1, 2]),
                "w": track.cameras.width,
                "h": track.cameras.height,
                "time": capture.times[index],
            }
        )
    splits = capture.splits or last_fifth(len(capture))
    lists = {
        f"{split}_filenames": [frames[i]["file_path"] for i in chosen]
        for split, chosen in zip(SPLITS, (splits.train, splits.validation, splits.test))
    }
    data = {"camera_model": "OPENCV", **lists, "frames": frames}
    write_text(folder / "transforms.json", json.dumps(data, indent=1, allow_nan=False))
