"""What the many `transforms*.json` layouts share: sniffing, intrinsics, file names, sizes."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from likeness.captures.fields import file_name, number
from likeness.captures.head_poses import intrinsics_matrix
from likeness.captures.picture_files import PICTURE_SUFFIXES, picture_size
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, Unsupported
from likeness.core.track import Track

SPLITS = ("train", "val", "test")
_SNIFFED = 1 << 16


def sniff(path: Path) -> str:
    """The beginning of a text file, to recognise a layout by its words; empty when unreadable."""
    try:
        with path.open("rb") as file:
            return file.read(_SNIFFED).decode("utf-8", errors="replace")
    except OSError:
        return ""


def split_file(folder: Path, *words: str) -> bool:
    """Whether `folder` has a transforms file that speaks of all of `words`."""
    names = ["transforms.json", *(f"transforms_{s}.json" for s in SPLITS)]
    return any(all(f'"{w}"' in sniff(folder / n) for w in words) for n in names)


def picture_file(folder: Path, name: str, where: Path | str) -> Path:
    """The file of a frame; data sets leave out suffixes, or write `./` and backslashes."""
    given = folder / name.replace("\\", "/")
    if given.is_file() and given.suffix.lower() in PICTURE_SUFFIXES:
        return given
    for suffix in (".png", ".jpg", ".jpeg", ".webp"):
        found = given.with_name(given.name + suffix)
        if found.is_file():
            return found
    raise BadInput(
        f"{where} names a picture {name!r}, but there is no file {given}. "
        "Copy the pictures beside the JSON file, or take the frame out."
    )


def stated_intrinsics(
    data: dict[str, Any], frame: dict[str, Any], size: tuple[int, int], where: Path | str
) -> tuple[Float64[np.ndarray, "3 3"], tuple[int, int]]:
    """Intrinsics and the picture size they are for; a frame's own fields come first.

    A focal length may be given as an angle; one that is missing altogether is an error. The
    principal point is the middle unless given.
    """
    if not isinstance(frame, dict):
        raise BadInput(f"{where} is no object. Export the file again.")
    both = {**data, **frame}
    width = int(number(both, "w", where, float(size[0])))
    height = int(number(both, "h", where, float(size[1])))
    fx = number(both, "fl_x", where, None)
    if fx is None:
        angle = number(both, "camera_angle_x", where, None)
        if angle is None or not 0 < angle < math.pi:
            raise BadInput(
                f"{where} has no usable focal length ('fl_x' or 'camera_angle_x', which is "
                f"{angle}). Add 'fl_x' in pixels."
            )
        fx = 0.5 * width / math.tan(0.5 * angle)
    fy = number(both, "fl_y", where, fx)
    cx, cy = number(both, "cx", where, width / 2), number(both, "cy", where, height / 2)
    if fx == 0 or fy == 0:
        raise BadInput(f"{where} has a focal length of 0. It must be in pixels.")
    return intrinsics_matrix(fx, fy, cx, cy), (width, height)


def fitted(
    intrinsics: Float64[np.ndarray, "*t 3 3"],
    stated: tuple[int, int],
    actual: tuple[int, int],
    where: Path | str,
) -> Float64[np.ndarray, "*t 3 3"]:
    """Intrinsics for the pictures as they are: scaled when those were resized, refused if cut."""
    if stated == actual:
        return intrinsics
    if min(stated) <= 0:
        raise BadInput(
            f"{where} has a picture size of {stated[0]}x{stated[1]}. It must be above 0."
        )
    sx, sy = actual[0] / stated[0], actual[1] / stated[1]
    if abs(sx * stated[1] - actual[1]) > 1.5:
        raise BadInput(
            f"{where} gives intrinsics for {stated[0]}x{stated[1]} pictures, but they are "
            f"{actual[0]}x{actual[1]}, which is another shape. Use the original pictures."
        )
    return np.diag([sx, sy, 1.0]) @ intrinsics


def one_size(paths: tuple[Path, ...], where: Path | str) -> tuple[int, int]:
    """The size of all pictures; looks at the first, the last and a few between."""
    first = picture_size(paths[0])
    for path in paths[1 :: max(1, len(paths) // 8)]:
        if (other := picture_size(path)) != first:
            raise BadInput(
                f"{where}: {path} is {other[0]}x{other[1]} but {paths[0].name} is "
                f"{first[0]}x{first[1]}. All frames must have one size."
            )
    return first


def frame_name(frame: Any, where: Path | str) -> str:
    return file_name(frame, "file_path", where)


def must_fit(track: Track, capture: Capture) -> None:
    """Refuse to write a track beside frames that are not its own."""
    if len(track) != len(capture):
        raise Unsupported(
            f"The track has {len(track)} frames and the capture {len(capture)}. "
            "Track this capture first."
        )
