"""How near a wrapped rig lies: to a surface given by a formula, and to a synthetic person's face.

    python benchmarks/wrap.py [AVATAR TRUTH --level 30]

AVATAR learned a volume (nerface, nerfblendshape) from a person that `likeness synth` filmed; TRUTH
is the folder `truth` beside that film. Both rigs get one alignment: that of the tracked one.
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import argparse
import time
from pathlib import Path

import torch
import trimesh
from torch import Tensor

from likeness.core.regions import REGION
from likeness.core.rig import Mesh
from likeness.core.track_files import read_track
from likeness.exporters.glb import resting
from likeness.exporters.motion import moment
from likeness.exporters.surface import skinned
from likeness.exporters.volumes import RESOLUTION, wrapped
from likeness.ops.surfaces import surface_at
from likeness.ops.wrap import wrap
from likeness.rigs.clay import clay
from likeness.verbs.loading import open_avatar
from likeness.verbs.moments import at_rest

MIDDLE, RADII = torch.tensor([0.0, -0.01, -0.075]), torch.tensor([0.095, 0.14, 0.12])
INSIDE = ("eyes", "irises", "mouth", "teeth", "tongue")


def told(name: str, metres: Tensor) -> None:
    steps = (1000 * metres.abs()).quantile(torch.tensor([0.5, 0.9, 0.95]))
    print(f"| {name} | " + " | ".join(f"{step:.2f}" for step in steps) + " |")


def egg() -> None:
    """The clay head onto an ellipsoid: a large change everywhere."""
    rig = clay()
    low, high = MIDDLE - 1.4 * RADII, MIDDLE + 1.4 * RADII
    axes = [torch.linspace(float(a), float(b), 120) for a, b in zip(low, high)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)

    def depth(points: Tensor) -> Tensor:  # metres, to first order
        away = (points - MIDDLE) / RADII
        return (1 - away.norm(dim=-1)) * away.norm(dim=-1) / (away / RADII).norm(dim=-1)

    still = torch.tensor([REGION[name] for name in INSIDE])
    reach = torch.where(torch.isin(rig.regions, still), 0.0, 0.1)
    began = time.perf_counter()
    laid = wrap(Mesh(rig.template, rig.triangles), surface_at(depth(grid), 0.0, low, high), reach)
    spent = time.perf_counter() - began
    told(f"clay onto an ellipsoid, before ({int(laid.drawn.sum())} vertices)",
         depth(rig.template)[laid.drawn])  # fmt: skip
    told(f"the same, wrapped in {spent:.1f} s", depth(laid.vertices)[laid.drawn])


def person(avatar: Path, truth: Path, level: float) -> None:
    rig, head = clay(), open_avatar(avatar)
    true = rig.shaped(read_track(truth).identity)
    surface = skinned(head)
    laid = wrapped(head, surface, resting(moment(at_rest(head))), level, RESOLUTION)
    same = true[surface.source]
    face = (surface.regions == REGION["skin"]) & (same[:, 2] > -0.03)
    x, y = surface.vertices[face], same[face]
    u, _, vt = torch.linalg.svd((x - x.mean(0)).T @ (y - y.mean(0)))
    turn = u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.det(u @ vt).sign())])) @ vt
    solid = trimesh.Trimesh(true.numpy(), rig.triangles.numpy(), process=False)
    for name, vertices in (("as tracked", surface.vertices), ("wrapped", laid.vertices)):
        placed = ((vertices[face] - x.mean(0)) @ turn + y.mean(0))[::3]
        away = trimesh.proximity.closest_point_naive(solid, placed.numpy())[1]
        told(f"to the true face, {name}", torch.from_numpy(away).float())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatar", type=Path, nargs="?")
    parser.add_argument("truth", type=Path, nargs="?")
    parser.add_argument("--level", type=float, default=30.0)
    asked = parser.parse_args()
    print("| distance, mm | median | 90 % | 95 % |\n|---|---:|---:|---:|")
    egg()
    if asked.avatar is not None:
        person(asked.avatar, asked.truth, asked.level)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
