"""An exporter of your own, in one file: the surface as plain numbers, one vertex a line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tyro

import likeness
from likeness.core.avatar import HasMesh
from likeness.core.files import write_text
from likeness.exporters import EXPORTERS
from likeness.exporters.motion import Motion
from likeness.exporters.notes import Note, write_beside


@dataclass(frozen=True)
class Xyz:
    """Vertices as text: x y z, in metres or whatever `unit` makes of them."""

    needs: ClassVar[type] = HasMesh  # which avatars fit; the others are refused with the reason
    suffix: ClassVar[str] = ".xyz"

    unit: float = 1.0
    """Length of a written unit, in metres."""

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        vertices = avatar.mesh(motion[0]).vertices / self.unit
        lines = [" ".join(f"{value:.6f}" for value in row) for row in vertices.tolist()]
        write_text(path, "\n".join(lines) + "\n")
        write_beside(path, note)  # says that it is synthetic, and of whom
        return path


EXPORTERS.add("xyz", f"{__name__}:Xyz")  # a package says it with the group likeness.exporter


def main(avatar: Path, out: Path = Path("head.xyz"), jaw: float = 0.5) -> str:
    """Write an avatar's surface with its jaw open, in millimetres."""
    return likeness.export(
        avatar, to="xyz", out=out, expression=(f"jawOpen={jaw}",), options=("unit=0.001",)
    )


if __name__ == "__main__":
    print(tyro.cli(main))
