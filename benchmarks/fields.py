"""How fast `nerface` and `nerfblendshape` train: against plain torch, and how their cost grows.

    python benchmarks/fields.py [--threads 2] [--repeats 7] [--only nerface|blend|growth|pictures]

Every ratio is taken in one interleaved run (ours, plain, ours, plain; the median of each), on the
same synthetic person, rays, places, networks and losses.
"""

import likeness  # before torch: says how threads wait

# isort: split
import argparse
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
import torch.nn.functional as F
from ops_fields import interleaved
from torch import Tensor, nn

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.methods.nerface.avatar import NerfaceAvatar
from likeness.methods.nerface.method import PUBLISHED, Nerface, View, length, paper
from likeness.methods.nerface.rendering import Rays, look_twice
from likeness.methods.nerfblendshape.avatar import BlendAvatar
from likeness.methods.nerfblendshape.method import NerfBlendShape
from likeness.nn.encodings import BlendedHashGrid
from likeness.ops import twins
from likeness.ops.hash_grid import HashLayout
from likeness.training.adam import Adam

FRAMES = 16
TWICE = replace(Nerface(**PUBLISHED), carve=True, bend=True, width=96, colour_width=48)
"""Two fields one after the other, as published, within the hull of the mattes."""


class PlainField(nn.Module):
    """The paper's network as one would write it first: every sample carries its whole input."""

    def __init__(self, condition: int, width: int, narrow: int, octaves: int) -> None:
        super().__init__()
        self.octaves = octaves
        first = 3 + 6 * octaves + condition
        inputs = [first, width, width, first + width, width, width]
        self.trunk = nn.ModuleList(nn.Linear(i, width) for i in inputs)
        self.feature, self.density = nn.Linear(width, width), nn.Linear(width, 1)
        sides = [width + 24, narrow, narrow, narrow]
        self.sides = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sides))
        self.colour = nn.Linear(narrow, 3)

    def forward(self, points: Tensor, directions: Tensor, condition: Tensor) -> Tensor:
        place = waves(points, self.octaves, True)
        start = torch.cat([place, condition.expand(*place.shape[:-1], -1)], -1)
        hidden = start
        for number, layer in enumerate(self.trunk):
            hidden = torch.cat([start, hidden], -1) if number == 3 else hidden
            hidden = F.relu(layer(hidden))
        feature = self.feature(hidden)
        seen = waves(directions, 4, False)[:, None].expand(-1, points.shape[1], -1)
        side = torch.cat([feature, seen], -1)
        for layer in self.sides:
            side = F.relu(layer(side))
        return torch.cat([self.colour(side), self.density(feature)], -1)


def waves(x: Tensor, octaves: int, given: bool) -> Tensor:
    parts = [x] if given else []
    for k in range(octaves):
        parts += [torch.sin(2**k * x), torch.cos(2**k * x)]
    return torch.cat(parts, -1)


