"""Time and size of every export: 30,000 splats on clay, and a motion of 60 s.

python benchmarks/export.py [--splats 30000] [--seconds 60] [--only json csv]
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from likeness.core.camera import pinhole
from likeness.core.errors import Missing
from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.exporters import EXPORTERS
from likeness.exporters.motion import Motion, moment
from likeness.exporters.notes import Note
from likeness.methods.splats.avatar import SplatAvatar
from likeness.methods.splats.code import RestPose, features, learn_code
from likeness.methods.splats.surface import bake
from likeness.rigs.clay import clay

FPS = 25.0
LONG = (
    "glb",
    "usd",
    "json",
    "csv",
    "npz",
    "bvh",
    "page",
)  # what takes a whole motion into one file


def moving(frames: int) -> Motion:
    """A head that wags and makes faces."""
    t = torch.arange(frames) / FPS
    still = clay().neutral(frames)
    waves = torch.sin(t[:, None] * torch.linspace(0.5, 4, 52)).clamp(min=0) * 0.6
    turn = torch.stack([0.1 * torch.sin(t), 0.3 * torch.sin(0.7 * t), 0 * t], -1)
    head = rigid(axis_angle_to_matrix(turn), torch.zeros(frames, 3))
    torso = torch.eye(4).repeat(frames, 1, 1)
    what = replace(still, coefficients=waves, world_from_head=head, world_from_torso=torso)
    return Motion(what, FPS)


def head_of(splats: int, motion: Motion) -> SplatAvatar:
    """Splats strewn over clay with noise in every table, so that nothing compresses too well."""
    g = torch.Generator().manual_seed(0)
    rig = clay()
    surface = bake(rig, rig.rest())
    rest = RestPose(torch.eye(4), torch.eye(4))
    seen = features(motion.expressions, rest, 0, 0)
    faces = torch.randint(len(surface.triangles), (splats,), generator=g)
    weights = torch.rand(splats, 3, generator=g)
    avatar = SplatAvatar(
        surface,
        learn_code(seen, 16),
        rest,
        surface.triangles[faces],
        weights / weights.sum(-1, keepdim=True),
        torch.rand(splats, 2, generator=g),
        surface.regions[surface.triangles[faces, 0]],
        seen,
        64,
        torch.full((8, 8, 3), 0.5),
        pinhole(10.0, 8, 8, torch.eye(4)),
    )
    with torch.no_grad():
        sizes = {"offset": 1e-3, "rotation": 1.0, "log_scale": 0.4, "opacity": 1.5, "colour": 0.2}
        for name, size in {**sizes, "motion_atlas": 1e-3, "shade_atlas": 0.03}.items():
            value = getattr(avatar, name)
            value += size * torch.randn(value.shape, generator=g)
        avatar.log_scale -= 6
    return avatar.eval()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--splats", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", nargs="*", help="formats; all unless given")
    asked = parser.parse_args()
    motion = moving(round(asked.seconds * FPS))
    avatar = head_of(asked.splats, motion)
    avatar.splats(motion[0])  # kernels compile once, outside the clock
    one, note = moment(motion[0]), Note("clay", "synthetic")
    print("| export | of | seconds | of CPU | MB |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only or EXPORTERS:
            kind = EXPORTERS.load(name)
            for what, told in ((one, "one moment"), (motion, f"{asked.seconds:g} s")):
                if (told == "one moment") == (name in LONG):
                    continue
                path = Path(folder) / f"{name}{kind.suffix}"
                began, worked = time.perf_counter(), time.process_time()
                try:
                    kind().export(avatar, path, what, note)
                except Missing:
                    print(f"| {name} | {told} | its library is not installed | | |")
                    continue
                spent, busy = time.perf_counter() - began, time.process_time() - worked
                size = path.stat().st_size / 1e6
                print(f"| {name} | {told} | {spent:.2f} | {busy:.2f} | {size:.2f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\nPeak memory of the whole script: {peak:.2f} GB")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
