"""Frames of one clip worked on side by side: kernels and picture libraries let threads run."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from threadpoolctl import threadpool_limits

from likeness.core.progress import counted
from likeness.ops.twins import threads

T = TypeVar("T")
R = TypeVar("R")


def together(
    work: Callable[[T], R], items: Iterable[T], what: str, total: int | None = None
) -> Iterator[R]:
    """`work` of each item, in their order, on as many threads as our kernels use. Items are asked
    for one after another, and few results wait, however long the clip."""
    if isinstance(items, Collection):
        total = len(items)
    return counted(side_by_side(work, items), what, total)


def side_by_side(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`together` without a word: for steps that take less than a second."""
    workers, items = threads(), iter(items)
    if workers < 2:
        yield from map(work, items)
        return
    # products of matrices must not want all cores for each of the workers
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        begun: deque[Future[R]] = deque(pool.submit(work, i) for i in islice(items, 2 * workers))
        try:
            while begun:
                done = begun.popleft().result()
                begun.extend(pool.submit(work, i) for i in islice(items, 1))
                yield done
        finally:
            for other in begun:
                other.cancel()
