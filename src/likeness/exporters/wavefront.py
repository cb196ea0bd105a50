"""OBJ with its material and texture: one moment of the surface, for any modeller."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likeness.core.errors import Unsupported
from likeness.core.files import write_text
from likeness.core.geometry import transform
from likeness.core.media import save_png
from likeness.exporters.glb import resting
from likeness.exporters.motion import Motion, check_finite
from likeness.exporters.notes import KEY, Note
from likeness.exporters.surface import HasRig, vertex_normals
from likeness.exporters.texture import bake
from likeness.exporters.volumes import surface_of


@dataclass(frozen=True)
class Wavefront:
    """OBJ, MTL and a PNG texture beside each other, in metres."""

    texture: int = 1024
    """Pixels along a side of the texture."""
    wrap: float = 0.0
    """Density per metre onto whose surface the rig is laid, for avatars that learn a volume; 0
    leaves it as it was tracked."""

    needs = HasRig
    suffix = ".obj"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        if len(motion) > 1:
            raise Unsupported("OBJ holds one moment. Use --to glb for motion.")
        check_finite(motion)
        surface, expression = surface_of(avatar, resting(motion), self.wrap), motion[0]
        colour = bake(avatar, surface, resting(motion), self.texture)
        stem = path.stem.replace(" ", "_")
        picture, material = path.with_name(f"{stem}.png"), path.with_name(f"{stem}.mtl")
        save_png(picture, colour, note.line())
        about = f"# {KEY} {note.line()}\n"
        look = f"newmtl skin\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nmap_Kd {picture.name}\n"
        write_text(material, about + look)
        world = transform(expression.world_from_head, surface.at(expression.coefficients).vertices)
        normals = vertex_normals(world, surface.triangles, surface.source)
        lines = [about + f"mtllib {material.name}\no head"]
        lines += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in world.tolist()]
        lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in surface.uv.tolist()]
        lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in normals.tolist()]
        lines.append("usemtl skin")
        for a, b, c in (surface.triangles + 1).tolist():
            lines.append(f"f {a}/{a}/{a} {b}/{b}/{b} {c}/{c}/{c}")
        write_text(path, "\n".join(lines) + "\n")
        return path
