"""A Track on disk: `track.json`, `track.safetensors`, `alpha/`, `regions/`, `backdrop.png`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from likeness.core.camera import Camera
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.files import atomic, load_tensors, read_json, save_tensors, write_json
from likeness.core.rig import Identity
from likeness.core.track import Track

_EXPRESSION = Expression.BATCHED
_IDENTITY = ("directions", "offsets", "shape_offsets", "modes")


@dataclass(frozen=True)
class MapFolder:
    """Mattes and regions as PNG files, one per frame; absent files read as None."""

    folder: Path

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        return self._read("alpha", index)

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        return self._read("regions", index)

    def write(self, kind: str, index: int, picture: UInt8[np.ndarray, "H W"]) -> None:
        with atomic(self._path(kind, index)) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG", compress_level=1)

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
    try:
        width, height, rig = int(about["width"]), int(about["height"]), str(about["rig"])
        cameras = Camera(tensors["intrinsics"], tensors["camera_from_world"], width, height)
        expression = {n: tensors.get(f"expression.{n}") for n in _EXPRESSION}
        identity = {n: tensors.get(f"identity.{n}") for n in _IDENTITY}
        confidence = tensors["confidence"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{folder} is not a whole track: {error} is missing or wrong.") from error
    backdrop = folder / "backdrop.png"
    return Track(
        cameras,
        Expression(rig, **expression),  # type: ignore[arg-type]
        Identity(rig, **identity),  # type: ignore[arg-type]
        confidence,
        tensors.get("landmarks"),
        MapFolder(folder),
        np.array(Image.open(backdrop).convert("RGB")) if backdrop.exists() else None,
        dict(about.get("report") or {}),
        tensors.get("bends"),
    )