def plain_pass(
    field: PlainField, rays: Rays, z: Tensor, condition: Tensor, behind: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours of rays and weights of their samples, by the equations of the paper's program."""
    points = rays.origins[:, None] + rays.directions[:, None] * z[..., None]
    raw = field(points, rays.seen_from, condition)
    colour = torch.cat([torch.sigmoid(raw[:, :-1, :3]), behind[:, None]], 1)
    density = F.relu(raw[..., 3] + noise)
    density = torch.cat([density[:, :-1], density[:, -1:] + 1e-6], 1)
    step = torch.cat([z.diff(dim=-1), torch.full_like(z[:, :1], 1e10)], -1)
    alpha = 1 - torch.exp(-density * step * rays.directions.norm(dim=-1, keepdim=True))
    clear = torch.cumprod(torch.cat([torch.ones_like(z[:, :1]), 1 - alpha + 1e-10], -1), -1)
    weights = alpha * clear[:, :-1]
    return (weights[..., None] * colour).sum(1), weights


def finer(z: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """More places where the first pass saw something, and the old ones, nearest first."""
    middles, held = (z[:, 1:] + z[:, :-1]) / 2, weights[:, 1:-1] + 1e-5
    sums = F.pad((held / held.sum(-1, keepdim=True)).cumsum(-1), (1, 0))
    above = torch.searchsorted(sums.contiguous(), u.contiguous(), right=True)
    low, high = (above - 1).clamp(min=0), above.clamp(max=sums.shape[1] - 1)
    share = sums.gather(1, high) - sums.gather(1, low)
    share = torch.where(share < 1e-5, 1.0, share)
    start, end = middles.gather(1, low), middles.gather(1, high)
    drawn = start + (u - sums.gather(1, low)) / share * (end - start)
    return torch.cat([z, drawn], -1).sort(-1).values


class PlainStep:
    """One training step of the paper's recipe in plain torch."""

    def __init__(self, method: Nerface, avatar: NerfaceAvatar) -> None:
        self.method, self.avatar = method, avatar
        condition = avatar.subject.width + method.codes
        sizes = (condition, method.width, method.colour_width, method.octaves)
        self.coarse, self.fine = PlainField(*sizes), PlainField(*sizes)
        self.codes = nn.Parameter(torch.zeros_like(avatar.codes))
        networks = [*self.coarse.parameters(), *self.fine.parameters()]
        self.optimizer = torch.optim.Adam([*networks, self.codes], lr=5e-4)

    def __call__(self, view: View, rays: Rays) -> None:
        method, draws = self.method, view.draws
        code = self.codes[view.row]
        signal = self.avatar.subject.condition(view.expression)
        condition = torch.cat([signal / 3, code])
        even = torch.linspace(0, 1, method.coarse)
        z = rays.near[:, None] * (1 - even) + rays.far[:, None] * even
        middle = (z[:, 1:] + z[:, :-1]) / 2
        low, high = torch.cat([z[:, :1], middle], -1), torch.cat([middle, z[:, -1:]], -1)
        z = low + (high - low) * draws.coarse
        behind = self.avatar.backdrop.detach().reshape(-1, 3)[view.flat]
        given = (condition, behind)
        first, weights = plain_pass(self.coarse, rays, z, *given, method.noise * draws.coarse_noise)
        z = finer(z, weights.detach(), draws.fine)
        second, _ = plain_pass(self.fine, rays, z, *given, method.noise * draws.fine_noise)
        loss = (first - view.rgb).square().mean() + (second - view.rgb).square().mean()
        loss = loss + method.code_weight * length(code)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class OurStep:
    """The same step as `nerface` takes it; without a `hull` every place is asked."""

    def __init__(self, method: Nerface, avatar: NerfaceAvatar, hull: Tensor | None) -> None:
        self.method, self.avatar, self.hull = method, avatar, hull
        self.optimizer = method.optimizer(avatar)

    def __call__(self, view: View, rays: Rays) -> None:
        method, avatar = self.method, self.avatar
        behind = avatar.backdrop.detach().reshape(-1, 3)[view.flat]
        code = avatar.codes[view.row]
        first, second = look_twice(
            avatar.coarse, avatar.fine, rays, avatar.condition(view.expression, code), behind,
            (method.coarse, method.fine), view.draws, method.noise, False, self.hull,
            avatar.asked(view.expression),
        )  # fmt: skip
        loss = (first.rgb - view.rgb).square().mean() + (second.rgb - view.rgb).square().mean()
        loss = loss + method.code_weight * length(code)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def nerface_steps(person: Any, name: str, method: Nerface, repeats: int) -> None:
    """Table rows: plain torch; ours asking everywhere, within the hull, and one of the two fields
    where a grid says that something is (rays there are drawn mostly from the person)."""
    capture, track = person
    carved, everywhere = method.build(capture, track), replace(method, carve=False)
    whole = everywhere.build(capture, track)
    frames = capture.splits.train
    generator = torch.Generator().manual_seed(0)
    views = [method.view(capture, track, row, frames[row], generator) for row in range(8)]
    rays = [whole.rays(v.camera, v.expression, v.pixels) for v in views]
    turn = iter(range(10**9))
    walking = replace(method, cells=64)
    along = walking.build(capture, track)
    grid = OurStep(walking, along, None)
    walked = [walking.view(capture, track, row, frames[row], generator) for row in range(8)]

    def walk(view: View, _: Rays) -> None:
        at = walked[views.index(view)]
        grid.optimizer.zero_grad()
        torch.stack(list(walking.losses(along, at, 1).values())).sum().backward()
        grid.optimizer.step()

    steps: dict[str, Callable[[View, Rays], None]] = {
        "plain torch": PlainStep(everywhere, whole),
        "ours, every place asked": OurStep(everywhere, everywhere.build(capture, track), None),
        "ours, only within the hull": OurStep(method, carved, carved.known),
        "ours, one field along a grid": walk,
    }

    def run(step: Callable[[View, Rays], None]) -> Callable[[], None]:
        def once() -> None:
            at = next(turn) // len(steps) % len(views)
            step(views[at], rays[at])

        return once

    times = interleaved({k: run(step) for k, step in steps.items()}, repeats)
    for kind, ms in times.items():
        ratio = times["plain torch"] / ms
        print(f"| {name} | {kind} | {ms:.0f} | {method.rays / ms * 1e3:.0f} | {ratio:.1f} |")


def nerface_table(person: Any, repeats: int) -> None:
    print("\n### NeRFace, one training step\n")
    print("| sizes | | ms | rays per second | ratio |\n| --- | --- | --- | --- | --- |")
    sizes = paper()
    big = replace(
        TWICE, rays=128, coarse=64, fine=64, width=sizes.width, octaves=sizes.octaves,
        colour_width=sizes.colour_width,
    )  # fmt: skip
    nerface_steps(person, "the paper's (256 wide, 64 + 64 places), 128 rays", big, repeats)
    small = replace(TWICE, rays=512)
    said = f"smaller ({small.width} wide, {small.coarse} + {small.fine} places), 512 rays"
    nerface_steps(person, said, small, repeats)
    laptop = Nerface()
    ms = timed(person, laptop, repeats)
    print(f"| `laptop`, {laptop.rays} rays | ours | {ms:.0f} | {laptop.rays / ms * 1e3:.0f} | |")


@contextmanager
def plainly() -> Iterator[None]:
    """Every kernel by its definition in plain torch."""
    found = twins._find
    twins._find = lambda *_: None  # type: ignore[assignment]
    try:
        yield
    finally:
        twins._find = found


def blended_grid(layout: HashLayout, bases: int, count: int, repeats: int) -> None:
    """Table rows: looking points up in blended tables, forward and backward, and with Adam's step.
    Ours keeps the gradient of the bases as products (ops.products); plain torch writes it."""
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(1))
    blend = torch.randn(2, bases, generator=torch.Generator().manual_seed(2))
    which = (torch.arange(count) * 2) // count
    grids = [BlendedHashGrid(layout, bases, torch.Generator().manual_seed(0)) for _ in range(2)]
    how = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-15}
    optimizers = [
        Adam(grids[0].parameters(), **how, mixed=[grids[0].basis]),
        torch.optim.Adam(grids[1].parameters(), **how),
    ]

    def both(which_one: int) -> None:
        optimizers[which_one].zero_grad()
        grids[which_one](points, blend, which).sum().backward()

    def fast() -> None:
        both(0)

    def plain() -> None:
        with plainly():
            both(1)

    def fast_step() -> None:
        both(0)
        optimizers[0].step()

    def plain_step() -> None:
        plain()
        optimizers[1].step()

    sizes = f"{1 + bases} tables of {layout.levels} x {layout.features}, 2^{layout.log2_size}"
    busy = torch.get_num_threads() == 1
    for said, ours, theirs in (("", fast, plain), (", and Adam", fast_step, plain_step)):
        times = interleaved({"ours": ours, "plain torch": theirs}, repeats, busy)
        ratio = times["plain torch"] / times["ours"]
        print(
            f"| {sizes}, {count} points{said} | {times['ours']:.0f} | {times['plain torch']:.0f} "
            f"| {ratio:.1f} |"
        )


