"""Splats in glTF: points with the attributes of KHR_gaussian_splatting."""

from dataclasses import dataclass
from pathlib import Path

import torch

from likeness.core.avatar import HasSplats, Splats
from likeness.core.errors import Unsupported
from likeness.core.files import write_bytes
from likeness.exporters.gltf_files import VERTICES, Document
from likeness.exporters.motion import Motion
from likeness.exporters.notes import Note
from likeness.exporters.splat_data import degree_of, posed

EXTENSION = "KHR_gaussian_splatting"
_DC = 0.28209479177387814


@dataclass(frozen=True)
class GltfSplats:
    """One moment as .glb; programs without the extension show coloured points."""

    needs = HasSplats
    suffix = ".glb"

    def export(self, avatar: HasSplats, path: Path, motion: Motion, note: Note) -> Path:
        if len(motion) > 1:
            raise Unsupported("Splats in glTF hold one moment. Use --to page for motion.")
        write_bytes(path, splat_glb(posed(avatar, motion[0]), note))
        return path


def splat_glb(splats: Splats, note: Note) -> bytes:
    document = Document(note)
    colour = torch.cat([0.5 + _DC * splats.harmonics[:, 0], splats.opacity[:, None]], -1)
    colour8 = (colour.clamp(0, 1) * 255).round().to(torch.uint8)

    def add(values: torch.Tensor, bounds: bool = False) -> int:
        return document.array(values.contiguous().numpy().astype("<f4"), VERTICES, bounds)

    turn = torch.nn.functional.normalize(splats.rotation, dim=-1)
    attributes = {
        "POSITION": add(splats.means, bounds=True),
        "COLOR_0": document.array(colour8.numpy(), VERTICES),
        f"{EXTENSION}:ROTATION": add(turn[:, [1, 2, 3, 0]]),
        f"{EXTENSION}:SCALE": add(splats.scale),
        f"{EXTENSION}:OPACITY": add(splats.opacity),
    }
    for name in ("COLOR_0",):
        document.json["accessors"][attributes[name]]["normalized"] = True
    row = 0
    for degree in range(degree_of(splats) + 1):
        for coefficient in range(2 * degree + 1):
            key = f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{coefficient}"
            attributes[key] = add(splats.harmonics[:, row])
            row += 1
    primitive = {
        "mode": 0,
        "attributes": attributes,
        "extensions": {
            EXTENSION: {
                "kernel": "ellipse",
                "colorSpace": "srgb_rec709_display",
                "sortingMethod": "cameraDistance",
                "projection": "perspective",
            }
        },
    }
    document.json["extensionsUsed"] = [EXTENSION]
    mesh = document.add("meshes", {"name": "splats", "primitives": [primitive]})
    node = document.add("nodes", {"name": note.subject or "splats", "mesh": mesh})
    document.json["scene"] = document.add("scenes", {"nodes": [node]})
    return document.glb()
