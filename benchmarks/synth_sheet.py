"""Draw three synthetic people, from the front, turned and speaking, to docs/images/synth.png.

Run: python benchmarks/synth_sheet.py [--out docs/images/synth.png] [--size 288] [--first 1]
"""

from pathlib import Path

import numpy as np
import tyro

from likeness.captures.synthetic import film
from likeness.core.geometry import matrix_to_axis_angle
from likeness.core.media import save_png
from likeness.core.track import Track
from likeness.rigs.clay.shapes import ARKIT


def main(out: Path = Path("docs/images/synth.png"), size: int = 288, first: int = 1) -> None:
    """Draw the sheet: a person a row."""
    rows = []
    for seed in range(first, first + 3):
        capture, truth = film(seed, frames=150, size=size)
        rows.append(np.concatenate([capture[i].rgb8 for i in _moments(truth)], 1))
    save_png(out, np.concatenate(rows))


def _moments(truth: Track) -> tuple[int, int, int]:
    """The frames that face the camera most, that are turned most, and that speak widest."""
    expressions = truth.expressions
    yaw = matrix_to_axis_angle(expressions.world_from_head[:, :3, :3])[:, 1].abs()
    values = expressions.coefficients
    shut, jaw = (values[:, ARKIT.index(name)] for name in ("eyeBlinkLeft", "jawOpen"))
    return (
        int((yaw + shut + jaw).argmin()),
        int((yaw - shut).argmax()),
        int((jaw - shut - 0.5 * yaw).argmax()),
    )


if __name__ == "__main__":
    tyro.cli(main)
