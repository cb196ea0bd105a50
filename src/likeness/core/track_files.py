"""A Track on disk: `track.json`, `track.safetensors`, `alpha/`, `regions/`, `backdrop.png`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.files import (
    atomic,
    load_tensors,
    read_json,
    save_tensors,
    write_bytes,
    write_json,
)
from likeness.core.rig import Identity
from likeness.core.track import Track

_EXPRESSION = Expression.BATCHED
_IDENTITY = ("directions", "offsets", "shape_offsets", "modes")
# Sizes of what a file holds; T is frames, 0 any number.
_T = -1
_SIZES = {
    "intrinsics": (_T, 3, 3),
    "camera_from_world": (_T, 4, 4),
    "confidence": (_T,),
    "landmarks": (_T, 0, 2),
    "bends": (0, 0, 0, 2),
    "expression.coefficients": (_T, 0),
    "expression.joints": (_T, 0, 3),
    "expression.world_from_head": (_T, 4, 4),
    "expression.world_from_torso": (_T, 4, 4),
    "expression.personal": (_T, 0),
    "expression.torso": (_T, 0),
    "expression.sound": (_T, 0),
    "identity.directions": (0,),
    "identity.offsets": (0, 3),
    "identity.shape_offsets": (0, 0, 3),
    "identity.modes": (0, 0, 3),
}
_NEEDED = ("intrinsics", "camera_from_world", "confidence", "identity.directions")
_NEEDED += ("expression.coefficients", "expression.joints", "expression.world_from_head")


@dataclass(frozen=True)
class MapFolder:
    """Mattes and regions as PNG files, one per frame; absent files read as None."""

    folder: Path

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        return self._read("alpha", index)

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        return self._read("regions", index)

    def write(self, kind: str, index: int, picture: UInt8[np.ndarray, "H W"]) -> None:
        import cv2  # writes flat areas at three times the pace of PIL, and smaller

        ok, data = cv2.imencode(".png", picture)
        assert ok  # any 8-bit picture can be
        write_bytes(self._path(kind, index), data.tobytes())

    def _path(self, kind: str, index: int) -> Path:
        return self.folder / kind / f"{index:06d}.png"

    def _read(self, kind: str, index: int) -> UInt8[np.ndarray, "H W"] | None:
        path = self._path(kind, index)
        if not path.exists():
            return None
        try:
            with Image.open(path) as picture:
                return np.array(picture.convert("L"))
        except OSError as error:
            raise BadInput(f"{path} is damaged ({error}). Delete it and track again.") from error


def write_track(folder: str | Path, track: Track) -> None:
    """The whole track; mattes and regions already in `folder` are left as they are."""
    folder = Path(folder)
    tensors = {
        "intrinsics": track.cameras.intrinsics,
        "camera_from_world": track.cameras.camera_from_world,
        "confidence": track.confidence,
    }
    if track.landmarks is not None:
        tensors["landmarks"] = track.landmarks
    if track.bends is not None:
        tensors["bends"] = track.bends
    for name in _EXPRESSION:
        if (value := getattr(track.expressions, name)) is not None:
            tensors[f"expression.{name}"] = value
    for name in _IDENTITY:
        if (value := getattr(track.identity, name)) is not None:
            tensors[f"identity.{name}"] = value
    if track.maps is not None and getattr(track.maps, "folder", None) != folder:
        _copy_maps(track, MapFolder(folder))
    if track.backdrop is not None:
        with atomic(folder / "backdrop.png") as temporary:
            Image.fromarray(track.backdrop).save(temporary, format="PNG")
    save_tensors(folder / "track.safetensors", tensors)
    write_json(
        folder / "track.json",
        {
            "rig": track.rig,
            "frames": len(track),
            "width": track.cameras.width,
            "height": track.cameras.height,
            "report": track.report,
        },
    )


def _copy_maps(track: Track, target: MapFolder) -> None:
    assert track.maps is not None
    for index in range(len(track)):
        if (alpha := track.maps.alpha(index)) is not None:
            target.write("alpha", index, alpha)
        if (regions := track.maps.regions(index)) is not None:
            target.write("regions", index, regions)


def read_track(folder: str | Path) -> Track:
    folder = Path(folder)
    about = read_json(folder / "track.json")
    tensors = load_tensors(folder / "track.safetensors")
    _check(tensors, folder / "track.safetensors")
    try:
        width, height, rig = int(about["width"]), int(about["height"]), str(about["rig"])
        cameras = Camera(tensors["intrinsics"], tensors["camera_from_world"], width, height)
        expression = {n: tensors.get(f"expression.{n}") for n in _EXPRESSION}
        identity = {n: tensors.get(f"identity.{n}") for n in _IDENTITY}
        confidence = tensors["confidence"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"{folder} is not a whole track: {error} is missing or wrong.") from error
    return Track(
        cameras,
        Expression(rig, **expression),  # type: ignore[arg-type]
        Identity(rig, **identity),  # type: ignore[arg-type]
        confidence,
        tensors.get("landmarks"),
        MapFolder(folder),
        _backdrop(folder / "backdrop.png"),
        _report(about, folder / "track.json"),
        tensors.get("bends"),
    )


def _check(tensors: dict[str, Tensor], file: Path) -> None:
    """Everything needed is there and of its size, poses are rigid. Whoever uses a track leaves out
    rows that are not finite."""
    lost = [name for name in _NEEDED if name not in tensors]
    if lost:
        raise BadInput(f"{file} has no {lost[0]!r}, so it is not a whole track. Track again.")
    count = tensors["confidence"].shape[:1].numel()
    for name, found in tensors.items():
        sizes = _SIZES.get(name)
        if sizes is None:
            continue
        wanted = [count if size == _T else size for size in sizes]
        fits = found.ndim == len(wanted) and all(w in (0, f) for w, f in zip(wanted, found.shape))
        if not (fits and found.is_floating_point()):
            raise BadInput(
                f"{file} has {name!r} of size {list(found.shape)} and type {found.dtype} where "
                f"floats of {wanted} belong (0: any). Track again."
            )
        if wanted[1:] == [4, 4] and not _rigid(found):
            raise BadInput(f"{file} has {name!r} that is not rotation and place. Track again.")


def _rigid(poses: Tensor) -> bool:
    poses = poses[poses.isfinite().all((-1, -2))]
    turn, square = poses[:, :3, :3].double(), torch.eye(4, dtype=torch.float64)
    off = (turn @ turn.mT - square[:3, :3]).abs().amax() if len(poses) else torch.zeros(())
    last = (poses[:, 3] - square[3]).abs().amax() if len(poses) else torch.zeros(())
    return bool(off < 0.02) and bool(last < 1e-3) and bool((torch.linalg.det(turn) > 0).all())


def _backdrop(path: Path) -> UInt8[np.ndarray, "H W 3"] | None:
    if not path.exists():
        return None
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"{path} is damaged ({error}). Delete it, or track again.") from error


def _report(about: dict[str, Any], file: Path) -> dict[str, object]:
    report = about.get("report") or {}
    if not isinstance(report, dict):
        raise BadInput(f"{file} has a 'report' that is no object. Track again.")
    return report
