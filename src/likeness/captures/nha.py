"""Neural Head Avatars sequences: one folder a frame, and the FLAME tracking beside them."""

from pathlib import Path
from typing import Any

import numpy as np

from likeness.captures.fields import array, items, load_arrays, numbers, pose
from likeness.captures.flame_params import (
    RIG,
    limited,
    parameter,
    rigid_from_axis_angle,
    stacked_joints,
)
from likeness.captures.head_poses import single, track_of
from likeness.captures.label_colours import nha_alpha, nha_regions
from likeness.captures.picture_files import PictureFiles
from likeness.captures.transforms_json import fitted, one_size
from likeness.core.camera import Camera
from likeness.core.capture import Capture, Splits
from likeness.core.errors import BadInput
from likeness.core.files import read_any_json
from likeness.core.track import Track

TRACKING = "tracked_flame_params.npz"
_OPENCV = np.diag([-1.0, -1.0, 1.0, 1.0])  # from PyTorch3D's axes: x left, y up, z forward


def recognises(path: Path) -> bool:
    return path.is_dir() and any(path.glob("frame_[0-9]*/image_0000.png"))


def read(path: Path, fps: float = 25.0) -> Capture:
    """The frames and, when the sequence was tracked, the track (rig "flame", 70 landmarks)."""
    folder = Path(path)
    folders = sorted(f for f in folder.glob("frame_[0-9]*") if (f / "image_0000.png").is_file())
    pictures = tuple(f / "image_0000.png" for f in folders)
    size = one_size(pictures, folder)
    tracking = folder / TRACKING
    track = None
    if tracking.is_file():
        track = _track(load_arrays(tracking), tracking, folders, size)
        folders, pictures = folders[: len(track)], pictures[: len(track)]
    return Capture(
        name=folder.name,
        pictures=PictureFiles(
            pictures,
            tuple(f / "seg_0000.png" for f in folders),
            tuple(f / "parsing_0000.png" for f in folders),
            nha_alpha,
            nha_regions,
        ),
        times=tuple(i / fps for i in range(len(folders))),
        size=size,
        fps=fps,
        names=tuple(f.name for f in folders),
        splits=_splits(folder / "split.json", len(folders)),
        focal=None if track is None else float(track.cameras.intrinsics[0, 0, 0]),
        track=track,
        source=str(folder),
        notes={"layout": "nha"},
    )


def _track(data: dict[str, Any], path: Path, folders: list[Path], size: tuple[int, int]) -> Track:
    """The shorter of frames and tracking counts. The world is turned to ours: y up, head to +z."""
    count = min(len(folders), len(parameter(data, "rotation", path, (None, 3))))
    numbers_of = {
        name: parameter(data, name, path, (None, width))[:count]
        for name, width in (
            ("rotation", 3),
            ("translation", 3),
            ("neck_pose", 3),
            ("jaw_pose", 3),
            ("eyes_pose", 6),
            ("expr", None),
        )
    }
    short = [name for name, rows in numbers_of.items() if len(rows) != count]
    if short or count == 0:
        raise BadInput(f"{path} holds fewer rows of {short or 'all'} than frames. Track again.")
    head = rigid_from_axis_angle(numbers_of["rotation"], numbers_of["translation"])
    ours = np.diag([-1.0, 1.0, -1.0, 1.0])
    ours[2, 3] = head[:, 2, 3].mean()
    extrinsics = pose(parameter(data, "RT", path, (3, 4)), path, "'RT'")
    camera_from_world = _OPENCV @ extrinsics @ np.linalg.inv(ours)
    intrinsics = _intrinsics(data, path, size)
    camera = Camera(
        single(np.broadcast_to(intrinsics, (count, 3, 3))),
        single(np.broadcast_to(camera_from_world, (count, 4, 4))),
        *size,
    )
    raw = stacked_joints(numbers_of["neck_pose"], numbers_of["jaw_pose"], numbers_of["eyes_pose"])
    landmarks = np.stack([_landmarks(f / "keypoints_static_0000.json") for f in folders[:count]])
    return track_of(
        camera,
        RIG,
        single(ours @ head),
        numbers_of["expr"],
        limited(raw),
        parameter(data, "shape", path, (None,)),
        landmarks=landmarks,
        report={"root_joint": "at translation"},
    )


def _intrinsics(data: dict[str, Any], path: Path, size: tuple[int, int]) -> np.ndarray:
    """Pixels of the stored pictures. Its renderer measures the centre from the lower edge."""
    width, height = size
    tracked = parameter(data, "image_size", path, (2,))
    if tracked.min() < 1:
        raise BadInput(f"{path} has 'image_size' = {tracked.tolist()}. It must be above 0.")
    k = data.get("K")
    if k is not None and np.shape(k) == (3, 3):
        whole = array(k, path, "'K'", (3, 3)).copy()
        whole = fitted(whole, (int(tracked[1]), int(tracked[0])), size, path)
    else:
        focal, cx, cy = parameter(data, "K", path, (3,))
        reach = focal * tracked.max()
        whole = np.array(
            [
                [reach * width / tracked[1], 0, cx * width],
                [0, reach * height / tracked[0], cy * height],
                [0, 0, 1],
            ]
        )
    whole[1, 2] = height - whole[1, 2]
    return whole


def _landmarks(path: Path) -> np.ndarray:
    """68 points, then right and left iris; NaN where the file says it did not find them."""
    data = read_any_json(path)
    person = items(data, "people", path)[0]
    face = np.array(numbers(person, "face_keypoints_2d", path, length=204)).reshape(68, 3)
    iris = np.array(numbers(person, "iris_keypoints_2d", path, length=6)).reshape(2, 3)[::-1]
    points = np.concatenate([face, iris])[:, :2]
    points[68:][(iris == -1).any(-1)] = np.nan
    return points


def _splits(path: Path, count: int) -> Splits | None:
    if not path.is_file():
        return None
    data = read_any_json(path)
    parts = []
    for name in ("train", "val"):
        listed = numbers(data, name, path, ())
        if any(i != int(i) or i < 0 for i in listed):
            raise BadInput(f"{path} lists frames in {name!r} that are no frame numbers.")
        parts.append(tuple(int(i) for i in listed if i < count))
    return Splits(*parts)
