"""Trackers against synthetic people, whose truth is known.

    python benchmarks/trackers.py --using landmarks photometric --seeds 0 1 2 3 4 --frames 60
    python benchmarks/trackers.py --using landmarks --unknown-focal --turns 25

Each person is drawn once and tracked by all that are named; `photometric+habits` is a name too. The
focal length is given, unless asked for otherwise; `--turns` makes heads turn so many degrees to
both sides. Head errors compare `camera_from_head`; "offset away" takes each clip's
mean difference from it, because what counts as a head's zero pose depends on its identity. Jitter
is the second difference of the rotation error, so that true motion does not count.
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.captures.in_memory import InMemory
from likeness.captures.synthetic import film
from likeness.captures.synthetic.film import Film, expressions_of
from likeness.captures.synthetic.motion import perform
from likeness.captures.synthetic.subject import draw_subject
from likeness.core.capture import Capture
from likeness.core.geometry import matrix_to_axis_angle
from likeness.core.track import Track
from likeness.rigs.clay import clay
from likeness.trackers import TRACKERS

CURVES = {
    "jawOpen": ("jawOpen",),
    "blinks": ("eyeBlinkLeft", "eyeBlinkRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "gaze": ("eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeLookDownLeft"),
}


def in_camera(track: Track) -> Tensor:
    return track.cameras.camera_from_world @ track.expressions.world_from_head


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's; NaN where the truth does not move."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm())) if a.norm() > 1e-3 else float("nan")


def compare(found: Track, truth: Track, names: tuple[str, ...]) -> dict[str, float]:
    ours, theirs = in_camera(found), in_camera(truth)
    error = matrix_to_axis_angle(ours[:, :3, :3] @ theirs[:, :3, :3].mT).rad2deg()
    mean = error.mean(0)
    apart = error - mean
    bend = apart[1:-1] - 0.5 * (apart[:-2] + apart[2:])
    shift = ours[:, :3, 3] - theirs[:, :3, 3]
    row = {
        "frames %": 100 * float((found.confidence > 0).float().mean()),
        "rotation": float(error.norm(dim=-1).median()),
        "pitch offset": float(mean[0]),
        "offset away": float(apart.norm(dim=-1).median()),
        "jitter": float(bend.norm(dim=-1).median()),
        "across mm": 1000 * float(shift[:, :2].norm(dim=-1).median()),
        "depth %": 100 * float((shift[:, 2] / theirs[:, 2, 3]).abs().median()),
    }
    for label, members in CURVES.items():
        rows = [names.index(name) for name in members]
        values = torch.tensor(
            [
                correlation(
                    truth.expressions.coefficients[:, i], found.expressions.coefficients[:, i]
                )
                for i in rows
            ]
        )
        row[label] = float(values.nanmean())
    return row


def turned(seed: int, frames: int, size: int, degrees: float) -> tuple[Capture, Track]:
    """A film of somebody who turns so far to both sides, slowly."""
    capture, truth = film(seed, frames, size, 25.0, 0)
    motion = perform(frames, 25.0, np.random.default_rng([seed, 2]))
    head = motion.head.copy()
    head[:, 1] = np.radians(degrees) * np.sin(2 * np.pi * np.arange(frames) / frames)
    expressions = expressions_of(replace(motion, head=head))
    pictures = Film(draw_subject(seed), truth.cameras, expressions)
    return replace(capture, pictures=pictures), replace(truth, expressions=expressions)


def settings(name: str, focal: float | None) -> Any:
    """A tracker by its name and, after a plus, a switch that is off by default."""
    kind, _, switch = name.partition("+")
    return TRACKERS.load(kind)(focal=focal, **({switch: True} if switch else {}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--using", nargs="+", default=["landmarks"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--turns", type=float)
    parser.add_argument("--unknown-focal", action="store_true")
    asked = parser.parse_args()
    rig, head = clay(), False
    for seed in asked.seeds:
        if asked.turns is None:
            capture, truth = film(seed, asked.frames, asked.size, 25.0, 0)
        else:
            capture, truth = turned(seed, asked.frames, asked.size, asked.turns)
        drawn = InMemory([frame.rgb8 for frame in capture])
        capture = replace(capture, pictures=drawn, focal=None)
        true = float(truth.cameras.intrinsics[0, 0, 0])
        for name in asked.using:
            with tempfile.TemporaryDirectory() as folder:
                start = time.process_time()
                found = settings(name, None if asked.unknown_focal else true).track(
                    capture, rig, Path(folder)
                )
                spent = time.process_time() - start
            row = {"ms a frame": 1000 * spent / asked.frames}
            row["focal %"] = 100 * (float(found.cameras.intrinsics[0, 0, 0]) / true - 1)
            row |= compare(found, truth, tuple(rig.shape_names))
            if not head:
                print("| seed |", " | ".join(["tracker", *row]), "|", flush=True)
                print("|---" * (len(row) + 2) + "|", flush=True)
                head = True
            figures = " | ".join(f"{v:.3g}" for v in row.values())
            print(f"| {seed} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
