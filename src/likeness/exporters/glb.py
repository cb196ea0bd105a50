"""GLB: the head as a textured mesh with named morph targets, joints, and an animation."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from likeness.core.files import write_bytes
from likeness.core.geometry import (
    axis_angle_to_matrix,
    matrix_to_quaternion,
    rigid,
)
from likeness.core.media import to_bytes
from likeness.exporters.gltf_files import INDICES, VERTICES, Document
from likeness.exporters.motion import Motion, check_finite
from likeness.exporters.notes import Note
from likeness.exporters.surface import HasRig, Skinned, vertex_normals
from likeness.exporters.texture import bake
from likeness.exporters.volumes import surface_of

_LEAST = 1e-6  # metres; smaller displacements are not stored


@dataclass(frozen=True)
class Glb:
    """The rig's mesh with 52 morph targets, textured by the avatar's own pictures, and a clip."""

    texture: int = 1024
    """Pixels along a side of the texture."""
    wrap: float = 0.0
    """Density per metre onto whose surface the rig is laid, for avatars that learn a volume; 0
    leaves it as it was tracked."""

    needs = HasRig
    suffix = ".glb"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        check_finite(motion)
        surface = surface_of(avatar, resting(motion), self.wrap)
        colour = bake(avatar, surface, resting(motion), self.texture)
        write_bytes(path, head_glb(surface, motion, note, colour))
        return path


def resting(motion: Motion):
    """The first moment's place of head and torso, with a neutral face."""
    first = motion[0]
    return replace(
        first,
        coefficients=torch.zeros_like(first.coefficients),
        joints=torch.zeros_like(first.joints),
        personal=None,
        sound=None,
    )


def head_glb(surface: Skinned, motion: Motion, note: Note, colour: Tensor | None = None) -> bytes:
    """The document. One moment is set as default weights and pose; more make an animation.

    Nodes: `head` carries the motion of the head, joints hang on it at their places. Personal
    modes and the torso's own motion have no place in a mesh and stay out.
    """
    document = Document(note)
    mesh = _mesh(document, surface, colour, note)
    first = motion[0]
    document.json["meshes"][mesh]["weights"] = _plain(first.coefficients)
    joints = _joints(document, surface, first.joints)
    body = document.add("nodes", {"name": "surface", "mesh": mesh, "skin": 0})
    head = document.add("nodes", {"name": "head", **_motion(first.world_from_head)})
    tops = [node for node, parent in zip(joints, surface.parents) if parent < 0]
    document.json["nodes"][head]["children"] = tops
    places = torch.cat([torch.zeros(1, 3), surface.joints])
    inverse = torch.eye(4).repeat(len(places), 1, 1)
    inverse[:, :3, 3] = -places
    matrices = inverse.mT.contiguous().flatten(1).numpy().astype("<f4")  # column-major
    document.add(
        "skins",
        {
            "joints": [head, *joints],
            "skeleton": head,
            "inverseBindMatrices": document.array(matrices),
        },
    )
    document.json["scene"] = document.add("scenes", {"nodes": [head, body]})
    if len(motion) > 1:
        _animate(document, surface, motion, head, body, joints)
    return document.glb()


def _mesh(document: Document, surface: Skinned, colour: Tensor | None, note: Note) -> int:
    weights, joints = four_strongest(surface.skin)
    normals = vertex_normals(surface.vertices, surface.triangles, surface.source)

    def floats(values: Tensor, bounds: bool = False) -> int:
        return document.array(values.contiguous().numpy().astype("<f4"), VERTICES, bounds)

    attributes = {
        "POSITION": floats(surface.vertices, bounds=True),
        "NORMAL": floats(normals),
        "TEXCOORD_0": floats(surface.uv),
        "WEIGHTS_0": floats(weights),
        "JOINTS_0": document.array(joints.to(torch.uint8).numpy(), VERTICES),
    }
    count = len(surface.vertices)
    index = surface.triangles.flatten().numpy().astype("<u2" if count < 65535 else "<u4")
    primitive = {
        "attributes": attributes,
        "indices": document.array(index, INDICES),
        "material": _material(document, colour),
        "targets": [
            {"POSITION": document.sparse(target.numpy().astype("<f4"), _LEAST)}
            for target in surface.targets
        ],
    }
    return document.add(
        "meshes",
        {
            "name": note.subject or "head",
            "primitives": [primitive],
            "extras": {"targetNames": list(surface.names)},
        },
    )


