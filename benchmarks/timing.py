"""Median times of several pieces of work, taken in turn in one run."""

import time
from collections.abc import Callable
from statistics import median

import torch


def interleaved(
    work: dict[str, Callable[[], object]], repeats: int, busy: bool = False
) -> dict[str, float]:
    """Median milliseconds of each, run in turn after two warm-ups. A GPU is waited for. `busy`
    takes this process's processor time instead, which waiting does not lengthen."""
    clock = time.process_time if busy else time.perf_counter
    gpu = torch.cuda.is_available()
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 2):
        for name, run in work.items():
            if gpu:
                torch.cuda.synchronize()
            start = clock()
            run()
            if gpu:
                torch.cuda.synchronize()
            if turn >= 2:
                times[name].append(1e3 * (clock() - start))
    return {name: median(found) for name, found in times.items()}


def machine() -> str:
    """What the figures were taken on."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{torch.get_num_threads()} threads, torch {torch.__version__}"
