"""How long the first use of the kernels takes on a machine, and the next process: empty cache, full
cache.

    python benchmarks/cold_start.py

Each row is a process of its own, from its start to the end of its first piece of work: one training
step of 2000 splats, or of a small field; imports included.
"""

import os
import subprocess
import sys
import tempfile
import time

SPLATS = """
from likeness.core.camera import pinhole
from likeness.ops.image import l1_dssim
from likeness.ops.splats import project_splats, rasterise_splats
from likeness.training.adam import Adam
import torch
g = torch.Generator().manual_seed(0)
means = 0.1 * torch.randn(2000, 3, generator=g) + torch.tensor([0.0, 0, 1])
parts = [means, torch.randn(2000, 4, generator=g), torch.full((2000, 3), 0.01),
         torch.rand(2000, 3, generator=g), torch.rand(2000, generator=g)]
parts = [x.requires_grad_() for x in parts]
adam = Adam(parts, lr=1e-3)
on_screen = project_splats(*parts[:3], pinhole(200.0, 128, 128, torch.eye(4)))
picture, _ = rasterise_splats(on_screen, *parts[3:], 128, 128)
l1_dssim(picture, torch.zeros(128, 128, 3)).backward()
adam.step()
"""
FIELD = """
from likeness.ops.dense import dense_layers
from likeness.ops.hash_grid import HashLayout, hash_encode
from likeness.ops.volumes import composite_packed
import torch
layout = HashLayout(8, 2, 16, 128, 12)
table = torch.randn(1, layout.entries, 2).requires_grad_()
weights = [torch.randn(32, 16).requires_grad_(), torch.randn(4, 32).requires_grad_()]
out = dense_layers(hash_encode(torch.rand(4096, 3), table, layout), weights)
offsets = torch.arange(0, 4097, 16)
steps = torch.full((4096,), 0.01)
found = composite_packed(out[:, 0].exp(), steps, out[:, 1:], offsets, None, 1e-4)
found.values.sum().backward()
"""
HEAD = """
from likeness.captures.synthetic import film
from likeness.methods.splats.method import RiggedSplats
import torch
capture, truth = film(0, 8, 64)
method = RiggedSplats(splats=500, steps=5)
avatar = method.build(capture, truth)
adam = method.optimizer(avatar)
views = method.batches(capture, truth, torch.Generator().manual_seed(0))
for step in range(5):
    adam.zero_grad(set_to_none=True)
    sum(method.losses(avatar, next(views), step).values()).backward()
    adam.step()
"""


def seconds(code: str, cache: str) -> float:
    started = time.perf_counter()
    env = {**os.environ, "NUMBA_CACHE_DIR": cache}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    bare = seconds("import likeness, torch, numba", tempfile.mkdtemp())
    print(f"Python, torch and numba alone: {bare:.1f} s\n\n| work | empty cache | full cache |")
    print("| --- | ---: | ---: |")
    for name, code in {"splats": SPLATS, "field": FIELD, "splat head": HEAD}.items():
        with tempfile.TemporaryDirectory() as cache:
            cold = seconds(code, cache)
            warm = min(seconds(code, cache) for _ in range(3))
        print(f"| {name} | {cold:.1f} s | {warm:.1f} s |", flush=True)


if __name__ == "__main__":
    main()
