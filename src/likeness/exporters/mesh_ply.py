"""The surface as PLY: vertices and triangles; a motion becomes a folder of numbered files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from likeness.core.avatar import HasMesh
from likeness.core.files import write_bytes
from likeness.core.rig import Mesh
from likeness.exporters.motion import Motion, check_finite
from likeness.exporters.notes import KEY, Note
from likeness.exporters.ply_files import Element, ply_bytes


@dataclass(frozen=True)
class MeshPly:
    """The mesh alone at one moment as PLY, in the world: metres, y up."""

    needs = HasMesh
    suffix = ".ply"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        check_finite(motion)
        if len(motion) == 1:
            write_mesh_ply(path, avatar.mesh(motion[0]), note)
            return path
        folder = path.with_suffix("")
        for index in range(len(motion)):
            write_mesh_ply(folder / f"{index:06d}.ply", avatar.mesh(motion[index]), note)
        return folder


def write_mesh_ply(
    path: str | Path, mesh: Mesh, note: Note, shades: np.ndarray | None = None
) -> None:
    """`shades` are bytes of red, green and blue at each vertex."""
    places = mesh.vertices.detach().cpu().float().numpy()
    vertices = Element("vertex", {name: places[:, i] for i, name in enumerate("xyz")})
    if shades is not None:
        vertices.columns.update({n: shades[:, i] for i, n in enumerate(("red", "green", "blue"))})
    triangles = mesh.triangles.detach().cpu().numpy().astype(np.int32)
    faces = Element("face", lists={"vertex_indices": triangles})
    write_bytes(path, ply_bytes([vertices, faces], [f"{KEY} {note.line()}"]))
