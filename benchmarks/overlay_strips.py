"""Track two synthetic people and draw what was found over them, to docs/images/track.png.

python benchmarks/overlay_strips.py [--out docs/images/track.png] [--first 1] [--frames 60]
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import tyro

from likeness.captures.in_memory import InMemory
from likeness.captures.synthetic import film
from likeness.core.geometry import matrix_to_axis_angle
from likeness.core.media import save_png
from likeness.core.track import Track
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers import TRACKERS
from likeness.verbs.overlay import Lens


def main(
    out: Path = Path("docs/images/track.png"),
    first: int = 1,
    frames: int = 60,
    size: int = 256,
    using: str = "landmarks",
) -> None:
    """A row of frames a person: mesh, axes and landmarks; then regions and the matte's outline."""
    rows = []
    for seed in (first, first + 1):
        capture, _ = film(seed, frames, size)
        plain = InMemory([frame.rgb8 for frame in capture])
        capture = replace(capture, pictures=plain, track=None, background=None)
        with tempfile.TemporaryDirectory() as folder:
            found = TRACKERS.load(using)().track(capture, clay(), Path(folder))
            lens = Lens(capture, found, clay(), size)
            whole = [lens.panel(i, ["mesh", "axes", "landmarks"]) for i in moments(found)]
            parts = [lens.panel(i, ["regions", "matte"]) for i in moments(found)[:2]]
        rows.append(np.concatenate([*whole, *parts], 1))
    save_png(out, np.concatenate(rows))


def moments(track: Track) -> tuple[int, int, int]:
    """The frames that face the camera most, are turned most, and speak widest."""
    pose = track.cameras.camera_from_world @ track.expressions.world_from_head
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    yaw = matrix_to_axis_angle(flip @ pose[:, :3, :3])[:, 1].abs()
    jaw = track.expressions.coefficients[:, ARKIT.index("jawOpen")]
    return int((yaw + jaw).argmin()), int(yaw.argmax()), int((jaw - 0.3 * yaw).argmax())


if __name__ == "__main__":
    tyro.cli(main)
