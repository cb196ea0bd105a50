"""INSTA data sets, which are made from metrical-tracker's results."""

from pathlib import Path
from typing import Any

import numpy as np

from likeness.captures.fields import array, file_name, items, matrix, pose, reading
from likeness.captures.flame_params import RIG
from likeness.captures.head_poses import OPENGL, still_camera, track_of
from likeness.captures.picture_files import PictureFiles
from likeness.captures.transforms_json import (
    SPLITS,
    fitted,
    frame_name,
    one_size,
    picture_file,
    split_file,
    stated_intrinsics,
)
from likeness.core.capture import Capture, Splits
from likeness.core.errors import BadInput
from likeness.core.files import read_any_json


def recognises(path: Path) -> bool:
    return path.is_dir() and split_file(path, "frames", "exp_path", "mesh_path")


def read(path: Path, fps: float = 25.0) -> Capture:
    """All frames in order of their names, with their FLAME coefficients (rig "flame").

    Cameras are stored with OpenCV axes here, unlike in other transforms files. Frames of the
    validation split are among the test frames too, as published.
    """
    folder = Path(path)
    rows: dict[Path, tuple[np.ndarray, np.ndarray, tuple[int, int], np.ndarray]] = {}
    members: dict[str, list[Path]] = {}
    for split in ("", *SPLITS):
        file = folder / ("transforms.json" if not split else f"transforms_{split}.json")
        if not file.is_file():
            continue
        data = read_any_json(file)
        for index, frame in enumerate(items(data, "frames", file)):
            picture, row = _frame(folder, data, frame, file, index)
            rows[picture] = row
            members.setdefault(split, []).append(picture)
    pictures = tuple(sorted(rows))
    size = one_size(pictures, folder)
    chosen = [rows[p] for p in pictures]
    intrinsics = np.stack([fitted(r[1], r[2], size, folder) for r in chosen])
    camera, world_from_head = still_camera(np.stack([r[0] for r in chosen]), intrinsics, *size)
    lengths = {len(r[3]) for r in chosen}
    if len(lengths) != 1:
        raise BadInput(f"{folder / 'flame' / 'exp'} has files of different lengths. Export again.")
    place = {p: i for i, p in enumerate(pictures)}
    splits = [tuple(sorted(place[p] for p in members.get(s, []))) for s in SPLITS]
    return Capture(
        name=folder.name,
        pictures=PictureFiles(pictures),
        times=tuple(i / fps for i in range(len(pictures))),
        size=size,
        fps=fps,
        names=tuple(p.stem for p in pictures),
        splits=Splits(*splits) if any(splits) else None,
        focal=float(intrinsics[0, 0, 0]),
        track=track_of(camera, RIG, world_from_head, np.stack([r[3] for r in chosen])),
        source=str(folder),
        notes={"layout": "insta"},
    )


def _frame(
    folder: Path, data: dict[str, Any], frame: Any, file: Path, index: int
) -> tuple[Path, tuple[np.ndarray, np.ndarray, tuple[int, int], np.ndarray]]:
    where = f"{file}, frame {index}"
    intrinsics, stated = stated_intrinsics(data, frame, (0, 0), where)
    head_from_camera = pose(matrix(frame, "transform_matrix", where), where, "'transform_matrix'")
    source = folder / file_name(frame, "exp_path", where)
    with reading(source):
        words = source.read_text().split()
    expression = array(words, source, "coefficients", (None,))
    picture = picture_file(folder, frame_name(frame, where), where)
    return picture, (head_from_camera @ OPENGL, intrinsics, stated, expression)
