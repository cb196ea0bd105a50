"""How much memory and time learning a splat head takes for a clip of some length.

    python benchmarks/fit_memory.py --capture CAPTURE --track TRACK --frames 10000

A short tracked clip, played again and again until it is long: every frame is decoded and kept as
one of its own. One process a length, because peaks do not come down.
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import tyro

from likeness.core.batching import take
from likeness.core.capture import last_fifth
from likeness.methods.splats.method import RiggedSplats
from likeness.training.frames import Kept, parse_size
from likeness.training.loop import Plan, train
from likeness.verbs.loading import open_pair


class Again:
    """Pictures of a clip that begins anew when it ends."""

    def __init__(self, source: Any, count: int) -> None:
        self.source, self.count = source, count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.source, name)
        return lambda index: found(index % self.count)


def peak() -> float:
    """Of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(
    capture: Path, track: Path, frames: int = 10_000, steps: int = 300, limit: str = "1G"
) -> None:
    """Print frames, the peak before training and after, and milliseconds a step."""
    film, motion = open_pair(capture, track)
    own = len(film)
    again = torch.arange(frames) % own
    times = tuple(k / 25 for k in range(frames))
    long = replace(film, times=times, names=(), pictures=Again(film.pictures, own))
    long = replace(long, splits=last_fifth(frames))
    bytes_ = parse_size(limit)
    long = replace(long, pictures=Kept(long.pictures, bytes_ // 2))
    moved = take(motion, again)
    if motion.maps is not None:
        moved = replace(moved, maps=Kept(Again(motion.maps, own), bytes_ // 2))  # type: ignore[arg-type]
    before, method = peak(), RiggedSplats(steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        train(method, "splats", long, moved, Path(folder) / "avatar", Plan(live_every=0))
        spent = time.perf_counter() - began
    print(f"| {frames} | {before:.0f} | {peak():.0f} | {1e3 * spent / steps:.0f} with the start |")


if __name__ == "__main__":
    tyro.cli(main)
