"""NeRFace folders, also as SAHS keeps them (parsing maps beside the frames)."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from likeness.captures.fields import array, items, matrix, number, numbers, pose
from likeness.captures.head_poses import (
    camera_to_head,
    intrinsics_matrix,
    still_camera,
    track_of,
)
from likeness.captures.label_colours import sahs_alpha, sahs_regions
from likeness.captures.native import save_picture
from likeness.captures.picture_files import PictureFiles, load_picture
from likeness.captures.transforms_json import (
    SPLITS,
    frame_name,
    must_fit,
    one_size,
    picture_file,
    split_file,
)
from likeness.core.capture import Capture, Splits, last_fifth
from likeness.core.errors import BadInput
from likeness.core.files import read_any_json, write_text
from likeness.core.track import Track

RIG = "nerface76"
BACKGROUND = "bg/00050.png"  # the name is fixed in every copy of the data


def recognises(path: Path) -> bool:
    return path.is_dir() and split_file(path, "frames", "expression")


@dataclass(frozen=True)
class _Frame:
    picture: Path
    labels: Path | None
    pose: np.ndarray
    expression: np.ndarray
    box: np.ndarray


def read(path: Path, fps: float = 25.0) -> Capture:
    """Train, val and test frames in that order, with the authors' track (rig "nerface76").

    Poses become a still camera and a moving head; lengths keep the data set's unit (mean distance
    0.5). The training frames were shuffled by the authors, so `times` are mere numbering.
    Face boxes, as fractions (row0, row1, col0, col1), are in `notes["boxes"]`.
    """
    folder = Path(path)
    frames: list[_Frame] = []
    members: dict[str, tuple[int, ...]] = {}
    data: dict[str, Any] = {}
    last = folder
    for split in SPLITS:
        file = folder / f"transforms_{split}.json"
        if not file.is_file():
            continue
        data, last = read_any_json(file), file
        found = [
            _frame(folder, split, f, file, i) for i, f in enumerate(items(data, "frames", file))
        ]
        members[split] = tuple(range(len(frames), len(frames) + len(found)))
        frames += found
    if not frames:
        raise BadInput(f"{folder} has no transforms_train.json. Give the folder that holds it.")
    pictures = tuple(f.picture for f in frames)
    size = one_size(pictures, folder)
    intrinsics = _intrinsics(data, size, last)  # the last split read counts for all, as released
    camera, world_from_head = still_camera(np.stack([f.pose for f in frames]), intrinsics, *size)
    expressions = _stacked([f.expression for f in frames], last)
    background = folder / BACKGROUND
    labels = tuple(f.labels for f in frames)
    backdrop = load_picture(background)[0] if background.is_file() else None
    return Capture(
        name=folder.name,
        pictures=PictureFiles(pictures, labels, labels, sahs_alpha, sahs_regions)
        if any(labels)
        else PictureFiles(pictures),
        times=tuple(i / fps for i in range(len(frames))),
        size=size,
        fps=fps,
        names=tuple(p.stem for p in pictures),
        splits=Splits(members.get("train", ()), members.get("val", ()), members.get("test", ())),
        focal=float(abs(intrinsics[0, 0])),
        background=backdrop,
        track=track_of(camera, RIG, world_from_head, expressions, backdrop=backdrop),
        source=str(folder),
        notes={"layout": "nerface", "boxes": [f.box.tolist() for f in frames]},
    )


def _frame(folder: Path, split: str, frame: Any, file: Path, index: int) -> _Frame:
    where = f"{file}, frame {index}"
    name = frame_name(frame, where)
    nested = folder / split  # SAHS puts the whole tree below the split's own folder once more
    inside = nested if (nested / name).with_suffix(".png").is_file() else folder
    labels = (nested / "masks" / name).with_suffix(".png")
    return _Frame(
        picture_file(inside, name, where),
        labels if labels.is_file() else None,
        pose(matrix(frame, "transform_matrix", where), where, "'transform_matrix'"),
        array(frame.get("expression"), where, "'expression'", (None,)),
        np.array(numbers(frame, "bbox", where, (0.0, 1.0, 0.0, 1.0), length=4)),
    )


def _stacked(rows: list[np.ndarray], where: Path) -> np.ndarray:
    lengths = {len(r) for r in rows}
    if len(lengths) != 1:
        raise BadInput(
            f"{where}: frames have {min(lengths)} to {max(lengths)} expression numbers. "
            "All must have equally many."
        )
    return np.stack(rows)


def _intrinsics(data: dict[str, Any], size: tuple[int, int], where: Path) -> np.ndarray:
    """fx, fy in pixels and cx, cy as fractions, between pixel centres at whole numbers."""
    width, height = size
    given = data.get("intrinsics")
    if given:
        fx, fy, cx, cy = array(given, where, "'intrinsics'", (4,))
    else:
        angle = number(data, "camera_angle_x", where)
        if not 0 < angle < math.pi:
            raise BadInput(f"{where} has 'camera_angle_x' = {angle}; it must lie in 0..pi.")
        fx = fy = 0.5 * width / math.tan(0.5 * angle)
        cx = cy = 0.5
    if fx == 0 or fy == 0:
        raise BadInput(f"{where} has a focal length of 0 in 'intrinsics'. It must be in pixels.")
    return intrinsics_matrix(fx, fy, cx * width + 0.5, cy * height + 0.5)


def original_intrinsics(track: Track) -> tuple[float, float, float, float]:
    """[fx, fy, cx, cy] as the layout stores them."""
    k = track.cameras.intrinsics[0].double()
    width, height = track.cameras.width, track.cameras.height
    cx, cy = (float(k[0, 2]) - 0.5) / width, (float(k[1, 2]) - 0.5) / height
    return float(k[0, 0]), float(k[1, 1]), cx, cy


def pixel_boxes(capture: Capture) -> Int[np.ndarray, "T 4"]:
    """Face boxes in whole pixels, half open: row0, row1, col0, col1."""
    width, height = capture.size
    fractions = np.asarray(capture.notes["boxes"], np.float64)
    return np.floor(fractions * [height, height, width, width]).astype(np.int32)


def write_nerface(
    capture: Capture,
    track: Track,
    folder: str | Path,
    boxes: Float[np.ndarray, "T 4"] | None = None,
) -> None:
    """Write frames, poses and coefficients as a NeRFace folder.

    Poses become camera-to-head matrices; any rig's coefficients fit, though NeRFace itself expects
    76. Where heads are not within its near and far planes (0.2 and 0.8), lengths are scaled so that
    the mean distance is 0.5.
    `boxes` are fractions (row0, row1, col0, col1) where most rays should go.
    """
    folder = Path(folder)
    must_fit(track, capture)
    poses = camera_to_head(track).double().numpy()
    distance = np.linalg.norm(poses[:, :3, 3], axis=-1).mean().clip(1e-9)
    if not 0.35 < distance < 0.65:
        poses[:, :3, 3] *= 0.5 / distance
    splits = capture.splits or last_fifth(len(capture))
    given = np.tile([0.0, 1.0, 0.0, 1.0], (len(capture), 1)) if boxes is None else boxes
    for split, members in zip(SPLITS, (splits.train, splits.validation, splits.test)):
        frames = []
        for number_in_split, index in enumerate(members):
            name = f"./{split}/f_{number_in_split:04d}"
            save_picture(folder / f"{name}.png", capture.pictures.rgb(index))
            frames.append(
                {
                    "file_path": name,
                    "bbox": np.asarray(given[index], np.float64).tolist(),
                    "transform_matrix": poses[index].tolist(),
                    "expression": track.expressions.coefficients[index].double().tolist(),
                }
            )
        if frames:
            _write_split(folder, split, frames, track)
    backdrop = capture.background if capture.background is not None else track.backdrop
    if backdrop is not None:
        save_picture(folder / BACKGROUND, backdrop)


def _write_split(folder: Path, split: str, frames: list[dict[str, Any]], track: Track) -> None:
    fx, fy, cx, cy = original_intrinsics(track)
    data = {
        "camera_angle_x": 2 * math.atan(track.cameras.width / (2 * fx)),
        "intrinsics": [fx, fy, cx, cy],
        "frames": frames,
    }
    write_text(folder / f"transforms_{split}.json", json.dumps(data, allow_nan=False))
