"""ICT-FaceKit (MIT, USC Institute for Creative Technologies), from its folder of OBJ files.

Files are in centimetres with the subject's left at +x, as here. Shapes split into `_L` and `_R`
take ARKit's names; those that ARKit does not split are summed. A shape whose file is not there is
left out and reported, never invented. Gaze is in the shapes themselves, so no shape turns a joint.
"""

import json
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.core.assets import find_asset
from likeness.core.errors import BadInput
from likeness.core.regions import REGION
from likeness.core.rig import Embedding
from likeness.rigs.linear import LinearRig
from likeness.rigs.wavefront import Wavefront, read_vertices, read_wavefront

NEUTRAL = "generic_neutral_mesh.obj"
INDICES = "vertex_indices.json"
_SIDED = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn"),
    *("eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown"),
    *("mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)
_WHOLE = (
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft"),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"),
    "mouthShrugUpper",
)
_SUMMED = ("browInnerUp", "cheekPuff")
SHAPES: dict[str, tuple[str, ...]] = {
    **{f"{name}{side}": (f"{name}_{side[0]}",) for name in _SIDED for side in ("Left", "Right")},
    **{name: (name,) for name in _WHOLE},
    **{name: (f"{name}_L", f"{name}_R") for name in _SUMMED},
}
"""ARKit's name and the files that make it. ARKit's `tongueOut` has no file in the kit."""

_REGION_OF_MATERIAL = {
    "Face": "skin",
    "BackHead": "scalp",
    "GumsTongue": "mouth",
    "Teeth": "teeth",
    "Sclera": "eyes",
    "Iris": "irises",
    "LacrimalFluid": "eyes",
    "EyeBlend": "eyes",
    "EyeOcclusion": "eyes",
    "EyeLashes": "brows",
}
_RIGHT_EYE, _LEFT_EYE = 36, 45
"""The outer corners of the eyes among the 68 landmarks; the origin is midway."""
_log = logging.getLogger(__name__)


def ict(path: str | Path | None = None) -> LinearRig:
    """The rig out of a FaceXModel folder, from `path` or the data folder."""
    folder = find_asset("ict", path)
    if not (folder / NEUTRAL).is_file():
        raise BadInput(f"{folder} has no {NEUTRAL}. Give the FaceXModel folder of ICT-FaceKit.")
    mesh = read_wavefront(folder / NEUTRAL)
    corners = _landmarks(folder, len(mesh.vertices))
    middle = mesh.vertices[corners[[_RIGHT_EYE, _LEFT_EYE]]].mean(0)
    template = _tensor((mesh.vertices - middle) / 100)
    names, shapes = _shapes(folder, mesh.vertices)
    directions = sorted(folder.glob("identity*.obj"))
    identity = [_displacement(file, mesh.vertices) for file in directions]
    eyes = torch.stack([_painted(mesh, f"Sclera{s}", f"Iris{s}") for s in ("Left", "Right")], -1)
    weights = eyes.float()
    centres = (weights.T @ template) / weights.sum(0).clamp(min=1)[:, None]
    triangles = torch.from_numpy(mesh.triangles)
    return LinearRig(
        name="ict",
        template=template,
        triangles=triangles,
        uv=_tensor(mesh.uv),
        uv_triangles=torch.from_numpy(mesh.uv_triangles),
        regions=_regions(mesh),
        shape_names=names,
        shape_basis=_stacked(shapes, template),
        identity_names=tuple(file.stem for file in directions),
        identity_basis=_stacked(identity, template),
        joint_names=("left_eye", "right_eye"),
        joint_positions=centres,
        joint_parents=(-1, -1),
        skin_weights=weights,
        shape_joints=template.new_zeros(len(names), 2, 3),
        layouts={"classic68": _at_vertices(corners, triangles)},
    )


def missing_shapes(path: str | Path | None = None) -> dict[str, tuple[str, ...]]:
    """ARKit shapes that the folder cannot make, and the files each lacks."""
    folder = find_asset("ict", path)
    lacks = {
        name: tuple(f"{part}.obj" for part in parts if not (folder / f"{part}.obj").is_file())
        for name, parts in SHAPES.items()
    }
    return {name: files for name, files in lacks.items() if files}


def _shapes(folder: Path, neutral: np.ndarray) -> tuple[tuple[str, ...], list[Tensor]]:
    missing = missing_shapes(folder)
    if missing:
        _log.warning("%s lacks %d of %d shapes: %s", *_counts(folder, missing))
    names = tuple(name for name in SHAPES if name not in missing)
    found = [
        sum(
            (_displacement(folder / f"{part}.obj", neutral) for part in SHAPES[name]),
            torch.zeros(()),
        )
        for name in names
    ]
    return names, found


def _counts(folder: Path, missing: dict[str, tuple[str, ...]]) -> tuple[str, int, int, str]:
    return folder.name, len(missing), len(SHAPES), ", ".join(missing)


def _displacement(file: Path, neutral: np.ndarray) -> Tensor:
    vertices = read_vertices(file)
    if vertices.shape != neutral.shape:
        raise BadInput(
            f"{file} has {len(vertices)} vertices; {NEUTRAL} has {len(neutral)}. Is it of this kit?"
        )
    return _tensor((vertices - neutral) / 100)


def _landmarks(folder: Path, count: int) -> np.ndarray:
    file = folder / INDICES
    try:
        found = json.loads(file.read_text("utf-8"))["idx_to_landmark_verts"]
        corners = np.array(found, np.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file} does not give the 68 landmarks ({error}).") from error
    if corners.shape != (68,) or corners.min() < 0 or corners.max() >= count:
        raise BadInput(f"{file} has landmarks that do not fit {count} vertices.")
    return corners


def _at_vertices(corners: np.ndarray, triangles: Tensor) -> Embedding:
    """Landmarks at vertices, as a corner of any triangle there."""
    flat = triangles.flatten()
    where = torch.full((int(flat.max()) + 1,), -1, dtype=torch.int64)
    where[flat] = torch.arange(len(flat))
    spot = torch.tensor([int(where[c]) if c < len(where) else -1 for c in corners.tolist()])
    known = (spot >= 0).long()
    spot = spot.clamp(min=0)
    return Embedding(spot // 3, torch.eye(3)[spot % 3], known)


def _painted(mesh: Wavefront, *names: str) -> Tensor:
    """Vertices of triangles whose material ends in one of `names`."""
    chosen = [i for i, material in enumerate(mesh.materials) if material.endswith(names)]
    mask = torch.zeros(len(mesh.vertices), dtype=torch.bool)
    mask[mesh.triangles[np.isin(mesh.triangle_materials, chosen)].ravel()] = True
    return mask


def _regions(mesh: Wavefront) -> Tensor:
    regions = torch.full((len(mesh.vertices),), REGION["skin"], dtype=torch.int64)
    for part, region in _REGION_OF_MATERIAL.items():
        names = (part, f"{part}Left", f"{part}Right")
        regions[_painted(mesh, *names)] = REGION[region]
    return regions


def _stacked(parts: list[Tensor], template: Tensor) -> Tensor:
    return torch.stack(parts) if parts else template.new_zeros(0, *template.shape)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
