"""One definition, any number of twins: which one runs where.

The twin of `ops/rays.py: _march` on a CPU is `ops/rays_cpu.py: march`, on CUDA `ops/rays_gpu.py:
march`. Where there is none, or it cannot be imported, the definition runs.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import torch

from likeness.core.errors import BadInput
from likeness.core.progress import stage

F = TypeVar("F", bound=Callable[..., Any])

_SUFFIX = {"cpu": "_cpu", "cuda": "_gpu"}
_log = logging.getLogger(__name__)


class _Pool:
    """Whether numba's threads run, and whether this process is a fork of one where they did.

    They do not survive a fork, and asking them for work there ends the process. Such a child (a
    data loader's worker) runs the definitions, on one thread: slower, and right.
    """

    started = False
    forked = False
    threads: int | None = None  # of our kernels, where torch has fewer


_pool = _Pool()


def _after_fork() -> None:
    if _pool.started:
        _pool.forked = True
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def pick(definition: F, device_type: str) -> F:
    """The fastest function that means the same as `definition` on this kind of device."""
    if device_type == "cpu" and _pool.forked:
        return definition
    twin = _find(definition.__module__, definition.__name__.lstrip("_"), device_type)
    return definition if twin is None else cast(F, twin)


def one_place(*tensors: torch.Tensor | None) -> None:
    """Raise unless all tensors are on one device: a kernel reads them by address."""
    places = {str(x.device) for x in tensors if x is not None}
    if len(places) > 1:
        raise BadInput(f"Tensors are on {' and '.join(sorted(places))}. Move them to one device.")


def within(indices: torch.Tensor, count: int, what: str) -> None:
    """Raise unless indices of `count` things are all there: a kernel would read beyond them."""
    if not indices.numel():
        return
    least, most = (int(x) for x in torch.aminmax(indices))
    if least < 0 or most >= count:
        raise BadInput(f"Indices of {what} go from {least} to {most}, but there are {count}.")


@cache
def _find(module: str, name: str, device_type: str) -> Callable[..., Any] | None:
    where = module + _SUFFIX.get(device_type, "_none")
    if find_spec(where) is None:
        return None
    try:
        return getattr(import_module(where), name, None)
    except ImportError as error:
        _log.warning("%s runs without its fast twin (%s)", name, error)
        return None


def threads() -> int:
    """How many threads our kernels may use: as many as torch, but for `one_for_torch`."""
    return torch.get_num_threads() if _pool.threads is None else _pool.threads


@contextmanager
def one_for_torch() -> Iterator[None]:
    """Within this block torch's own operations take one thread; our kernels keep theirs.

    Torch wakes a second thread for what takes a fraction of a millisecond, and that costs more than
    it gains: see decision 0002.
    """
    before, outer = torch.get_num_threads(), _pool.threads
    _pool.threads = threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _pool.threads = outer
        torch.set_num_threads(before)


def match_threads() -> None:
    """Let numba use the threads it may. Call before launching a kernel."""
    import numba

    if not _pool.started:
        _pool.started = True
        _say_when_compiling()
    before = torch.get_num_threads()
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(threads(), most)))
    if torch.get_num_threads() != before:  # numba's pool, when it starts, resets torch's as well
        torch.set_num_threads(before)


def _say_when_compiling() -> None:
    """From now on a kernel that is not yet in the cache says so while it is compiled."""
    from numba.core import event

    class Compiling(event.Listener):
        def __init__(self) -> None:
            self.open: list[ExitStack] = []

        def on_start(self, event: Any) -> None:
            stack = ExitStack()
            if not self.open:
                _say_why()
                stack.enter_context(stage("Preparing kernels, once"))
            self.open.append(stack)

        def on_end(self, event: Any) -> None:
            self.open.pop().close()

    event.register("numba:compile", Compiling())


@cache
def _say_why() -> None:
    _log.warning(
        "Fast kernels are compiled for this machine the first time each is used: up to half a "
        "minute in all. They are kept for later runs."
    )
