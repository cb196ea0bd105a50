"""How fast fields are: hash grids, small networks, compositing, and a whole training step.

    python benchmarks/ops_fields.py [--threads 2] [--repeats 7] [--device cuda]

Every ratio is taken in one interleaved run: fast, plain, fast, plain, and the median of each.
"""

import likeness  # before torch: says how threads wait

# isort: split
import argparse
import platform
from collections.abc import Callable
from dataclasses import dataclass

import numba
import torch
from timing import interleaved, machine
from torch import Tensor

from likeness.core.batching import move
from likeness.nn.mlp import MLP
from likeness.ops.dense import _dense_layers, dense_layers
from likeness.ops.harmonics import spherical_harmonics
from likeness.ops.hash_grid import (
    HashLayout,
    _blended_hash_encode,
    _hash_encode,
    blended_hash_encode,
    hash_encode,
    mixed,
)
from likeness.ops.march import Stride, _march, march
from likeness.ops.twins import pick
from likeness.ops.volumes import _composite_packed, composite_packed

LAYOUT = HashLayout(levels=16, features=2, coarsest=16, finest=2048, log2_size=16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hash_grid(
    count: int, repeats: int, plain: bool = True, device: str = "cpu"
) -> dict[str, float]:
    points = torch.rand(count, 3, generator=seeded()).to(device)
    table = torch.randn(1, LAYOUT.entries, 2, generator=seeded(1)).to(device).requires_grad_()
    upstream = torch.randn(LAYOUT.width, count, generator=seeded(2)).to(device).mT

    def both(encode: Callable) -> None:
        table.grad = None
        encode(points, table, LAYOUT, None).backward(upstream)

    def forward() -> None:
        with torch.no_grad():
            hash_encode(points, table, LAYOUT)

    work = {"forward": forward, "forward + backward": lambda: both(hash_encode)}
    if plain:
        work["plain torch, forward + backward"] = lambda: both(_hash_encode)
    return interleaved(work, repeats)


@dataclass
class Step:
    """One step of a hash-grid NeRF on packed samples: fast, or from the definitions."""

    encode: Callable
    layers: Callable
    composite: Callable
    device: str = "cpu"

    def __post_init__(self) -> None:
        layout = LAYOUT
        start = 1e-4 * torch.randn(1, layout.entries, layout.features, generator=seeded(1))
        self.table = torch.nn.Parameter(start.to(self.device))
        shape = MLP([layout.width, 64, 64, 16], bias=False, generator=seeded(2))
        colour = MLP([32, 64, 3], bias=False, generator=seeded(3))
        self.shape, self.colour = shape.to(self.device), colour.to(self.device)
        parameters = [self.table, *self.shape.parameters(), *self.colour.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def __call__(self, points: Tensor, directions: Tensor, step: Tensor, offsets: Tensor) -> None:
        features = self.encode(points, self.table, LAYOUT, None)
        hidden = self.layers(features, [x.weight for x in self.shape.layers], None, 0.0)
        density = torch.nn.functional.softplus(hidden[:, 0])
        seen = torch.cat([hidden, directions], dim=-1)
        colour = self.layers(seen, [x.weight for x in self.colour.layers], None, 0.0).sigmoid()
        picture = self.composite(density, step, colour, offsets, None, 1e-4)
        loss = (picture.values - 0.5).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def training_step(
    rays: int, per_ray: int, repeats: int, plain: bool = True, device: str = "cpu"
) -> dict[str, float]:
    g = seeded()
    lengths = torch.randint(0, 2 * per_ray + 1, (rays,), generator=g)
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    count = int(offsets[-1])
    start = 0.6 * torch.rand(rays, 3, generator=g) + 0.2
    along = torch.nn.functional.normalize(torch.randn(rays, 3, generator=g), dim=-1)
    ray = torch.repeat_interleave(torch.arange(rays), lengths)
    t = 0.2 * torch.rand(count, generator=g)
    points = (start[ray] + t[:, None] * along[ray]).clamp(0, 1)
    directions = spherical_harmonics(along, 3)[ray]
    inputs = move((points, directions, torch.full((count,), 0.01), offsets), device)

    work = {"fast": Step(hash_encode, dense_layers, composite_packed, device)}
    if plain:
        work["plain torch"] = Step(_hash_encode, _dense_layers, _composite_packed, device)
    return interleaved({k: lambda s=s: s(*inputs) for k, s in work.items()}, repeats)


def marching(rays: int, repeats: int) -> dict[str, float]:
    g = seeded()
    origins = torch.tensor([0.5, 0.5, -1.5], dtype=torch.float64).expand(rays, 3)
    aim = torch.rand(rays, 3, generator=g, dtype=torch.float64)
    directions = torch.nn.functional.normalize(aim - origins, dim=-1)
    centre = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 129)] * 3, indexing="ij"))
    radius = centre.norm(dim=0)
    occupied = (radius < 0.7) & (radius > 0.55)  # the shell of a head
    box = torch.tensor([[0.0, 0, 0], [1, 1, 1]], dtype=torch.float64)
    near, far = torch.full((rays,), 1.4).double(), torch.full((rays,), 3.0).double()
    stride = Stride(0.008, 0.008)
    rest = (occupied, box, stride)
    return interleaved(
        {
            "fast": lambda: march(origins, directions, near, far, *rest),
            "plain torch": lambda: _march(origins, directions, near, far, *rest, None),
        },
        repeats,
    )


