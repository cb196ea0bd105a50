"""Draw three synthetic people at different moments, to docs/images/synth.png.

Run: python benchmarks/synth_sheet.py [--out docs/images/synth.png] [--size 256]
"""

from pathlib import Path

import numpy as np
import tyro

from likeness.captures.synthetic import film
from likeness.core.media import save_png


def main(out: Path = Path("docs/images/synth.png"), size: int = 256) -> None:
    """Draw the sheet."""
    rows = []
    for seed in (1, 2, 3):
        capture, _ = film(seed, frames=60, size=size)
        rows.append(np.concatenate([capture[i].rgb8 for i in (0, 20, 35, 50)], 1))
    save_png(out, np.concatenate(rows))


if __name__ == "__main__":
    tyro.cli(main)
