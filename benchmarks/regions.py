"""Regions drawn from landmarks, matte and colour, against the truth of synthetic people.

    python benchmarks/regions.py --first 0 --subjects 6 --frames 20

Prints the share of intersection in union per part and person, and milliseconds a picture. Mattes
are the true ones, points those that MediaPipe finds.
"""

import argparse
import time
from collections import Counter

import cv2
import numpy as np

from likeness.captures.synthetic import film
from likeness.core.regions import REGION
from likeness.trackers.mesh_points import FaceMesh
from likeness.trackers.regions import draw_regions

NAMES = (
    "skin", "hair", "ears", "neck", "clothes", "brows", "eyes", "irises", "lips", "mouth", "teeth",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows, took = [], []
    print("| seed |", " | ".join(NAMES), "|")
    print("|---" * (len(NAMES) + 1) + "|")
    for seed in range(options.first, options.first + options.subjects):
        both, either = Counter(), Counter()
        pictures = film(seed, options.frames, options.size)[0].pictures
        with FaceMesh() as mesh:
            for index in range(options.frames):
                picture, alpha = pictures.rgb(index), pictures.alpha(index)
                found, truth = mesh.find(picture), pictures.regions(index)
                if not found or alpha is None:
                    continue
                for _ in range(3):
                    began = time.perf_counter()
                    regions = draw_regions(picture, alpha, found[0].points)
                    took.append(time.perf_counter() - began)
                for name in NAMES:
                    a, b = regions == REGION[name], truth == REGION[name]
                    both[name] += int((a & b).sum())
                    either[name] += int((a | b).sum())
        rows.append([both[name] / max(1, either[name]) for name in NAMES])
        print(f"| {seed} |", " | ".join(f"{value:.3f}" for value in rows[-1]), "|", flush=True)
    print("| mean |", " | ".join(f"{value:.3f}" for value in np.mean(rows, 0)), "|")
    print(f"{1e3 * np.median(took):.1f} ms a picture, {1e3 * min(took):.1f} at the least")


if __name__ == "__main__":
    main()
