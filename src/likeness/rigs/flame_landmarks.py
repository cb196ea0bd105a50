"""FLAME's landmarks: fixed points, and a contour that slides with the turn of the head."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.core.rig import Embedding, Mesh
from likeness.core.unpickle import Inert, restricted_read

_ROWS = 79


@dataclass(frozen=True, eq=False)
class Contour:
    """The jaw line as a camera sees it: a row of 17 points for each degree of yaw.

    Rows 0 to 39 are yaws of 0 to 39 degrees, 40 to 78 are -1 to -39.
    """

    triangles: Int[Tensor, "79 17"]
    weights: Float[Tensor, "79 17 3"]


def contour_rows(rotation: Float[Tensor, "*b 3 3"], sign: int = 1) -> Int[Tensor, "*b"]:
    """The row for a head (root and neck) turned by `rotation`.

    NHA counts the yaw with `sign` 1, FLAME_PyTorch and metrical-tracker with -1.
    """
    lean = rotation[..., :2, 0].norm(dim=-1)
    yaw = sign * torch.rad2deg(torch.atan2(-rotation[..., 2, 0], lean))
    degrees = yaw.clamp(max=39).round().long()
    return torch.where(degrees >= 0, degrees, (39 - degrees).clamp(max=_ROWS - 1))


def contour_points(
    mesh: Mesh, contour: Contour, rows: Int[Tensor, "*b"]
) -> Float[Tensor, "*b 17 3"]:
    """The 17 points of each moment on its own mesh."""
    ids = mesh.triangles[contour.triangles[rows]]  # *b 17 3
    flat = ids.flatten(-2)[..., None].expand(*ids.shape[:-2], -1, 3)
    corners = mesh.vertices.gather(-2, flat).unflatten(-2, (17, 3))
    return (corners * contour.weights[rows][..., None]).sum(-2)


def read_layouts(folder: Path, triangles: int) -> dict[str, Embedding]:
    """Every landmark layout whose file lies in `folder`: classic68, irises2, mediapipe478."""
    layouts: dict[str, Embedding] = {}
    table = _find_table(folder)
    if table is not None and "full_lmk_faces_idx" in table:
        ids, weights = table["full_lmk_faces_idx"][0], table["full_lmk_bary_coords"][0]
        layouts["classic68"] = _embedding(ids[:68], weights[:68], np.arange(68), 68, triangles)
    elif table is not None:
        ids, weights = table["static_lmk_faces_idx"], table["static_lmk_bary_coords"]
        layouts["classic68"] = _embedding(ids[:51], weights[:51], np.arange(17, 68), 68, triangles)
    if table is not None and len(table["static_lmk_faces_idx"]) == 53:
        ids, weights = table["static_lmk_faces_idx"], table["static_lmk_bary_coords"]
        layouts["irises2"] = _embedding(ids[51:], weights[51:], np.arange(2), 2, triangles)
    file = next(iter(sorted(folder.glob("mediapipe_landmark_embedding*.npz"))), None)
    if file is not None:
        points = _read_npz(file)
        if not {"lmk_face_idx", "lmk_b_coords", "landmark_indices"} <= points.keys():
            raise BadInput(f"{file} is not an embedding of MediaPipe landmarks.")
        layouts["mediapipe478"] = _embedding(
            points["lmk_face_idx"],
            points["lmk_b_coords"],
            points["landmark_indices"],
            478,
            triangles,
        )
    return layouts


def read_contour(folder: str | Path) -> Contour:
    """The sliding contour of the landmark file in `folder`."""
    table = _find_table(Path(folder))
    if table is None or "dynamic_lmk_faces_idx" not in table:
        raise BadInput(f"{folder} holds no landmark_embedding file with a dynamic contour.")
    ids, weights = table["dynamic_lmk_faces_idx"], table["dynamic_lmk_bary_coords"]
    if ids.shape != (_ROWS, 17) or weights.shape != (_ROWS, 17, 3):
        raise BadInput(f"The contour in {folder} is {ids.shape}; it should be ({_ROWS}, 17).")
    return Contour(
        torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(weights.astype(np.float32))
    )


def _find_table(folder: Path) -> dict[str, np.ndarray] | None:
    for pattern, read in (("*.npz", _read_npz), ("*.npy", _read_npy)):
        for file in sorted(folder.glob("landmark_embedding" + pattern)):
            table = read(file)
            if not {"static_lmk_faces_idx", "static_lmk_bary_coords"} <= table.keys():
                raise BadInput(f"{file} is not an embedding of FLAME landmarks.")
            return table
    return None


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError) as error:
        raise BadInput(f"{file} is not an archive of arrays ({error}).") from error


def _read_npy(file: Path) -> dict[str, np.ndarray]:
    """The published form: one pickled dictionary in an .npy, some of it torch tensors."""
    try:
        with file.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            reader = {
                1: np.lib.format.read_array_header_1_0,
                2: np.lib.format.read_array_header_2_0,
            }
            shape, _, dtype = reader[version[0]](stream)
            if not dtype.hasobject:
                raise BadInput(f"{file} holds a plain array {shape}, not landmark tables.")
            held = restricted_read(stream, file, stand_ins=("torch",))
    except (ValueError, KeyError, OSError) as error:
        raise BadInput(f"{file} is not an .npy file ({error}).") from error
    found = np.asarray(held, dtype=object).ravel()
    if found.size != 1 or not isinstance(found[0], dict):
        raise BadInput(f"{file} does not hold one dictionary.")
    return {str(name): _plain(value, file) for name, value in found[0].items()}


def _plain(value: Any, file: Path) -> np.ndarray:
    if not isinstance(value, Inert):
        return np.asarray(value)
    try:
        storage, offset, size, stride = value.args[:4]
        whole = torch.load(io.BytesIO(storage.args[0]), weights_only=True)
        flat = torch.tensor([], dtype=whole.dtype).set_(whole)
        return flat.as_strided(tuple(size), tuple(stride), offset).clone().numpy()
    except (ValueError, IndexError, AttributeError, TypeError, RuntimeError, EOFError) as error:
        raise BadInput(f"{file} holds a tensor that cannot be read ({error}).") from error


def _embedding(
    ids: np.ndarray, weights: np.ndarray, known: np.ndarray, count: int, triangles: int
) -> Embedding:
    ids, known = ids.astype(np.int64).ravel(), known.astype(np.int64).ravel()
    fits = len(ids) == len(known) and weights.shape == (len(ids), 3)
    fits = fits and (not known.size or 0 <= known.min() <= known.max() < count)
    if not fits or (ids.size and not 0 <= ids.min() <= ids.max() < triangles):
        raise BadInput(f"Landmarks do not fit a model of {triangles} triangles. Is it another one?")
    at, share = torch.zeros(count, dtype=torch.int64), torch.zeros(count, 3)
    share[:, 0] = 1
    at[torch.from_numpy(known)] = torch.from_numpy(ids)
    share[torch.from_numpy(known)] = torch.from_numpy(weights.astype(np.float32))
    marks = torch.zeros(count, dtype=torch.int64)
    marks[torch.from_numpy(known)] = 1
    return Embedding(at, share, marks)
