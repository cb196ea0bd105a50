"""COLMAP reconstructions, text and binary."""

import logging
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from likeness.captures.fields import array, possible_path, reading
from likeness.captures.head_poses import OPENGL, intrinsics_matrix, single, track_of
from likeness.captures.nerfstudio import RIG
from likeness.captures.picture_files import PictureFiles, natural_order, picture_size
from likeness.captures.transforms_json import fitted, one_size
from likeness.core.camera import Camera
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.geometry import quaternion_to_matrix

# COLMAP's number of a model -> its name and how many parameters it has.
_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}
_ONE_FOCAL = {"SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"}
_TWO_FOCALS = {"PINHOLE", "OPENCV", "FULL_OPENCV"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Lens:
    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class _View:
    name: str
    lens: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]


def recognises(path: Path) -> bool:
    return path.is_dir() and _model_folder(path) is not None


def _model_folder(path: Path) -> Path | None:
    for folder in (path / "sparse" / "0", path / "sparse", path / "colmap" / "sparse" / "0", path):
        if any((folder / f"cameras{s}").is_file() for s in (".bin", ".txt")):
            return folder
    return None


def read(path: Path) -> Capture:
    """Registered pictures in order of their names, with cameras (rig "still").

    COLMAP's world has no up; it is turned so that the first axes are y up rather than y down.
    Lens distortion is not modelled: undistort first where it matters.
    """
    folder = Path(path)
    model = _model_folder(folder)
    if model is None:
        raise BadInput(f"{folder} has no cameras.bin or cameras.txt. Give the project folder.")
    lenses = _lenses(model)
    views = sorted(_views(model), key=lambda v: natural_order(v.name))
    if not views:
        raise BadInput(f"{model} has no registered pictures. Run the reconstruction again.")
    pictures = tuple(_picture(folder, model, v.name) for v in views)
    size = one_size(pictures, folder)
    intrinsics, poses = [], []
    for view, picture in zip(views, pictures):
        if view.lens not in lenses:
            raise BadInput(
                f"{model} has no camera {view.lens}, which {view.name!r} was taken with."
            )
        lens = lenses[view.lens]
        k = _intrinsics(lens, model)
        intrinsics.append(fitted(k, (lens.width, lens.height), picture_size(picture), model))
        poses.append(_pose(view, model))
    camera_from_world = np.stack(poses) @ OPENGL  # its world turned by half a turn about x
    camera = Camera(single(np.stack(intrinsics)), single(camera_from_world), *size)
    still = single(np.broadcast_to(np.eye(4), (len(views), 4, 4)))
    return Capture(
        name=folder.name,
        pictures=PictureFiles(pictures),
        times=tuple(float(i) for i in range(len(views))),
        size=size,
        names=tuple(p.stem for p in pictures),
        focal=tuple(float(k[0, 0]) for k in intrinsics),
        track=track_of(camera, RIG, still),
        source=str(folder),
        notes={"layout": "colmap"},
    )


def _intrinsics(lens: _Lens, where: Path) -> np.ndarray:
    p = lens.parameters
    if lens.model in _ONE_FOCAL:
        k, rest = intrinsics_matrix(p[0], p[0], p[1], p[2]), p[3:]
    elif lens.model in _TWO_FOCALS:
        k, rest = intrinsics_matrix(p[0], p[1], p[2], p[3]), p[4:]
    else:
        raise BadInput(
            f"{where} has a {lens.model} camera; only pinhole cameras are understood. "
            "Run `colmap image_undistorter` first."
        )
    if k[0, 0] <= 0 or k[1, 1] <= 0:
        raise BadInput(f"{where} has a camera of focal length {k[0, 0]}. It must be above 0.")
    if any(rest):
        _log.warning("%s: lens distortion %s is not modelled.", where, rest)
    return k


