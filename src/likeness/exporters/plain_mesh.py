"""Triangles with a colour at each vertex as .ply, .obj or .glb, marked as what they are."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from likeness.core.files import write_bytes, write_text
from likeness.core.media import to_bytes
from likeness.core.rig import Mesh
from likeness.exporters.gltf_files import INDICES, VERTICES, Document
from likeness.exporters.mesh_ply import write_mesh_ply
from likeness.exporters.notes import KEY, Note

SUFFIXES = (".ply", ".obj", ".glb")


def write_plain_mesh(
    path: Path, mesh: Mesh, note: Note, colour: Float[Tensor, "V 3"] | None = None
) -> None:
    """By the suffix, one of `SUFFIXES`. Colour is sRGB in [0, 1]."""
    shades = None if colour is None else to_bytes(colour.detach().cpu()[None])[0]
    if path.suffix.lower() == ".ply":
        write_mesh_ply(path, mesh, note, shades)
    elif path.suffix.lower() == ".obj":
        write_text(path, _obj(mesh, note, shades))
    else:
        write_bytes(path, _glb(mesh, note, shades))


def _obj(mesh: Mesh, note: Note, shades: np.ndarray | None) -> str:
    lines = [f"# {KEY} {note.line()}"]
    rows = mesh.vertices.detach().cpu().tolist()
    tints = [""] * len(rows)
    if shades is not None:  # an extension that most programs read
        tints = [f" {r:.4f} {g:.4f} {b:.4f}" for r, g, b in (shades / 255).tolist()]
    lines += [f"v {x:.7g} {y:.7g} {z:.7g}{tint}" for (x, y, z), tint in zip(rows, tints)]
    lines += [f"f {a} {b} {c}" for a, b, c in (mesh.triangles.cpu() + 1).tolist()]
    return "\n".join(lines) + "\n"


def _glb(mesh: Mesh, note: Note, shades: np.ndarray | None) -> bytes:
    document = Document(note)
    places = mesh.vertices.detach().cpu().float().numpy().astype("<f4")
    attributes = {"POSITION": document.array(places, VERTICES, bounds=True)}
    if shades is not None:  # COLOR_0 is linear light
        light = np.where(
            shades <= 0.04045 * 255, shades / 255 / 12.92, ((shades / 255 + 0.055) / 1.055) ** 2.4
        )
        attributes["COLOR_0"] = document.array(light.astype("<f4"), VERTICES)
    index = document.array(mesh.triangles.cpu().flatten().numpy().astype("<u4"), INDICES)
    look = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}}
    document.add("materials", {"name": "skin", "doubleSided": True, **look})
    primitive = {"attributes": attributes, "indices": index, "material": 0}
    document.add("meshes", {"name": note.subject or "head", "primitives": [primitive]})
    document.add("nodes", {"name": "head", "mesh": 0})
    document.json["scene"] = document.add("scenes", {"nodes": [0]})
    return document.glb()