def _material(document: Document, colour: Tensor | None) -> int:
    look: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    if colour is not None:
        packed = io.BytesIO()
        Image.fromarray(to_bytes(colour)).save(packed, "PNG", optimize=False)
        view = document.view(packed.getvalue())
        image = document.add("images", {"bufferView": view, "mimeType": "image/png"})
        sampler = document.add("samplers", {"wrapS": 33071, "wrapT": 33071})
        texture = document.add("textures", {"source": image, "sampler": sampler})
        look["baseColorTexture"] = {"index": texture}
    return document.add(
        "materials", {"name": "skin", "pbrMetallicRoughness": look, "doubleSided": True}
    )


def _joints(document: Document, surface: Skinned, angles: Tensor) -> list[int]:
    made = []
    for i, name in enumerate(surface.joint_names):
        parent = surface.parents[i]
        place = surface.joints[i] - (surface.joints[parent] if parent >= 0 else 0)
        local = rigid(axis_angle_to_matrix(angles[i]), place)
        made.append(document.add("nodes", {"name": name, **_motion(local)}))
        if parent >= 0:
            document.json["nodes"][made[parent]].setdefault("children", []).append(made[i])
    return made


def _motion(pose: Tensor) -> dict[str, list[float]]:
    turn = matrix_to_quaternion(pose[:3, :3])
    return {"rotation": _plain(turn[[1, 2, 3, 0]]), "translation": _plain(pose[:3, 3])}


def _plain(values: Tensor) -> list[float]:
    return [float(v) for v in values.detach().cpu().double()]


def four_strongest(skin: Tensor) -> tuple[Tensor, Tensor]:
    """Weights that sum to 1 and their joints, where joint 0 is the head itself."""
    rest = (1 - skin.sum(-1, keepdim=True)).clamp(min=0)
    whole = torch.cat([rest, skin.clamp(min=0)], -1)
    width = min(4, whole.shape[1])
    weights, joints = whole.topk(width, -1)
    if width < 4:
        weights = torch.nn.functional.pad(weights, (0, 4 - width))
        joints = torch.nn.functional.pad(joints, (0, 4 - width))
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-8)
    return weights, torch.where(weights > 0, joints, 0)


def _animate(
    document: Document,
    surface: Skinned,
    motion: Motion,
    head: int,
    body: int,
    joints: list[int],
) -> None:
    times = np.arange(len(motion), dtype="<f4") / np.float32(motion.fps)
    clock = document.array(times, bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    def move(node: int, path: str, values: Tensor) -> None:
        output = document.array(values.detach().cpu().contiguous().numpy().astype("<f4"))
        samplers.append({"input": clock, "output": output, "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    what = motion.expressions
    move(body, "weights", what.coefficients.flatten())
    move(head, "rotation", continuous(matrix_to_quaternion(what.world_from_head[:, :3, :3])))
    move(head, "translation", what.world_from_head[:, :3, 3])
    for i, node in enumerate(joints):
        if bool(what.joints[:, i].abs().max() > 1e-6):
            turns = axis_angle_to_matrix(what.joints[:, i])
            move(node, "rotation", continuous(matrix_to_quaternion(turns)))
    document.add("animations", {"name": "motion", "samplers": samplers, "channels": channels})


def continuous(turns: Tensor) -> Tensor:
    """Quaternions wxyz to xyzw, each on the side of the one before it."""
    dots = (turns[1:] * turns[:-1]).sum(-1)
    sign = torch.cat([turns.new_ones(1), torch.where(dots < 0, -1.0, 1.0)]).cumprod(0)
    return (turns * sign[:, None])[:, [1, 2, 3, 0]]
