"""`.splat`: 32 bytes a splat, colour without direction, the largest first."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from likeness.core.avatar import HasSplats, Splats
from likeness.core.errors import Unsupported
from likeness.core.files import write_bytes
from likeness.exporters.motion import Motion
from likeness.exporters.notes import Note, write_beside
from likeness.exporters.splat_data import posed, turned_over

_LAYOUT = np.dtype([("means", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("turn", "u1", 4)])
_DC = 0.28209479177387814


@dataclass(frozen=True)
class SplatRecords:
    """One moment as .splat, in the axes of 3DGS; its note goes into a file beside it."""

    needs = HasSplats
    suffix = ".splat"

    def export(self, avatar: HasSplats, path: Path, motion: Motion, note: Note) -> Path:
        if len(motion) > 1:
            raise Unsupported(".splat holds one moment. Use --to ply for a sequence.")
        write_bytes(path, splat_bytes(posed(avatar, motion[0])))
        write_beside(path, note)
        return path


def splat_bytes(splats: Splats) -> bytes:
    splats = turned_over(splats)
    weight = splats.scale.prod(-1) * splats.opacity
    order = torch.argsort(weight, descending=True)
    rows = np.zeros(len(order), _LAYOUT)
    colour = 0.5 + _DC * splats.harmonics[:, 0]
    rgba = torch.cat([colour, splats.opacity[:, None]], -1).clamp(0, 1)
    rows["means"] = splats.means[order].numpy()
    rows["scale"] = splats.scale[order].numpy()
    rows["rgba"] = (rgba[order] * 255 + 0.5).to(torch.uint8).numpy()
    turn = torch.nn.functional.normalize(splats.rotation[order], dim=-1)
    rows["turn"] = (turn * 128 + 128).round().clamp(0, 255).to(torch.uint8).numpy()
    return rows.tobytes()
