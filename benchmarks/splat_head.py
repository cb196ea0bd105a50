"""How fast the splat head trains and draws, against splats, pixels and frames.

Run: python benchmarks/splat_head.py draw --avatar AVATAR --track TRACK
     python benchmarks/splat_head.py train --capture CAPTURE --track TRACK
     (both with --device cuda, where there is one; with --busy, the processor time of one thread
     instead, which other jobs of a machine lengthen less)
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch
import tyro
from timing import interleaved, machine

from likeness.core.batching import move, take
from likeness.core.camera import resized
from likeness.core.capture import Capture
from likeness.core.track import Track
from likeness.core.track_files import read_track
from likeness.methods.splats.method import RiggedSplats, halved
from likeness.ops.twins import one_for_torch
from likeness.training.frames import Kept
from likeness.verbs.loading import open_avatar, open_pair


def counted(work: Callable[[int], object], repeats: int, busy: bool) -> float:
    """Milliseconds of work that is told which time it runs."""
    turns = count()
    if busy:
        torch.set_num_threads(1)
    with one_for_torch():  # as in the command
        return interleaved({"": lambda: work(next(turns))}, repeats, busy)[""]


def draw(
    avatar: Path,
    track: Path,
    sizes: tuple[int, ...] = (128, 256, 512, 1024),
    device: str = "cpu",
    busy: bool = False,
) -> None:
    """Frames a second with deformation, each frame of the track in turn."""
    head, motion = open_avatar(avatar, device), move(read_track(track), device)
    print(f"{head.count} splats, {machine()}\n\n| pixels | ms | fps |")
    print("| ---: | ---: | ---: |")
    for size in sizes:

        def one(k: int, size: int = size) -> object:
            index = k % len(motion)
            camera = resized(take(motion.cameras, index), size, size)
            return head.render(camera, take(motion.expressions, index))

        ms = counted(one, 40, busy)
        print(f"| {size}² | {ms:.1f} | {1e3 / ms:.0f} |", flush=True)


def train(
    capture: Path,
    track: Path,
    counts: tuple[int, ...] = (3000, 10_000, 30_000),
    device: str = "cpu",
    busy: bool = False,
) -> None:
    """Milliseconds a step, from the start on, against splats, at whole and half size."""
    film, motion = open_pair(capture, track)
    film = replace(film, pictures=Kept(film.pictures, 2 << 30))
    started = time.perf_counter()
    RiggedSplats().build(film, motion)
    print(f"Start: {time.perf_counter() - started:.1f} s, {machine()}\n")
    print("| splats | pixels | ms a step | steps/s |\n| ---: | ---: | ---: | ---: |")
    for splats in counts:
        for half in (True, False):
            ms = step_time(film, motion, splats, half, device, busy)
            wide = motion.cameras.width // (2 if half else 1)
            print(f"| {splats} | {wide}² | {ms:.1f} | {1e3 / ms:.1f} |", flush=True)


def step_time(
    film: Capture, motion: Track, splats: int, half: bool, device: str, busy: bool, frames: int = 20
) -> float:
    method = RiggedSplats(splats=splats, steps=10_000, warm_up=0.0)
    head = method.build(film, motion).to(device)
    optimizer = method.optimizer(head)
    views = method.batches(film, motion, torch.Generator().manual_seed(0))
    shown = [move(next(views), device) for _ in range(frames)]
    shown = [halved(view) for view in shown] if half else shown

    def one(k: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(method.losses(head, shown[k % frames], k).values())).sum().backward()
        optimizer.step()
        with torch.no_grad():
            method.after_step(head, optimizer, k)

    return counted(one, 40, busy)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"draw": draw, "train": train})