def blend_steps(person: Any, method: NerfBlendShape, repeats: int) -> None:
    """A table row: whole training steps, after enough of them that the head is where it is."""
    capture, track = person
    avatar = method.build(capture, track)
    optimizer = method.optimizer(avatar)
    views = method.batches(capture, track, torch.Generator().manual_seed(0))

    def step(number: int, view: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(method.losses(avatar, view, number).values())).sum().backward()
        optimizer.step()
        with torch.no_grad():
            method.after_step(avatar, optimizer, number)

    for number in range(1, 2 * method.measure_every + 2):
        step(number, next(views))
    fixed = [next(views) for _ in range(4)]
    turn = iter(range(10**9))
    number = 2 * method.measure_every + 1

    def fast() -> None:
        step(number, fixed[next(turn) // 2 % 4])

    lit = BlendAvatar._lit

    def plain() -> None:
        with plainly():
            BlendAvatar._lit = everything  # type: ignore[method-assign]
            try:
                step(number, fixed[next(turn) // 2 % 4])
            finally:
                BlendAvatar._lit = lit  # type: ignore[method-assign]

    busy = torch.get_num_threads() == 1
    times = interleaved({"ours": fast, "plain torch": plain}, repeats, busy)
    ratio = times["plain torch"] / times["ours"]
    name = f"whole step, laptop preset, {method.frames} x {method.rays} rays"
    print(f"| {name} | {times['ours']:.0f} | {times['plain torch']:.0f} | {ratio:.1f} |")


def everything(
    self: BlendAvatar, points: Tensor, blend: Tensor, head: Tensor, walked: Any, tables: Tensor
) -> tuple[Tensor, Tensor]:
    """Every sample counts as lit: nothing is left out."""
    return torch.arange(len(points)), walked.offsets


def blend_table(person: Any, repeats: int) -> None:
    print("\n### NeRFBlendShape\n\n| work | ours, ms | plain torch, ms | ratio |")
    print("| --- | --- | --- | --- |")
    laptop = NerfBlendShape(patch_share=0.0)
    blended_grid(laptop.shape(12).layout, 12, 1 << 16, repeats)
    blended_grid(HashLayout(16, 4, 16, 1024, 14), 46, 1 << 16, max(3, repeats // 2))
    blend_steps(person, laptop, repeats)


def clock() -> float:
    """Seconds: of the processor with one thread, so that neighbours disturb little; else by the
    clock."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def timed(person: Any, method: Any, repeats: int, warm: int = 3) -> float:
    """Median milliseconds of a training step."""
    capture, track = person
    avatar = method.build(capture, track)
    optimizer = method.optimizer(avatar)
    views = method.batches(capture, track, torch.Generator().manual_seed(0))
    times = []
    for number in range(1, warm + repeats + 1):
        view = next(views)
        started = clock()
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(method.losses(avatar, view, number).values())).sum().backward()
        optimizer.step()
        times.append(1e3 * (clock() - started))
    return sorted(times[warm:])[repeats // 2]


def line(xs: list[float], ys: list[float]) -> str:
    """A straight line through points, and the farthest any of them lies from it."""
    slope, start = np.polyfit(xs, ys, 1)
    away = max(abs(y - (start + slope * x)) / y for x, y in zip(xs, ys))
    return f"{start:.1f} ms + {1e3 * slope:.2f} us each; farthest {100 * away:.0f} %"


def growth(person: Any, repeats: int) -> None:
    print("\n### Growth: milliseconds of a step\n\n| what grows | at | ms | line |")
    print("| --- | --- | --- | --- |")
    blend, face, twice = NerfBlendShape(patch_share=0.0), Nerface(), replace(TWICE, rays=256)
    rows: dict[str, dict[int, Any]] = {
        "nerfblendshape, rays": {r: replace(blend, rays=r // 4) for r in (512, 1024, 2048, 4096)},
        "nerfblendshape, bases": {b: replace(blend, bases=b) for b in (4, 8, 16, 32)},
        "nerface, rays": {r: replace(face, rays=r) for r in (128, 256, 512, 1024)},
        "nerface as published, places of both passes": {
            s: replace(twice, coarse=s, fine=s) for s in (8, 16, 32, 64)
        },
    }
    for what, methods in rows.items():
        found = [timed(person, method, repeats) for method in methods.values()]
        counts = [float(n) for n in methods]
        values = " / ".join(f"{ms:.0f}" for ms in found)
        print(f"| {what} | {' / '.join(map(str, methods))} | {values} | {line(counts, found)} |")


def pictures(_: Any, repeats: int) -> None:
    """What pictures of other sizes cost: a step (the same rays) and drawing one."""
    print("\n### Pictures of other sizes\n\n| what | at | ms | line |\n| --- | --- | --- | --- |")
    sizes = (64, 128, 256)
    people = {size: film(0, FRAMES, size) for size in sizes}
    for name, method in (("nerfblendshape", NerfBlendShape()), ("nerface", Nerface())):
        steps = [timed(people[s], replace(method), repeats) for s in sizes]
        drawn = [drawing(people[s], method) for s in sizes]
        pixels = [float(s * s) for s in sizes]
        at = " / ".join(f"{s}²" for s in sizes)
        print(f"| {name}, a step, picture | {at} | {' / '.join(f'{m:.0f}' for m in steps)} | |")
        values = " / ".join(f"{m:.0f}" for m in drawn)
        print(f"| {name}, drawing, pixels | {at} | {values} | {line(pixels, drawn)} |")


def drawing(person: Any, method: Any) -> float:
    """Milliseconds of one picture, the better of two; the head untrained, all of its hull mist."""
    capture, track = person
    avatar, times = method.build(capture, track), []
    for _ in range(2):
        started = clock()
        avatar.render(take(track.cameras, 3), take(track.expressions, 3))
        times.append(1e3 * (clock() - started))
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=["nerface", "blend", "growth", "pictures"])
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(
        f"likeness {likeness.__version__}, torch {torch.__version__}, numba {numba.__version__}, "
        f"Python {platform.python_version()}, {chosen.threads} threads, median of {chosen.repeats}"
    )
    person = film(0, FRAMES, 128)
    tables = {
        "nerface": nerface_table,
        "blend": blend_table,
        "growth": growth,
        "pictures": pictures,
    }
    for name, table in tables.items():
        if chosen.only in (None, name):
            table(person, chosen.repeats)


if __name__ == "__main__":
    main()
