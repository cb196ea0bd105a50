"""What a busy neighbour costs: a training step alone, and beside processes that spin.

    python benchmarks/busy_neighbour.py [--neighbours 1]

Quiet and busy turns alternate. Run it on a machine with nothing else to do.
"""

import subprocess
import sys
import time
from statistics import median

import tyro
from ops_splats import step
from timing import machine


def main(neighbours: int = 1, rounds: int = 5, steps: int = 20) -> None:
    """Print the median step and its slowest tenth, quiet and beside `neighbours` that spin."""
    work = step(30_000, 256, 3.5, "cpu")
    for _ in range(5):
        work()
    found: dict[int, list[float]] = {0: [], neighbours: []}
    for _ in range(rounds):
        for count, times in found.items():
            spin = [sys.executable, "-c", "while True: pass"]
            others = [subprocess.Popen(spin) for _ in range(count)]
            time.sleep(0.5)
            for _ in range(steps):
                started = time.perf_counter()
                work()
                times.append(1e3 * (time.perf_counter() - started))
            for other in others:
                other.kill()
                other.wait()
    print(f"{machine()}\n\n| busy neighbours | median ms | slowest tenth |\n| ---: | ---: | ---: |")
    for count, times in found.items():
        print(f"| {count} | {median(times):.1f} | {sorted(times)[-len(times) // 10]:.1f} |")
    print(f"\nRatio of medians: {median(found[neighbours]) / median(found[0]):.2f}")


if __name__ == "__main__":
    tyro.cli(main)
