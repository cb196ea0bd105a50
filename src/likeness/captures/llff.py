"""LLFF scenes: pictures and one `poses_bounds.npy`, also as NeRFtrinsic keeps them."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from likeness.captures.fields import load_array, pose, reading
from likeness.captures.head_poses import OPENGL, intrinsics_matrix, single, track_of
from likeness.captures.nerfstudio import RIG
from likeness.captures.picture_files import PictureFiles, picture_paths
from likeness.captures.transforms_json import fitted, one_size
from likeness.core.camera import Camera
from likeness.core.capture import Capture, Splits
from likeness.core.errors import BadInput

POSES = "poses_bounds.npy"


def recognises(path: Path) -> bool:
    return path.is_dir() and (path / POSES).is_file()


def read(path: Path) -> Capture:
    """Pictures in order of their names, with cameras around their mean (rig "still").

    The world is that of the average camera: it sits at the origin and looks along -z, y up. Near
    and far depth of each picture are in `notes["bounds"]`.
    """
    folder = Path(path)
    file = folder / POSES
    rows = load_array(file, (None, 17))
    inside = [folder / n for n in ("images", "images_4", "images_8") if (folder / n).is_dir()]
    pictures = tuple(picture_paths(inside[0] if inside else folder))
    if len(pictures) != len(rows):
        raise BadInput(
            f"{file} has {len(rows)} rows but there are {len(pictures)} pictures in "
            f"{inside[0] if inside else folder}. Estimate the cameras of all pictures again."
        )
    if not len(rows):
        raise BadInput(f"{folder} has no pictures. Copy them into {folder / 'images'}.")
    size = one_size(pictures, folder)
    poses = np.stack([pose(p, file, f"row {i}") for i, p in enumerate(camera_poses(rows))])
    centred = recentred(poses)
    height, width, focal = rows[:, 4], rows[:, 9], rows[:, 14]
    if (focal <= 0).any() or (height <= 0).any() or (width <= 0).any():
        raise BadInput(
            f"{file} gives a picture size or focal length of 0. Its rows must be 3x5 matrices "
            "[R | t | (H, W, f)] and two depths; write it again."
        )
    intrinsics = np.stack(
        [
            fitted(intrinsics_matrix(f, f, w / 2, h / 2), (round(w), round(h)), size, file)
            for h, w, f in zip(height, width, focal)
        ]
    )
    camera = Camera(single(intrinsics), single(OPENGL @ np.linalg.inv(centred)), *size)
    still = single(np.broadcast_to(np.eye(4), (len(rows), 4, 4)))
    return Capture(
        name=folder.name,
        pictures=PictureFiles(pictures),
        times=tuple(float(i) for i in range(len(rows))),
        size=size,
        names=tuple(p.stem for p in pictures),
        splits=_splits(folder, len(rows)),
        focal=tuple(intrinsics[:, 0, 0].tolist()),
        track=track_of(camera, RIG, still),
        source=str(folder),
        notes={"layout": "llff", "bounds": rows[:, 15:].tolist()},
    )


def camera_poses(rows: Float64[np.ndarray, "N 17"]) -> Float64[np.ndarray, "N 4 4"]:
    """OpenGL camera-to-world; the file's rotation columns are down, right, backwards."""
    stored = rows[:, :15].reshape(-1, 3, 5)
    whole = np.tile(np.eye(4), (len(rows), 1, 1))
    whole[:, :3] = np.stack(
        [stored[..., 1], -stored[..., 0], stored[..., 2], stored[..., 3]], axis=-1
    )
    return whole


def average_pose(poses: Float64[np.ndarray, "N 4 4"]) -> Float64[np.ndarray, "4 4"]:
    """A camera in the middle of the others that looks where they look on average."""
    back = _unit(poses[:, :3, 2].mean(0))
    right = _unit(np.cross(poses[:, :3, 1].mean(0), back))
    whole = np.eye(4)
    whole[:3] = np.stack([right, np.cross(back, right), back, poses[:, :3, 3].mean(0)], axis=-1)
    return whole


def recentred(
    poses: Float64[np.ndarray, "N 4 4"], nearest: float | None = None
) -> Float64[np.ndarray, "N 4 4"]:
    """Poses in the frame of their average; with `nearest`, that depth is scaled to 4/3."""
    moved = np.linalg.inv(average_pose(poses)) @ poses
    if nearest is not None:
        moved[:, :3, 3] /= 0.75 * nearest
    return moved


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _splits(folder: Path, count: int) -> Splits | None:
    """Picture numbers, one a line, in the order of the files."""
    parts = []
    for name in ("train_ids.txt", "val_ids.txt"):
        file = folder / name
        if not file.is_file():
            parts.append(())
            continue
        with reading(file):
            listed = tuple(int(word) for word in file.read_text().split())
        bad = [i for i in listed if not 0 <= i < count]
        if bad:
            raise BadInput(
                f"{file} lists picture {bad[0]} but there are {count}. Write the list again."
            )
        parts.append(listed)
    return Splits(*parts) if any(parts) else None