def _pose(view: _View, where: Path) -> np.ndarray:
    quaternion = array(view.quaternion, where, f"the rotation of {view.name!r}", (4,))
    if np.linalg.norm(quaternion) < 1e-6:
        raise BadInput(f"{where} has no rotation for {view.name!r}. Reconstruct again.")
    whole = np.eye(4)
    whole[:3, :3] = quaternion_to_matrix(torch.from_numpy(quaternion)).numpy()
    whole[:3, 3] = array(view.translation, where, f"the place of {view.name!r}", (3,))
    return whole


def _picture(folder: Path, model: Path, name: str) -> Path:
    possible_path(name, model, "the name of a picture")
    for base in (
        folder / "images",
        folder,
        model.parent / "images",
        model.parent.parent / "images",
    ):
        if (base / name).is_file():
            return base / name
    raise BadInput(
        f"{model} speaks of a picture {name!r}, which is neither in {folder / 'images'} nor in "
        f"{folder}. Copy the pictures there."
    )


def _lenses(model: Path) -> dict[int, _Lens]:
    binary = model / "cameras.bin"
    if binary.is_file():
        with reading(binary):
            return _binary_lenses(binary.read_bytes(), binary)
    text = model / "cameras.txt"
    with reading(text):
        found = {}
        for line in _lines(text):
            words = line.split()
            values = tuple(float(w) for w in words[4:])
            found[int(words[0])] = _Lens(words[1], int(words[2]), int(words[3]), values)
            _check_parameters(found[int(words[0])], text)
        return found


def _check_parameters(lens: _Lens, where: Path) -> None:
    expected = dict(_MODELS.values()).get(lens.model)
    if expected is None or len(lens.parameters) != expected:
        raise BadInput(
            f"{where} has a camera {lens.model!r} with parameters {lens.parameters}; "
            f"{expected} numbers belong there."
        )
    array(lens.parameters, where, f"a camera {lens.model!r} with parameters", (None,))


def _binary_lenses(data: bytes, where: Path) -> dict[int, _Lens]:
    (count,), at = struct.unpack_from("<Q", data), 8
    found = {}
    for _ in range(count):
        key, number, width, height = struct.unpack_from("<iiQQ", data, at)
        if number not in _MODELS:
            raise BadInput(f"{where} has a camera of unknown model {number}. Save it as text.")
        name, parameters = _MODELS[number]
        values = struct.unpack_from(f"<{parameters}d", data, at + 24)
        found[key] = _Lens(name, width, height, values)
        _check_parameters(found[key], where)
        at += 24 + 8 * parameters
    return found


def _views(model: Path) -> list[_View]:
    binary = model / "images.bin"
    if binary.is_file():
        with reading(binary):
            return _binary_views(binary.read_bytes())
    text = model / "images.txt"
    with reading(text):
        found = []
        for line in _lines(text, keep_blank=True)[::2]:  # every other line lists points
            words = line.split(maxsplit=9)
            numbers = [float(w) for w in words[1:8]]
            found.append(_View(words[9], int(words[8]), tuple(numbers[:4]), tuple(numbers[4:])))
        return found


def _binary_views(data: bytes) -> list[_View]:
    (count,), at = struct.unpack_from("<Q", data), 8
    found = []
    for _ in range(count):
        values = struct.unpack_from("<i7di", data, at)
        at += 64
        end = data.index(b"\0", at)
        name = data[at:end].decode("utf-8")
        (points,) = struct.unpack_from("<Q", data, end + 1)
        at = end + 9 + 24 * points
        found.append(_View(name, values[8], values[1:5], values[5:8]))
    return found


def _lines(path: Path, keep_blank: bool = False) -> list[str]:
    """Lines without comments. A picture without points has a blank second line: keep those."""
    lines = [line.rstrip("\r\n") for line in path.read_text(encoding="utf-8").split("\n")]
    lines = [line for line in lines if not line.startswith("#")]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines if keep_blank else [line for line in lines if line.strip()]
