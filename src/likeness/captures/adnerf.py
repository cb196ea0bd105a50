"""AD-NeRF data sets, also with the parsing maps that SAHS adds."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from likeness.captures.fields import array, items, load_array, load_torch, matrix, number, pose
from likeness.captures.head_poses import intrinsics_matrix, still_camera, track_of
from likeness.captures.label_colours import (
    sahs_alpha,
    sahs_regions,
    three_part_alpha,
    three_part_regions,
)
from likeness.captures.landmark_files import read_landmark_files
from likeness.captures.picture_files import PictureFiles, load_picture
from likeness.captures.soundtrack import read_wav
from likeness.captures.transforms_json import one_size, split_file
from likeness.core.capture import Capture, Splits
from likeness.core.errors import BadInput
from likeness.core.files import read_any_json
from likeness.core.track import Track

RIG = "adnerf79"
SOUND_WINDOW = (16, 29)
"""Rows and columns of one frame's DeepSpeech window; `Expression.sound` holds it row by row."""


def recognises(path: Path) -> bool:
    return path.is_dir() and split_file(path, "focal_len", "aud_id")


def read(path: Path, pictures: Literal["com", "head", "ori"] = "com", fps: float = 25.0) -> Capture:
    """Train then val frames, with the authors' track (rig "adnerf79") and its sound windows.

    `pictures` chooses whole persons over the clean background ("com"), heads only ("head") or
    frames as filmed ("ori"). Face boxes [x, y, w, h] are in `notes["boxes"]`.
    """
    folder = Path(path)
    rows: list[tuple[int, int, np.ndarray, list[float]]] = []
    parts: dict[str, tuple[int, ...]] = {}
    data: dict[str, Any] = {}
    for split in ("train", "val"):
        file = folder / f"transforms_{split}.json"
        if not file.is_file():
            continue
        data = read_any_json(file)
        found = [_frame(f, file, i) for i, f in enumerate(items(data, "frames", file))]
        parts[split] = tuple(range(len(rows), len(rows) + len(found)))
        rows += found
    where = folder / "transforms_train.json"
    ids = [r[0] for r in rows]
    source = _pictures(folder, ids, pictures)
    size = one_size(source.rgb_paths, where)
    focal = number(data, "focal_len", where)
    cx, cy = number(data, "cx", where), number(data, "cy", where)
    if focal <= 0:
        raise BadInput(f"{where} has 'focal_len' = {focal}; it must be above 0.")
    intrinsics = intrinsics_matrix(focal, focal, cx + 0.5, cy + 0.5)
    camera, world_from_head = still_camera(np.stack([r[2] for r in rows]), intrinsics, *size)
    background = load_picture(folder / "bc.jpg")[0] if (folder / "bc.jpg").is_file() else None
    coefficients, identity = _face_model(folder / "track_params.pt", ids)
    return Capture(
        name=folder.name,
        pictures=source,
        times=tuple(i / fps for i in ids),
        size=size,
        fps=fps,
        names=tuple(str(i) for i in ids),
        splits=Splits(parts.get("train", ()), parts.get("val", ())),
        sound=read_wav(folder / "aud.wav") if (folder / "aud.wav").is_file() else None,
        focal=focal,
        background=background,
        track=track_of(
            camera,
            RIG,
            world_from_head,
            coefficients,
            identity=identity,
            landmarks=read_landmark_files(folder, ids, 68),
            sound=_sound(folder / "aud.npy", [r[1] for r in rows]),
            backdrop=background,
        ),
        source=str(folder),
        notes={"layout": "adnerf", "boxes": [r[3] for r in rows]},
    )


def _frame(frame: Any, file: Path, index: int) -> tuple[int, int, np.ndarray, list[float]]:
    where = f"{file}, frame {index}"
    image = int(number(frame, "img_id", where))
    box = array(frame.get("face_rect", [0, 0, 0, 0]), where, "'face_rect'", (4,))
    return (
        image,
        int(number(frame, "aud_id", where, float(image))),
        pose(matrix(frame, "transform_matrix", where), where, "'transform_matrix'"),
        box.tolist(),
    )


def _pictures(folder: Path, ids: list[int], kind: str) -> PictureFiles:
    paths = tuple(folder / f"{kind}_imgs" / f"{i}.jpg" for i in ids)
    lost = [p for p in paths if not p.is_file()]
    if lost:
        raise BadInput(
            f"{folder} lacks {len(lost)} of {len(paths)} pictures, first {lost[0]}. "
            "Copy them, or run the data set's own preprocessing again."
        )
    fine = tuple(folder / "com_imgs" / "masks" / f"{i}.png" for i in ids)
    if fine[0].is_file():
        return PictureFiles(paths, fine, fine, sahs_alpha, sahs_regions)
    coarse = tuple(folder / "parsing" / f"{i}.png" for i in ids)
    return PictureFiles(paths, coarse, coarse, three_part_alpha, three_part_regions)


def _sound(path: Path, rows: list[int]) -> Float32[np.ndarray, "T A"] | None:
    """The window of each frame; frames beyond the end repeat the last one."""
    if not path.is_file():
        return None
    windows = load_array(path, (None, *SOUND_WINDOW))
    if len(windows) == 0:
        raise BadInput(f"{path} holds no sound windows. Extract the sound features again.")
    chosen = windows[[min(max(row, 0), len(windows) - 1) for row in rows]]
    return chosen.reshape(len(rows), -1).astype(np.float32)


def sound_windows(track: Track) -> Float32[np.ndarray, "T 16 29"]:
    """The windows as the original loader returns them."""
    sound = track.expressions.sound
    if sound is None:
        raise BadInput("This track has no sound features. AD-NeRF data keeps them in aud.npy.")
    return sound.numpy().reshape(len(track), *SOUND_WINDOW)


def _face_model(path: Path, ids: list[int]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Expression of each frame and identity; row k belongs to the k-th frame with landmarks."""
    if not path.is_file():
        return None, None
    data = load_torch(path)
    if not isinstance(data, dict) or "exp" not in data or "id" not in data:
        raise BadInput(f"{path} has no 'exp' and 'id' tensors. Run the data set's tracker again.")
    expression = array(data["exp"], path, "'exp'", (None, None))
    identity = array(data["id"], path, "'id'", (1, None))[0]
    order = {image: row for row, image in enumerate(sorted(ids))}
    if len(expression) < len(ids):
        raise BadInput(
            f"{path} tracks {len(expression)} frames but the JSON files list {len(ids)}. "
            "Take the file away, or track again."
        )
    return expression[[order[i] for i in ids]], identity
