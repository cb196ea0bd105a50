"""Wavefront OBJ, as head models use it: vertices, UVs, polygons, and materials by name."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from likeness.core.errors import BadInput


@dataclass(frozen=True, eq=False)
class Wavefront:
    """A mesh as stored. Polygons are cut into fans; `uv` counts v from the top row down.

    `triangle_materials` index `materials`, the first of which is "" for faces before any.
    """

    vertices: Float64[np.ndarray, "V 3"]
    triangles: Int64[np.ndarray, "F 3"]
    uv: Float64[np.ndarray, "U 2"]
    uv_triangles: Int64[np.ndarray, "F 3"]
    materials: tuple[str, ...]
    triangle_materials: Int64[np.ndarray, " F"]


def read_vertices(path: Path) -> Float64[np.ndarray, "V 3"]:
    """Vertices alone, which is all a blend shape needs."""
    return _numbers(_lines(path), b"v ", 3, path)


def read_wavefront(path: Path) -> Wavefront:
    """The whole mesh. Where a polygon has no UVs, its triangle names UV 0."""
    lines = _lines(path)
    vertices, uv = _numbers(lines, b"v ", 3, path), _numbers(lines, b"vt ", 2, path)
    corners: list[tuple[int, int]] = []
    painted, materials = [], [""]
    for line in lines:
        if line.startswith(b"usemtl "):
            materials.append(line[7:].strip().decode("utf-8", "replace"))
        if line.startswith(b"f "):
            polygon = [_corner(word, len(vertices), len(uv), path) for word in line[2:].split()]
            for k in range(1, len(polygon) - 1):
                corners += [polygon[0], polygon[k], polygon[k + 1]]
                painted.append(len(materials) - 1)
    table = np.array(corners, np.int64).reshape(-1, 3, 2)
    for what, index, count in (
        ("vertex", table[..., 0], len(vertices)),
        ("UV", table[..., 1], len(uv)),
    ):
        if index.size and (index.min() < 0 or index.max() >= max(count, 1)):
            raise BadInput(
                f"{path} has a face that names a {what} it does not hold ({count} there)."
            )
    if not len(uv):
        uv = np.zeros((1, 2))
    return Wavefront(
        vertices,
        table[..., 0],
        np.stack([uv[:, 0], 1 - uv[:, 1]], -1),
        table[..., 1],
        tuple(materials),
        np.array(painted, np.int64),
    )


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error


def _numbers(lines: list[bytes], key: bytes, width: int, path: Path) -> np.ndarray:
    rows = [line[len(key) :] for line in lines if line.startswith(key)]
    if not rows:
        return np.zeros((0, width))
    try:
        columns = len(rows[0].split())
        found = np.array(b" ".join(rows).split(), np.float64).reshape(len(rows), columns)
    except ValueError as error:
        raise BadInput(
            f"{path} has a line {key.decode()!r} that is not numbers: {error}."
        ) from error
    if columns < width or not np.isfinite(found).all():
        raise BadInput(f"{path} has lines {key.decode()!r} that are short or not finite.")
    return np.ascontiguousarray(found[:, :width])


def _corner(word: bytes, vertices: int, uvs: int, path: Path) -> tuple[int, int]:
    """Indices from 0; OBJ counts from 1, or back from the end with negative numbers."""
    parts = word.split(b"/")
    try:
        at, uv = int(parts[0]), int(parts[1]) if len(parts) > 1 and parts[1] else 1
    except ValueError as error:
        raise BadInput(f"{path} has a face with {word!r} for a corner.") from error
    return at - 1 if at > 0 else vertices + at, uv - 1 if uv > 0 else uvs + uv
