"""Photos of a person: a folder of them, one alone, or one folder per person."""

import math
from pathlib import Path
from typing import Any

from PIL import Image

from likeness.captures.picture_files import (
    PICTURE_SUFFIXES,
    PictureFiles,
    open_picture,
    picture_paths,
    picture_size,
)
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, did_you_mean

_EXIF = 0x8769
_FOCAL_35, _FOCAL, _PLANE_X, _PLANE_UNIT, _STORED_WIDTH = 0xA405, 0x920A, 0xA20E, 0xA210, 0xA002
_MODEL = 0x0110
_IMAGES = "images"
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_DIAGONAL_35 = math.hypot(36, 24)
# Sensor widths in millimetres, by words of the camera's model name.
_SENSOR_WIDTHS = {
    "EOS 5D": 35.8,
    "EOS 6D": 35.8,
    "EOS R5": 36.0,
    "EOS R6": 35.9,
    "ILCE-7": 35.8,
    "NIKON D8": 35.9,
    "NIKON D7": 35.9,
    "NIKON Z 6": 35.9,
    "NIKON Z 7": 35.9,
    "EOS 80D": 22.5,
    "EOS 90D": 22.3,
    "EOS REBEL": 22.3,
    "NIKON D5": 23.5,
    "NIKON D3": 23.5,
    "ILCE-6": 23.5,
    "X-T": 23.5,
    "DMC-G": 17.3,
    "E-M": 17.4,
}


def recognises(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in PICTURE_SUFFIXES | {".heic", ".heif"}
    return bool(path.is_dir() and (picture_paths(path) or people(path)))


def people(path: Path) -> list[Path]:
    """Folders with pictures directly below `path`: one per person, in many photo collections."""
    return sorted(
        p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".") and picture_paths(p)
    )


def read(path: Path, person: str | None = None) -> Capture:
    """Photos in order of their names; `times` number them. Photos may differ in size.

    `person` chooses a folder where there is one for each. `focal` is in pixels as shown, one per
    photo, when EXIF tells it for all of them. Mattes are found in `alpha_maps/` or `masks/` beside
    a folder `images/`.
    """
    path = Path(path)
    if path.is_file():
        return of_files((path,), path.stem, str(path))
    folder = _folder_of(path, person)
    photos = tuple(picture_paths(folder))
    if not photos:
        raise BadInput(f"{path} holds no photos ({', '.join(sorted(PICTURE_SUFFIXES))}).")
    name = folder.parent.name if folder.name == _IMAGES else folder.name
    return of_files(photos, name, str(path), _mattes(folder, photos))


def _mattes(folder: Path, photos: tuple[Path, ...]) -> tuple[Path | None, ...]:
    """Mattes in a folder beside one called "images", as trackers leave them."""
    if folder.name != _IMAGES:
        return ()
    for name in ("alpha_maps", "masks", "fg_masks"):
        there = folder.parent / name
        if there.is_dir():
            of_stem = {p.stem: p for p in picture_paths(there)}
            return tuple(of_stem.get(p.stem) for p in photos)
    return ()


def of_files(
    photos: tuple[Path, ...], name: str, source: str, masks: tuple[Path | None, ...] = ()
) -> Capture:
    """A capture of these photos."""
    focals = [focal_length(p) for p in photos]
    known = tuple(f for f in focals if f is not None)
    return Capture(
        name=name,
        pictures=PictureFiles(photos, masks),
        times=tuple(float(i) for i in range(len(photos))),
        size=picture_size(photos[0]),
        names=tuple(p.stem for p in photos),
        focal=known if len(known) == len(photos) else None,
        source=source,
        notes={"layout": "photos"},
    )


def _folder_of(path: Path, person: str | None) -> Path:
    folders = people(path)
    if person is not None:
        for folder in folders:
            if folder.name == person:
                return folder
        hint = did_you_mean(person, [f.name for f in folders])
        raise BadInput(f"{path} has no photos of {person!r}. {hint}")
    if picture_paths(path):
        return path
    if any(f.name == _IMAGES for f in folders):
        return path / _IMAGES
    if len(folders) == 1:
        return folders[0]
    names = ", ".join(repr(f.name) for f in folders[:8])
    raise BadInput(
        f"{path} holds photos of {len(folders)} people: {names}"
        f"{' and others' if len(folders) > 8 else ''}. Give one of these folders."
    )


def focal_length(path: Path) -> float | None:
    """The focal length in pixels of the photo as stored, from its EXIF; None when it is silent.

    The 35 mm equivalent is taken along the diagonal; else the sensor's resolution or, for some
    cameras, its width is used.
    """
    with open_picture(path) as picture:
        width, height = picture.size
        tags = _tags(picture)
    equivalent = _positive(tags.get(_FOCAL_35))
    if equivalent is not None:
        return equivalent * math.hypot(width, height) / _DIAGONAL_35
    focal = _positive(tags.get(_FOCAL))
    if focal is None:
        return None
    per_unit = _positive(tags.get(_PLANE_X))
    stored = _positive(tags.get(_STORED_WIDTH))
    unit = _MM_PER_UNIT.get(int(_positive(tags.get(_PLANE_UNIT)) or 2))
    if per_unit is not None and unit is not None:
        return focal * per_unit / unit * (width / stored if stored else 1.0)
    model = str(tags.get(_MODEL, "")).upper()
    for words, sensor in _SENSOR_WIDTHS.items():
        if words in model:
            return focal * max(width, height) / sensor
    return None


def _tags(picture: Image.Image) -> dict[int, Any]:
    try:
        exif = picture.getexif()
        return {**exif, **exif.get_ifd(_EXIF)}
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        return {}  # damaged EXIF says nothing, and that is no reason to refuse the photo


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
