"""PLY with the fields of 3D Gaussian Splatting: what most splat viewers open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from likeness.core.avatar import HasSplats, Splats
from likeness.core.errors import BadInput
from likeness.core.files import write_bytes
from likeness.exporters.motion import Motion
from likeness.exporters.notes import KEY, Note
from likeness.exporters.ply_files import Element, ply_bytes, read_ply
from likeness.exporters.splat_data import degree_of, finite, posed, turned_over

_LEAST_SCALE = 1e-9
Axes = Literal["3dgs", "world"]


@dataclass(frozen=True)
class SplatPly:
    """Splats as PLY; a motion becomes a folder of numbered files."""

    axes: Axes = "3dgs"
    """3dgs: y down, z away, as splat viewers expect. world: y up, z towards the viewer."""

    needs = HasSplats
    suffix = ".ply"

    def export(self, avatar: HasSplats, path: Path, motion: Motion, note: Note) -> Path:
        if len(motion) == 1:
            write_splat_ply(path, posed(avatar, motion[0]), note, self.axes)
            return path
        folder = path.with_suffix("")
        for index in range(len(motion)):
            one = folder / f"{index:06d}.ply"
            write_splat_ply(one, posed(avatar, motion[index]), note, self.axes)
        return folder


def write_splat_ply(
    path: str | Path, splats: Splats, note: Note | None = None, axes: Axes = "3dgs"
) -> None:
    """Binary little-endian: log scales, logit opacities, wxyz rotations, channel-major f_rest."""
    splats = finite(splats)
    degree_of(splats)
    if axes == "3dgs":
        splats = turned_over(splats)
    count, rest = len(splats.means), splats.harmonics.shape[1] - 1
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3))]
    names += [f"f_rest_{i}" for i in range(3 * rest)]
    names += ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    table = torch.cat(
        [
            splats.means,
            torch.zeros(count, 3),
            splats.harmonics[:, 0],
            splats.harmonics[:, 1:].permute(0, 2, 1).reshape(count, -1),
            torch.logit(splats.opacity.clamp(1e-6, 1 - 1e-6))[:, None],
            splats.scale.clamp(min=_LEAST_SCALE).log(),
            torch.nn.functional.normalize(splats.rotation, dim=-1),
        ],
        -1,
    )
    columns = {name: table[:, i].numpy() for i, name in enumerate(names)}
    comments = [f"axes {axes}"] + ([f"{KEY} {note.line()}"] if note else [])
    write_bytes(path, ply_bytes([Element("vertex", columns)], comments))


def read_splat_ply(path: str | Path, axes: Axes | None = None) -> Splats:
    """Splats of any 3DGS PLY: ASCII or binary of either end, more fields or fewer harmonics.

    `axes` are those of the file; its own comment decides when not given, else "3dgs". Colours
    without harmonics (`red`, `green`, `blue`) are taken as bytes.
    """
    elements, comments = read_ply(path)
    vertex = next((e.columns for e in elements if e.name == "vertex"), None)
    if vertex is None or not len(next(iter(vertex.values()), ())):
        raise BadInput(f"{path} holds no vertices, so no splats.")
    wanted = [*"xyz", "opacity", "scale_0", "scale_1", "scale_2", *(f"rot_{i}" for i in range(4))]
    if lacking := [name for name in wanted if name not in vertex]:
        raise BadInput(
            f"{path} is a PLY without {', '.join(lacking)}: points or a mesh, not splats."
        )
    if axes is None:
        axes = "world" if "axes world" in comments else "3dgs"

    def taken(*names: str) -> torch.Tensor:
        stacked = np.stack([np.asarray(vertex[name], np.float32) for name in names], -1)
        return torch.from_numpy(stacked)

    splats = Splats(
        taken("x", "y", "z"),
        torch.nn.functional.normalize(taken(*(f"rot_{i}" for i in range(4))), dim=-1),
        taken("scale_0", "scale_1", "scale_2").exp(),
        torch.sigmoid(taken("opacity")[:, 0]),
        _harmonics(path, vertex, taken),
    )
    splats = finite(splats)
    return turned_over(splats) if axes == "3dgs" else splats


def _harmonics(path: str | Path, vertex: dict, taken) -> torch.Tensor:
    if all(f"f_dc_{i}" in vertex for i in range(3)):
        first = taken("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    elif all(name in vertex for name in ("red", "green", "blue")):
        return ((taken("red", "green", "blue") / 255 - 0.5) / 0.28209479177387814)[:, None]
    else:
        raise BadInput(f"{path} has neither f_dc_0..2 nor red, green, blue: splats need a colour.")
    count = sum(name.startswith("f_rest_") for name in vertex)
    if count not in (0, 9, 24, 45) or any(f"f_rest_{i}" not in vertex for i in range(count)):
        raise BadInput(f"{path} has {count} f_rest fields; 0, 9, 24 or 45 make whole harmonics.")
    if count == 0:
        return first
    rest = taken(*(f"f_rest_{i}" for i in range(count)))
    return torch.cat([first, rest.view(len(rest), 3, -1).permute(0, 2, 1)], 1)
