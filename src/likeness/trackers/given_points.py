"""Landmarks that somebody else found: a .npz or .json beside the recording.

`points` are [T, 478, 2 or 3] in pixels, in the order of MediaPipe's mesh; a frame without a face
is NaN (.npz) or null (.json). 468 points do, without irises. `confidence` [T] and `size` (width,
height of the pictures they were found in, when not the capture's) are optional.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.files import read_any_json
from likeness.trackers.eyes import RIMS
from likeness.trackers.mesh_points import POINTS

_MESH = 468


def given_points(
    path: Path, capture: Capture
) -> tuple[Float[np.ndarray, "T 478 3"], Float[np.ndarray, " T"]]:
    """Points and confidence of every frame of a capture, out of a file."""
    data = _read(Path(path))
    if "points" not in data:
        raise BadInput(f"{path} has no 'points'; it has: {', '.join(sorted(data)) or 'nothing'}.")
    points = _points(data["points"], path, len(capture))
    if data.get("size") is not None:
        size = _numbers(data["size"], path, "size", (2,))
        points[..., :2] *= np.asarray(capture.size) / size
    seen = np.isfinite(points).all((1, 2))
    points[~seen] = np.nan
    confidence = seen.astype(np.float32)
    if data.get("confidence") is not None:
        told = _numbers(data["confidence"], path, "confidence", (len(capture),))
        if not ((told >= 0) & (told <= 1)).all():
            raise BadInput(f"{path} has a confidence outside 0 to 1.")
        confidence *= told.astype(np.float32)
    return points.astype(np.float32), confidence


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(f"There is no file {path}. --with takes a tracker, a track, or landmarks.")
    if path.suffix.lower() == ".json":
        found = read_any_json(path)
        if not isinstance(found, dict):
            raise BadInput(f"{path} holds a JSON {type(found).__name__}, not an object.")
        return found
    try:
        with path.open("rb") as stream:  # numpy leaves damaged files open otherwise
            archive = np.load(stream, allow_pickle=False)
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        words = " ".join(str(error).split())[:120]
        raise BadInput(f"{path} is no .npz of plain arrays ({words}). Save it again.") from error


def _points(value: Any, path: Path, count: int) -> np.ndarray:
    if isinstance(value, list):
        whole = next((len(row) for row in value if isinstance(row, list)), POINTS)
        value = [[[np.nan, np.nan]] * whole if row is None else row for row in value]
        value = [
            [point[:2] if isinstance(point, list) else point for point in row] for row in value
        ]
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{path}: 'points' are no numbers of one shape ({error}).") from error
    shape = "x".join(map(str, found.shape))
    if found.ndim != 3 or found.shape[1] not in (_MESH, POINTS) or found.shape[2] not in (2, 3):
        raise BadInput(
            f"{path}: 'points' of size {shape}; {POINTS} (or {_MESH}) points of MediaPipe's mesh "
            "in x and y are understood, a row a frame."
        )
    if len(found) != count:
        raise BadInput(f"{path} holds {len(found)} frames; the capture has {count}.")
    points = np.zeros((count, POINTS, 3))
    points[:, : found.shape[1], : found.shape[2]] = found
    if found.shape[1] == _MESH:  # eyes that look straight ahead
        for eye, rim in enumerate(RIMS):
            points[:, _MESH + 5 * eye : _MESH + 5 * eye + 5] = points[:, rim].mean(1, keepdims=True)
    return points


def _numbers(value: Any, path: Path, what: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{path}: {what!r} holds no numbers.") from error
    if found.shape != shape or not np.isfinite(found).all():
        raise BadInput(f"{path}: {what!r} must be {shape[0]} finite numbers.")
    return found
