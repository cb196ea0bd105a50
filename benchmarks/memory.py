"""How much memory the tracker takes for a clip of some length.

    python benchmarks/memory.py --frames 500        # one process a length: peaks do not come down

One synthetic face that moves a little in every frame; landmarks are given, so that a long clip is
done in minutes. Pictures are made when asked for, as a video's are.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

from likeness.captures.synthetic import film
from likeness.core.capture import Capture
from likeness.rigs.clay import clay
from likeness.trackers.landmarks import Landmarks
from likeness.trackers.mesh_points import FaceMesh


class Moving:
    """One picture, shifted."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture

    def rgb(self, index: int) -> np.ndarray:
        return np.roll(self.picture, shift(index), (1, 0))

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


def shift(index: int) -> tuple[int, int]:
    """Right and down, pixels."""
    return round(6 * np.sin(index / 9)), round(3 * np.sin(index / 13))


def peak() -> float:
    """Of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(frames: int = 500, size: int = 128, seed: int = 0) -> None:
    """Print the peak before and after."""
    picture = film(seed, 1, 256)[0][0].rgb8
    step = 256 // size
    with FaceMesh() as mesh:
        points = mesh.find(picture)[0].points / step
    small = picture.reshape(size, step, size, step, 3).mean((1, 3)).astype(np.uint8)
    moves = np.array([shift(i) for i in range(frames)], np.float32)
    noise = np.random.default_rng(0).normal(0, 0.05, (frames, *points.shape)).astype(np.float32)
    own = points[None] + noise
    own[..., :2] += moves[:, None]
    times = tuple(i / 25 for i in range(frames))
    capture = Capture("long", Moving(small), times, (size, size), fps=25.0)
    before, began = peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.npz"
        np.savez(path, points=own)
        del own, noise
        Landmarks(points=path).track(capture, clay(), Path(folder) / "track")
    spent = time.perf_counter() - began
    print(f"| {frames} | {before:.0f} | {peak():.0f} | {spent:.0f} |")


if __name__ == "__main__":
    tyro.cli(main)
