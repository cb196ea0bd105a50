"""Time the splat kernels: python benchmarks/ops_splats.py [--repeats 15] [--busy]

Figures are medians on this machine with torch's number of threads; ratios are against the
plain-torch definition in the same run, at a size the definition can hold. On a machine that others
use too, --busy takes the processor time of one thread instead, which waiting does not lengthen.
"""

import time
from collections.abc import Callable

import torch
import tyro

from likeness.core.camera import Camera, pinhole
from likeness.core.geometry import look_at
from likeness.ops.image import l1_dssim
from likeness.ops.splats import Projected, _rasterise_splats, project_splats, rasterise_splats
from likeness.training.adam import Adam


def scene(count: int, size: int, radius: float) -> tuple[list[torch.Tensor], Camera]:
    """Splats on a head-sized shell whose mean three-sigma radius is about `radius` pixels."""
    g = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=-1)
    means = means * torch.tensor([0.08, 0.11, 0.09])
    spread = torch.exp(0.4 * torch.randn(count, 3, generator=g))
    scale = radius / 3 / (1.5 * size / 0.45) * spread
    rotation = torch.randn(count, 4, generator=g)
    colour, opacity = torch.rand(count, 3, generator=g), torch.rand(count, generator=g)
    eye = torch.tensor([0.0, 0.0, 0.45])
    pose = look_at(eye, torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    return [means, rotation, scale, colour, opacity], pinhole(1.5 * size, size, size, pose)


def median(work: Callable[[], object], repeats: int) -> float:
    """Milliseconds; of processor time when torch has one thread."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    work()
    times = []
    for _ in range(repeats):
        started = clock()
        work()
        times.append(clock() - started)
    return 1e3 * sorted(times)[len(times) // 2]


def raster(count: int, size: int, radius: float, repeats: int) -> tuple[float, float]:
    """Forward alone, and forward with backward, of rasterising."""
    (means, rotation, scale, colour, opacity), camera = scene(count, size, radius)
    projected = project_splats(means, rotation, scale, camera)
    inputs = [x.detach().requires_grad_() for x in (projected.xy, projected.conic, colour, opacity)]
    xy, conic, c, o = inputs

    def forward() -> torch.Tensor:
        now = Projected(xy, projected.depth, conic, projected.compensation)
        picture, alpha = rasterise_splats(now, c, o, size, size)
        return picture.sum() + alpha.sum()

    both = median(lambda: forward().backward(), repeats)
    with torch.no_grad():
        return median(forward, repeats), both


def step(count: int, size: int, radius: float, repeats: int) -> float:
    """A whole training step: project, rasterise, L1 + D-SSIM, backward, Adam."""
    parts, camera = scene(count, size, radius)
    parts = [x.requires_grad_() for x in parts]
    truth = torch.rand(size, size, 3)
    optimizer = Adam(parts, lr=1e-5)

    def work() -> None:
        optimizer.zero_grad(set_to_none=True)
        picture, _ = rasterise_splats(
            project_splats(*parts[:3], camera), parts[3], parts[4], size, size
        )
        l1_dssim(picture, truth).backward()
        optimizer.step()

    return median(work, repeats)


def ratio(repeats: int) -> float:
    """The definition's time over ours, 400 splats at 96 x 96, forward and backward."""
    (means, rotation, scale, colour, opacity), camera = scene(400, 96, 5.0)
    p = project_splats(means, rotation, scale, camera)
    c = colour.requires_grad_()

    def plain() -> None:
        out, _ = _rasterise_splats(p.xy, p.depth, p.conic, c, opacity, 96, 96)
        out.sum().backward()

    def ours() -> None:
        rasterise_splats(p, c, opacity, 96, 96)[0].sum().backward()

    return median(plain, repeats) / median(ours, repeats)


def main(repeats: int = 15, busy: bool = False) -> None:
    """Print the table."""
    if busy:
        torch.set_num_threads(1)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for count, size, radius in ((20_000, 512, 5.7), (20_000, 256, 3.5), (30_000, 256, 3.5)):
        forward, both = raster(count, size, radius, repeats)
        print(
            f"| rasterise {count} at {size}, radius {radius} px | {forward:.1f} | {both:.1f} ms |"
        )
    print(f"| training step 30k at 256 | {1e3 / step(30_000, 256, 3.5, repeats):.1f} steps/s |")
    print(f"| definition over ours, 400 splats at 96 | {ratio(repeats):.0f} x |")
    for count in (5_000, 10_000, 20_000, 40_000):
        print(f"| growth: {count} splats at 256 | {step(count, 256, 3.5, repeats):.1f} ms |")
    for size in (128, 256, 512):
        row = step(20_000, size, 3.5 * size / 256, repeats)
        print(f"| growth: 20k splats at {size} | {row:.1f} ms |")


if __name__ == "__main__":
    tyro.cli(main)
