"""People who do not exist, with the truth behind every frame: draw one and measure something."""

from pathlib import Path

import numpy as np
import torch
import tyro

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.media import save_png
from likeness.core.rig import embed
from likeness.rigs.clay import clay


def main(
    out: Path = Path("people"), people: int = 3, frames: int = 75, size: int = 256
) -> list[float]:
    """A row of pictures in `out`/row.png, and how well each mouth can be heard."""
    row, heard = [], []
    for seed in range(people):
        capture, truth = film(seed, frames=frames, size=size)  # nothing is drawn yet
        jaw = truth.expressions.coefficients[:, clay().shape_names.index("jawOpen")]
        widest = int(jaw.argmax())
        row.append(capture[widest].rgb8)  # drawn now
        heard.append(correlation(jaw, loudness(capture.sound.samples, frames)))

        # The truth is a track: cameras, expressions and identity say where everything is.
        head = clay().pose(truth.identity, take(truth.expressions, widest))
        points = embed(head, clay().landmarks("classic68"))
        nose = project(take(truth.cameras, widest), points)[30]
        print(f"person {seed}: nose at {nose.tolist()}, jaw against loudness {heard[-1]:.2f}")
    save_png(out / "row.png", np.concatenate(row, 1))
    return heard


def loudness(samples: torch.Tensor, frames: int) -> torch.Tensor:
    """How loud each frame is."""
    return samples[: len(samples) // frames * frames].reshape(frames, -1).square().mean(-1).sqrt()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


if __name__ == "__main__":
    tyro.cli(main)