def blending(count: int, tables: int, repeats: int) -> dict[str, float]:
    layout = HashLayout(levels=16, features=4, coarsest=16, finest=1024, log2_size=14)
    basis = torch.randn(tables, layout.entries, 4, generator=seeded()).requires_grad_()
    blend = torch.rand(1, tables, generator=seeded(1)).requires_grad_()
    points = torch.rand(count, 3, generator=seeded(2))

    def both(encode: Callable) -> None:
        basis.grad = blend.grad = None
        encode().sum().backward()

    at_vertices = pick(_blended_hash_encode, "cpu")
    encoders = {
        "mixed first": lambda: hash_encode(points, mixed(basis, blend), layout),
        "chosen": lambda: blended_hash_encode(points, basis, blend, layout),
        "at each vertex": lambda: at_vertices(points, basis, blend, layout, None),
    }
    work = {name: lambda encode=encode: both(encode) for name, encode in encoders.items()}
    return interleaved(work, repeats)


def show(title: str, times: dict[str, float], per: int, unit: str) -> None:
    print(f"\n### {title}\n\n| | ms | {unit} per second |\n| --- | --- | --- |")
    for name, ms in times.items():
        print(f"| {name} | {ms:.1f} | {per / ms * 1e3:,.0f} |")
    plain = [ms for name, ms in times.items() if name.startswith("plain")]
    if plain:
        fast = list(times.values())[-2]
        print(f"\nRatio: {plain[0] / fast:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=["grid", "step", "march", "blend", "curve"])
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    device = chosen.device
    torch.set_num_threads(chosen.threads)
    repeats = chosen.repeats
    print(
        f"likeness {likeness.__version__}, {machine()}, numba {numba.__version__}, "
        f"Python {platform.python_version()}, median of {repeats}"
    )
    wanted = {chosen.only} if chosen.only else {"grid", "step", "march", "blend", "curve"}
    if "grid" in wanted:
        show(
            "Hash grid, 16 x 2, T = 2^16, 2^18 points",
            hash_grid(2**18, repeats, device=device),
            2**18,
            "points",
        )
    if "step" in wanted:
        times = training_step(4096, 16, repeats, device=device)
        show("NeRF training step, 4096 rays x 16 samples", times, 4096, "rays")
    if "march" in wanted and device == "cpu":
        show("Marching 4096 rays through a shell", marching(4096, repeats), 4096, "rays")
    if "blend" in wanted and device == "cpu":
        for count in (128, 512, 4096):
            times = blending(count, 47, max(3, repeats // 2))
            show(f"47 blended tables (16 x 4, 2^14), {count} points", times, count, "points")
    if "curve" in wanted:
        print("\n### Growth over a decade\n\n| rays | grid, us per point | step, us per ray |")
        print("| --- | --- | --- |")
        for rays in (1024, 2048, 4096, 8192, 10240):
            grid = hash_grid(16 * rays, repeats, False, device)["forward + backward"]
            step = training_step(rays, 16, repeats, False, device)["fast"]
            print(f"| {rays} | {grid * 1e3 / (16 * rays):.3f} | {step * 1e3 / rays:.1f} |")


if __name__ == "__main__":
    main()
