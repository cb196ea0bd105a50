"""Time the splat kernels: python benchmarks/ops_splats.py [--repeats 15] [--busy] [--device cuda]

Figures are medians on this machine with torch's number of threads; ratios are against the
plain-torch definition in the same run, at a size the definition can hold. On a machine that others
use too, --busy takes the processor time of one thread instead, which waiting does not lengthen.
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import os
from collections.abc import Callable
from importlib.util import find_spec

import torch
import tyro
from timing import interleaved, machine

from likeness.core.batching import move
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


def forward_and_back(
    count: int, size: int, radius: float, device: str
) -> dict[str, Callable[[], object]]:
    """Rasterising splats that are on screen already: forward alone, and with its gradient."""
    parts, camera = move(scene(count, size, radius), device)
    means, rotation, scale, colour, opacity = parts
    projected = project_splats(means, rotation, scale, camera)
    inputs = [x.detach().requires_grad_() for x in (projected.xy, projected.conic, colour, opacity)]
    xy, conic, c, o = inputs
    now = Projected(xy, projected.depth, conic, projected.compensation)
    ones = torch.ones(size, size, 3, device=device)

    def forward() -> None:
        with torch.no_grad():
            rasterise_splats(now, c, o, size, size)

    def both() -> None:
        picture, alpha = rasterise_splats(now, c, o, size, size)
        torch.autograd.backward([picture, alpha], [ones, ones[..., 0]])

    return {"forward": forward, "forward + backward": both}


def by_gsplat(work: Callable[[], object]) -> Callable[[], object]:
    """The same work, blended by gsplat."""

    def run() -> None:
        os.environ["LIKENESS_GSPLAT"] = "1"
        work()
        os.environ["LIKENESS_GSPLAT"] = "0"

    return run


def gsplat_alone(count: int, size: int, radius: float) -> dict[str, Callable[[], object]]:
    """gsplat's own projection and binning too, against ours: means to picture, and its gradient."""
    from gsplat import rasterization

    parts, camera = move(scene(count, size, radius), "cuda")
    given = [x.requires_grad_() for x in parts]
    means, rotation, scale, colour, opacity = given
    pose, k = camera.camera_from_world[None], camera.intrinsics[None]
    ones = torch.ones(size, size, 3, device="cuda")

    def theirs() -> None:
        picture, _, _ = rasterization(
            means, rotation, scale, opacity, colour, pose, k, size, size, near_plane=0.01
        )
        torch.autograd.backward(picture[0], ones)

    def ours() -> None:
        on_screen = project_splats(means, rotation, scale, camera)
        picture, _ = rasterise_splats(on_screen, colour, opacity, size, size)
        torch.autograd.backward(picture, ones)

    return {"ours, means to picture and back": ours, "gsplat, the same": theirs}


def step(count: int, size: int, radius: float, device: str) -> Callable[[], object]:
    """A whole training step: project, rasterise, L1 + D-SSIM, backward, Adam."""
    parts, camera = move(scene(count, size, radius), device)
    parts = [x.requires_grad_() for x in parts]
    truth = torch.rand(size, size, 3).to(device)
    optimizer = Adam(parts, lr=1e-5)

    def work() -> None:
        optimizer.zero_grad(set_to_none=True)
        picture, _ = rasterise_splats(
            project_splats(*parts[:3], camera), parts[3], parts[4], size, size
        )
        l1_dssim(picture, truth).backward()
        optimizer.step()

    return work


def against_definition(device: str) -> dict[str, Callable[[], object]]:
    """400 splats at 96 x 96, forward and backward."""
    parts, camera = move(scene(400, 96, 5.0), device)
    means, rotation, scale, colour, opacity = parts
    p = project_splats(means, rotation, scale, camera)
    c = colour.requires_grad_()

    def plain() -> None:
        out, _ = _rasterise_splats(p.xy, p.depth, p.conic, c, opacity, 96, 96)
        out.sum().backward()

    def ours() -> None:
        rasterise_splats(p, c, opacity, 96, 96)[0].sum().backward()

    return {"plain": plain, "ours": ours}


def main(repeats: int = 15, busy: bool = False, device: str = "cpu") -> None:
    """Print the table."""
    if busy:
        torch.set_num_threads(1)
    both_ways = device == "cuda" and find_spec("gsplat") is not None
    print(machine())
    for count, size, radius in ((20_000, 512, 5.7), (20_000, 256, 3.5), (30_000, 256, 3.5)):
        work = forward_and_back(count, size, radius, device)
        if both_ways:
            work |= {f"{name}, blended by gsplat": by_gsplat(run) for name, run in work.items()}
            work |= gsplat_alone(count, size, radius)
        for name, ms in interleaved(work, repeats, busy).items():
            print(f"| {count} at {size}, radius {radius} px, {name} | {ms:.2f} ms |", flush=True)
    times = interleaved({"step": step(30_000, 256, 3.5, device)}, repeats, busy)
    print(f"| training step 30k at 256 | {1e3 / times['step']:.1f} steps/s |")
    times = interleaved(against_definition(device), repeats, busy)
    print(f"| definition over ours, 400 splats at 96 | {times['plain'] / times['ours']:.0f} x |")
    counts, sizes = (5_000, 10_000, 20_000, 40_000, 80_000), (128, 256, 512, 1024)
    grown = {f"{n} splats at 256": step(n, 256, 3.5, device) for n in counts}
    grown |= {f"20k splats at {s}": step(20_000, s, 3.5 * s / 256, device) for s in sizes}
    for name, ms in interleaved(grown, repeats, busy).items():
        print(f"| growth: step with {name} | {ms:.2f} ms |")


if __name__ == "__main__":
    tyro.cli(main)
