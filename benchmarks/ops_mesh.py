"""How fast meshes are: visibility, weights, attributes, outlines, and gradients.

    python benchmarks/ops_mesh.py [--threads 2] [--repeats 15] [--device cuda]

Medians, each row in turn within one run, after a warm-up; a ball of the given number of triangles
that fills two thirds of the picture.
"""

import likeness  # before torch: says how threads wait

# isort: split
import argparse
import math
from collections.abc import Callable

import torch
from timing import interleaved, machine

from likeness.core.batching import move
from likeness.core.camera import pinhole
from likeness.core.rig import Mesh
from likeness.ops.mesh import interpolate, rasterise
from likeness.ops.mesh_edges import antialias, edges
from likeness.ops.shading import vertex_normals


def ball(count: int) -> Mesh:
    """About `count` triangles, 0.4 m in radius, 2 m before the camera."""
    rings = round(math.sqrt(count / 2))
    theta, phi = torch.linspace(0.01, math.pi - 0.01, rings + 1), torch.arange(rings) / rings
    t, p = torch.meshgrid(theta, phi * 2 * math.pi, indexing="ij")
    points = torch.stack([t.sin() * p.sin(), -t.cos(), t.sin() * p.cos()], -1).reshape(-1, 3)
    i, j = torch.meshgrid(torch.arange(rings), torch.arange(rings), indexing="ij")
    a, b = (i * rings + j).flatten(), (i * rings + (j + 1) % rings).flatten()
    c, d = a + rings, b + rings
    triangles = torch.cat([torch.stack([a, b, d], -1), torch.stack([a, d, c], -1)])
    return Mesh(points * 0.4 + torch.tensor([0.0, 0, 2]), triangles)


def rows(count: int, side: int, device: str) -> dict[str, Callable[[], object]]:
    mesh, camera = move((ball(count), pinhole(side * 1.6, side, side, torch.eye(4))), device)
    colours = torch.rand(len(mesh.vertices), 3).to(device)
    known = edges(mesh.triangles)
    seen = rasterise(camera, mesh.vertices, mesh.triangles)
    picture = interpolate(seen, colours)

    def step() -> None:
        vertices, paint = mesh.vertices.clone().requires_grad_(), colours.clone().requires_grad_()
        drawn = rasterise(camera, vertices, mesh.triangles)
        antialias(drawn, interpolate(drawn, paint), known).square().mean().backward()

    return {
        "rasterise": lambda: rasterise(camera, mesh.vertices, mesh.triangles),
        "interpolate, 3 channels": lambda: interpolate(seen, colours),
        "outlines": lambda: antialias(seen, picture, known),
        "vertex normals": lambda: vertex_normals(mesh.vertices, mesh.triangles),
        "all of it, forward and backward": step,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"likeness {likeness.__version__}, {machine()}")
    print("| triangles | pixels | work | ms |\n| --- | --- | --- | --- |")
    for count, side in ((1_000, 512), (10_000, 512), (100_000, 512), (10_000, 1024)):
        for name, took in interleaved(rows(count, side, options.device), options.repeats).items():
            print(f"| {count} | {side}² | {name} | {took:.2f} |")


if __name__ == "__main__":
    main()
