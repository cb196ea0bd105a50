"""Trackers against synthetic people, whose truth is known.

    python benchmarks/trackers.py --using landmarks --subjects 2 --frames 60

The focal length is given. Head errors compare `camera_from_head`; "offset away" takes each clip's
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

import numpy as np
import torch
from torch import Tensor

from likeness.captures.synthetic import film
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


class Drawn:
    """Pictures drawn beforehand, without mattes, so that the tracker alone is timed."""

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures

    def rgb(self, index: int) -> np.ndarray:
        return self.pictures[index]

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--using", default="landmarks")
    parser.add_argument("--subjects", type=int, default=2)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=256)
    asked = parser.parse_args()
    rig = clay()
    for seed in range(asked.subjects):
        capture, truth = film(seed, asked.frames, asked.size, 25.0, 0)
        capture = replace(capture, pictures=Drawn([frame.rgb8 for frame in capture]))
        focal = float(truth.cameras.intrinsics[0, 0, 0])
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            found = TRACKERS.load(asked.using)(focal=focal).track(capture, rig, Path(folder))
            spent = time.perf_counter() - start
        row = {"frames/s": asked.frames / spent, **compare(found, truth, tuple(rig.shape_names))}
        if seed == 0:
            print("| seed |", " | ".join(row), "|", flush=True)
            print("|---" * (len(row) + 1) + "|", flush=True)
        print(f"| {seed} |", " | ".join(f"{v:.3g}" for v in row.values()), "|", flush=True)


if __name__ == "__main__":
    main()
