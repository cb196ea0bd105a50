"""FLAME 2020 and 2023, from the user's own licensed files; nothing of FLAME is shipped here.

The model's five joints become the rig's four: the root is `world_from_head`, whose turns are
about the origin of the head (FLAME's own origin; `LinearRig.root` is where FLAME turns it).
Beside the model file the reader takes, when they are there: a template OBJ (UVs),
`FLAME_masks*.pkl` (parts), `landmark_embedding*` and `mediapipe_landmark_embedding.npz`
(landmarks), and `l_eyelid.npy` with `r_eyelid.npy`, which become two more shapes.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.assets import find_asset
from likeness.core.errors import BadInput
from likeness.core.regions import REGION
from likeness.core.unpickle import Inert, restricted_load
from likeness.rigs.flame_landmarks import read_layouts
from likeness.rigs.linear import LinearRig
from likeness.rigs.wavefront import read_wavefront

JOINTS = ("neck", "jaw", "left_eye", "right_eye")
DIRECTIONS = 300
"""Identity comes first among `shapedirs`; what follows is expression."""
_PARENTS = (-1, 0, 0, 0)
_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_REGION_OF_PART = {  # later rows win where parts overlap
    "face": "skin",
    "neck": "neck",
    "boundary": "neck",
    "scalp": "scalp",
    "left_ear": "ears",
    "right_ear": "ears",
    "lips": "lips",
    "mouth": "mouth",
    "left_eyeball": "eyes",
    "right_eyeball": "eyes",
    "teeth": "teeth",
}
_log = logging.getLogger(__name__)


def flame(path: str | Path | None = None) -> LinearRig:
    """The rig out of a FLAME file (.pkl or .npz), from `path` or the data folder."""
    path = find_asset("flame", path)
    if path.is_dir():
        raise BadInput(f"{path} is a folder. Name the FLAME file in it, such as generic_model.pkl.")
    data = read_model(path)
    template = _tensor(data["v_template"])
    triangles = torch.from_numpy(data["f"].astype(np.int64))
    shapes = _tensor(np.moveaxis(data["shapedirs"], 2, 0))
    expression, names = _with_eyelids(shapes[DIRECTIONS:], path)
    uv, uv_triangles = _read_uv(path, data)
    parts = _read_parts(path, len(template))
    return LinearRig(
        name="flame",
        template=template,
        triangles=triangles,
        uv=uv,
        uv_triangles=uv_triangles,
        regions=_regions(parts, len(template)),
        shape_names=names,
        shape_basis=expression,
        identity_names=tuple(f"identity_{i:03d}" for i in range(min(len(shapes), DIRECTIONS))),
        identity_basis=shapes[:DIRECTIONS],
        joint_names=JOINTS,
        joint_positions=_tensor(data["J_regressor"][1:] @ data["v_template"]),
        joint_parents=_PARENTS,
        skin_weights=_tensor(data["weights"][:, 1:]),
        shape_joints=template.new_zeros(len(names), len(JOINTS), 3),
        joint_weights=_tensor(data["J_regressor"][1:]),
        root_weights=_tensor(data["J_regressor"][0]),
        pose_correctives=_tensor(np.moveaxis(data["posedirs"], 2, 0)),
        corrective_joints=(0, 1, 2, 3),
        layouts=read_layouts(path.parent, len(triangles)),
        parts=parts,
    )


def read_model(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a FLAME file, checked. chumpy's are read without chumpy."""
    path = Path(path)
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as archive:
                raw: Any = {k: archive[k] for k in _KEYS if k in archive.files}
        except (ValueError, OSError, EOFError) as error:
            raise BadInput(f"{path} is not a FLAME archive without pickles ({error}).") from error
    else:
        raw = restricted_load(path, stand_ins=("chumpy",))
    if not isinstance(raw, dict) or any(k not in raw for k in _KEYS):
        lacks = [k for k in _KEYS if not isinstance(raw, dict) or k not in raw]
        raise BadInput(f"{path} is not a FLAME model: it lacks {', '.join(lacks)}.")
    data = {k: _array(raw[k], k, path) for k in _KEYS}
    _check(data, path)
    return data


def _array(value: Any, key: str, path: Path) -> np.ndarray:
    if isinstance(value, Inert):
        value = _from_chumpy(value, key, path)
    if hasattr(value, "todense"):
        value = np.asarray(value.todense())
    found = np.asarray(value)
    if found.dtype == object or not np.issubdtype(found.dtype, np.number):
        raise BadInput(f"{path} has a {key!r} that is not numbers ({found.dtype}).")
    if not np.isfinite(found).all():
        raise BadInput(f"{path} has a {key!r} with values that are not finite.")
    return found


