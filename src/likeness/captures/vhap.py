"""VHAP exports, which are what GaussianAvatars and its kin train on."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from likeness.captures.fields import file_name, items, load_arrays, matrix, number, pose
from likeness.captures.flame_params import (
    JOINTS,
    RIG,
    parameter,
    rigid_from_axis_angle,
    stacked_joints,
)
from likeness.captures.head_poses import OPENGL, single, track_of
from likeness.captures.native import save_picture
from likeness.captures.picture_files import PictureFiles
from likeness.captures.transforms_json import (
    fitted,
    frame_name,
    must_fit,
    one_size,
    picture_file,
    sniff,
    stated_intrinsics,
)
from likeness.core.camera import Camera
from likeness.core.capture import Capture, Splits, last_fifth
from likeness.core.errors import BadInput, Unsupported
from likeness.core.files import atomic, read_any_json, write_text
from likeness.core.geometry import matrix_to_axis_angle
from likeness.core.track import Track


def recognises(path: Path) -> bool:
    return path.is_dir() and '"flame_param_path"' in sniff(path / "transforms.json")


@dataclass(frozen=True)
class _Frame:
    picture: Path
    mask: Path | None
    camera_from_world: np.ndarray
    intrinsics: np.ndarray
    stated: tuple[int, int]
    parameters: dict[str, Any]
    source: Path
    time: float


def read(path: Path, fps: float = 25.0) -> Capture:
    """Every picture of the export, all cameras, with its FLAME track (rig "flame").

    One row is one picture: with several cameras a moment has several rows of equal time. Static
    offsets become `Identity.offsets`, for as many vertices as the export had.
    """
    folder = Path(path)
    file = folder / "transforms.json"
    data = read_any_json(file)
    frames = [
        _frame(folder, data, f, file, i, fps) for i, f in enumerate(items(data, "frames", file))
    ]
    pictures = tuple(f.picture for f in frames)
    size = one_size(pictures, file)
    intrinsics = np.stack([fitted(f.intrinsics, f.stated, size, file) for f in frames])
    camera = Camera(
        single(intrinsics), single(np.stack([f.camera_from_world for f in frames])), *size
    )
    return Capture(
        name=folder.name,
        pictures=PictureFiles(pictures, tuple(f.mask for f in frames)),
        times=tuple(f.time for f in frames),
        size=size,
        fps=fps,
        names=tuple(p.stem for p in pictures),
        splits=_splits(folder, pictures),
        focal=float(intrinsics[0, 0, 0]),
        track=_track(camera, frames),
        source=str(folder),
        notes={"layout": "vhap"},
    )


def _frame(
    folder: Path, data: dict[str, Any], frame: Any, file: Path, index: int, fps: float
) -> _Frame:
    where = f"{file}, frame {index}"
    intrinsics, stated = stated_intrinsics(data, frame, (0, 0), where)
    c2w = pose(matrix(frame, "transform_matrix", where), where, "'transform_matrix'")
    mask = file_name(frame, "fg_mask_path", where, None)
    source = folder / file_name(frame, "flame_param_path", where)
    return _Frame(
        picture_file(folder, frame_name(frame, where), where),
        None if mask is None else folder / mask,
        OPENGL @ np.linalg.inv(c2w),
        intrinsics,
        stated,
        load_arrays(source),
        source,
        number(frame, "timestep_index", where, float(index)) / fps,
    )


def _track(camera: Camera, frames: list[_Frame]) -> Track:
    def rows(name: str, width: int | None) -> Float64[np.ndarray, "T C"]:
        found = [parameter(f.parameters, name, f.source, (1, width))[0] for f in frames]
        if len({len(r) for r in found}) != 1:
            raise BadInput(f"{frames[0].source.parent}: {name!r} differs in length. Export again.")
        return np.stack(found)

    first = frames[0]
    offsets = None
    if "static_offset" in first.parameters:
        offsets = parameter(first.parameters, "static_offset", first.source, (1, None, 3))[0]
    return track_of(
        camera,
        RIG,
        single(rigid_from_axis_angle(rows("rotation", 3), rows("translation", 3))),
        rows("expr", None),
        stacked_joints(rows("neck_pose", 3), rows("jaw_pose", 3), rows("eyes_pose", 6)),
        parameter(first.parameters, "shape", first.source, (None,)),
        offsets,
        report={"root_joint": "kept"},
    )


def _splits(folder: Path, pictures: tuple[Path, ...]) -> Splits | None:
    number_of = {p: i for i, p in enumerate(pictures)}
    parts = []
    for split in ("train", "val", "test"):
        file = folder / f"transforms_{split}.json"
        if not file.is_file():
            return None
        data = read_any_json(file)
        listed = data.get("frames") if isinstance(data, dict) else None
        if not isinstance(listed, list):
            raise BadInput(f"{file} has no list 'frames'. Export again.")
        found = [number_of.get(picture_file(folder, frame_name(f, file), file)) for f in listed]
        parts.append(tuple(i for i in found if i is not None))
    return Splits(*parts)


def write_vhap(capture: Capture, track: Track, folder: str | Path) -> None:
    """Write pictures, mattes, cameras and FLAME parameters as a VHAP export.

    Needs a track of rig "flame". Held-out frames go to `transforms_test.json`, as VHAP does with a
    single camera.
    """
    folder = Path(folder)
    if track.rig != RIG:
        raise Unsupported(
            f"VHAP folders speak FLAME, and this track is of rig {track.rig!r}. "
            "Track with --rig flame, or write the nerfstudio layout."
        )
    must_fit(track, capture)
    frames = [_write_frame(capture, track, folder, i) for i in range(len(capture))]
    _save_npz(folder / "canonical_flame_param.npz", _canonical(track))
    splits = capture.splits or last_fifth(len(capture))
    for name, members in (
        ("transforms.json", range(len(frames))),
        ("transforms_train.json", splits.train),
        ("transforms_val.json", splits.validation),
        ("transforms_test.json", splits.test),
    ):
        chosen = [frames[i] for i in members]
        top = {
            "frames": chosen,
            **{k: frames[0][k] for k in _SHARED},
            "timestep_indices": [f["timestep_index"] for f in chosen],
            "camera_indices": sorted({f["camera_index"] for f in chosen}),
        }
        write_text(folder / name, json.dumps(top, indent=1, allow_nan=False))


_SHARED = ("cx", "cy", "fl_x", "fl_y", "h", "w", "camera_angle_x", "camera_angle_y")


def _write_frame(capture: Capture, track: Track, folder: Path, index: int) -> dict[str, Any]:
    name = f"{index:05d}_00.png"
    save_picture(folder / "images" / name, capture.pictures.rgb(index))
    alpha = capture.pictures.alpha(index)
    if alpha is None and track.maps is not None:
        alpha = track.maps.alpha(index)
    masks = {}
    if alpha is not None:
        save_picture(folder / "fg_masks" / name, alpha)
        masks["fg_mask_path"] = f"fg_masks/{name}"
    _save_npz(folder / "flame_param" / f"{index:05d}.npz", flame_parameters(track, index))
    k = track.cameras.intrinsics[index].double()
    width, height = track.cameras.width, track.cameras.height
    c2w = np.linalg.inv(track.cameras.camera_from_world[index].double().numpy()) @ OPENGL
    return {
        "timestep_index": index,
        "timestep_index_original": index,
        "timestep_id": capture[index].name,
        "camera_index": 0,
        "camera_id": "0",
        "cx": float(k[0, 2]),
        "cy": float(k[1, 2]),
        "fl_x": float(k[0, 0]),
        "fl_y": float(k[1, 1]),
        "h": height,
        "w": width,
        "camera_angle_x": 2 * math.atan(width / (2 * float(k[0, 0]))),
        "camera_angle_y": 2 * math.atan(height / (2 * float(k[1, 1]))),
        "transform_matrix": c2w.tolist(),
        "file_path": f"images/{name}",
        **masks,
        "flame_param_path": f"flame_param/{index:05d}.npz",
    }


def flame_parameters(track: Track, index: int) -> dict[str, np.ndarray]:
    """One frame's parameters under VHAP's names."""
    expression, identity = track.expressions, track.identity
    pose_of_head = expression.world_from_head[index]
    joints = expression.joints[index]
    if joints.shape[0] != len(JOINTS):
        joints = torch.zeros(len(JOINTS), 3)
    found = {
        "translation": pose_of_head[None, :3, 3],
        "rotation": matrix_to_axis_angle(pose_of_head[None, :3, :3]),
        "neck_pose": joints[None, 0],
        "jaw_pose": joints[None, 1],
        "eyes_pose": joints[2:].reshape(1, 6),
        "shape": identity.directions,
        "expr": expression.coefficients[None, index],
    }
    if identity.offsets is not None:
        found["static_offset"] = identity.offsets[None]
    return {k: v.detach().cpu().float().numpy() for k, v in found.items()}


def _canonical(track: Track) -> dict[str, np.ndarray]:
    """The first frame with everything at rest but the jaw, a little open."""
    still = {
        k: v if k in ("shape", "static_offset") else np.zeros_like(v)
        for k, v in flame_parameters(track, 0).items()
    }
    return {**still, "jaw_pose": np.array([[0.3, 0.0, 0.0]])}


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with atomic(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
