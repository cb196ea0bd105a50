"""How long the built-in head takes to make: each figure from processes of their own.

    taskset -c 0 env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/clay_build.py

Nothing of the head is kept on disk between processes: a fresh install takes as long. `import`
is our modules and scipy, after torch; `build` is the first call of `clay()`.
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import subprocess
import sys

_CODE = """
import time
start = time.perf_counter()
import torch
torch_there = time.perf_counter()
from likeness.rigs.clay import clay
imported = time.perf_counter()
clay()
built = time.perf_counter()
print(torch_there - start, imported - torch_there, built - imported)
"""


def main(rounds: int = 5) -> None:
    rows = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, check=True)
        rows.append([float(word) for word in done.stdout.split()])
    print("| seconds | median | slowest |\n| --- | --- | --- |")
    for name, column in zip(("torch", "import", "build"), zip(*rows), strict=True):
        print(f"| {name} | {sorted(column)[rounds // 2]:.2f} | {max(column):.2f} |")


if __name__ == "__main__":
    main()