def _from_chumpy(value: Inert, key: str, path: Path) -> np.ndarray:
    """A chumpy array holds its numbers in `x`; a selection holds a source, places and a shape."""
    if hasattr(value, "x"):
        return _array(value.x, key, path)  # type: ignore[attr-defined]
    if hasattr(value, "a") and hasattr(value, "idxs"):
        source = _array(value.a, key, path)  # type: ignore[attr-defined]
        places = np.asarray(value.idxs).ravel()  # type: ignore[attr-defined]
        if places.size and not 0 <= int(places.min()) <= int(places.max()) < source.size:
            raise BadInput(f"{path} has a {key!r} that selects beyond its source.")
        return source.ravel()[places].reshape(getattr(value, "preferred_shape", places.shape))
    raise BadInput(f"{path} has a {key!r} computed by chumpy in a way that is not read here.")


def _check(data: dict[str, np.ndarray], path: Path) -> None:
    count = data["v_template"].shape[0]
    expected = {
        "v_template": (count, 3),
        "f": (None, 3),
        "shapedirs": (count, 3, None),
        "posedirs": (count, 3, 36),
        "J_regressor": (5, count),
        "weights": (count, 5),
        "kintree_table": (2, 5),
    }
    for key, shape in expected.items():
        found = data[key].shape
        if len(found) != len(shape) or any(
            s not in (None, f) for s, f in zip(shape, found, strict=True)
        ):
            raise BadInput(f"{path} has a {key!r} of shape {found}; FLAME's is {shape}.")
    if data["f"].size and not 0 <= int(data["f"].min()) <= int(data["f"].max()) < count:
        raise BadInput(f"{path} has triangles beyond its {count} vertices.")
    if data["kintree_table"][0, 1:].tolist() != [0, 1, 1, 1]:
        raise BadInput(f"{path} has joints in another order than root, neck, jaw, eyes.")


def _with_eyelids(expression: Tensor, path: Path) -> tuple[Tensor, tuple[str, ...]]:
    """FLAME's expressions have no blink; metrical-tracker's two lid shapes join them when there.

    They are shapes like the others, before skinning, so that they turn with the head.
    """
    names = tuple(f"expression_{i:03d}" for i in range(len(expression)))
    files = [_beside(path, f"{side}_eyelid*.npy") for side in "lr"]
    if None in files:
        return expression, names
    lids = []
    for file in files:
        try:
            lid = np.load(str(file), allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise BadInput(f"{file} is not an array ({error}).") from error
        if lid.shape != expression.shape[1:]:
            raise BadInput(
                f"{file} is {lid.shape}; this FLAME needs {tuple(expression.shape[1:])}."
            )
        lids.append(_tensor(lid))
    return torch.cat([expression, torch.stack(lids)]), (*names, "eyelid_left", "eyelid_right")


def _read_uv(path: Path, data: dict[str, np.ndarray]) -> tuple[Tensor, Tensor]:
    """UVs of the template OBJ beside the model, or a cylinder about the head's own axis."""
    triangles, template = data["f"].astype(np.int64), data["v_template"]
    for file in sorted(path.parent.glob("head_template*.obj")):
        mesh = read_wavefront(file)
        if mesh.triangles.shape == triangles.shape and (mesh.triangles == triangles).all():
            return _tensor(mesh.uv), torch.from_numpy(mesh.uv_triangles)
    _log.info("no template OBJ beside %s: textures wrap around a cylinder", path.name)
    around = 0.5 + np.arctan2(template[:, 0], template[:, 2] - template[:, 2].mean()) / (2 * np.pi)
    low, high = template[:, 1].min(), template[:, 1].max()
    uv = np.stack([around, (high - template[:, 1]) / max(high - low, 1e-9)], -1)
    return _tensor(uv), torch.from_numpy(triangles)


def _read_parts(path: Path, count: int) -> dict[str, Tensor]:
    file = _beside(path, "FLAME_masks_mouth*.pkl") or _beside(path, "FLAME_masks*.pkl")
    if file is None:
        return {}
    masks = restricted_load(file)
    if not isinstance(masks, dict):
        raise BadInput(f"{file} does not hold parts by name.")
    parts = {}
    for name, ids in masks.items():
        index = np.asarray(ids).astype(np.int64).ravel()
        if index.size and not 0 <= int(index.min()) <= int(index.max()) < count:
            raise BadInput(f"{file} has a part {name!r} beyond the {count} vertices of the model.")
        parts[str(name)] = torch.zeros(count, dtype=torch.bool)
        parts[str(name)][torch.from_numpy(index)] = True
    return parts


def _regions(parts: dict[str, Tensor], count: int) -> Tensor:
    regions = torch.full((count,), REGION["skin"], dtype=torch.int64)
    for part, region in _REGION_OF_PART.items():
        if part in parts:
            regions[parts[part]] = REGION[region]
    return regions


def _beside(path: Path, pattern: str) -> Path | None:
    return next(iter(sorted(path.parent.glob(pattern))), None)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
