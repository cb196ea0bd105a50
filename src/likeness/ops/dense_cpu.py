"""Dense layers on a CPU: a few thousand rows through all layers, then the next ones.

What a layer writes is still in cache when the next one reads it, and memory is reused instead of
being asked for anew, which costs more than the arithmetic when layers are narrow. Each thread takes
whole chunks: cutting every small product in two would spend more on meeting again than on sums.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier, local
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.ops.dense import ROWS
from likeness.ops.twins import threads

T = TypeVar("T")
_kept = local()


def dense_layers(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] | None, slope: float
) -> Tensor:
    parameters = (*weights, *(biases or ()))
    return _Chunked.apply(slope, len(weights), x, *parameters)  # type: ignore[return-value]


class _Chunked(torch.autograd.Function):
    """The layers chunk by chunk, forward and backward; hidden rows are kept, not recomputed."""

    @staticmethod
    def forward(ctx: Any, slope: float, count: int, x: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[:count], parameters[count:] or (None,) * count
        result = x.new_empty(x.shape[0], weights[-1].shape[0])
        keep = any(ctx.needs_input_grad)

        def through(rows: slice) -> list[Tensor]:
            hidden: list[Tensor] = []
            h = x[rows]
            for weight, bias in zip(weights[:-1], biases[:-1]):
                h = F.leaky_relu(F.linear(h, weight, bias), slope, inplace=True)
                if keep:
                    hidden.append(h)
            if biases[-1] is None:
                torch.mm(h, weights[-1].mT, out=result[rows])
            else:
                torch.addmm(biases[-1], h, weights[-1].mT, out=result[rows])
            return hidden

        hidden = _spread(through, _chunks(x.shape[0]))
        ctx.slope, ctx.count = slope, count
        ctx.save_for_backward(x, *parameters, *(h for part in hidden for h in part))
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        count, depth = ctx.count, ctx.count - 1
        parameters = saved[: len(ctx.needs_input_grad) - 3]
        weights, hidden = parameters[:count], saved[len(parameters) :]
        back = torch.empty_like(x) if ctx.needs_input_grad[2] else None

        def through(rows: slice) -> list[Tensor]:
            first = rows.start // ROWS * depth
            layers = [x[rows], *hidden[first : first + depth]]
            g, found = gradient[rows], []
            for i in reversed(range(count)):
                found.append(g.mT @ layers[i])
                if len(parameters) > count:
                    found.append(g.sum(0))
                if i > 0:
                    g = torch.mm(g, weights[i], out=_scratch(i % 2, g, weights[i]))
                    torch.ops.aten.leaky_relu_backward.grad_input(
                        g, layers[i], ctx.slope, True, grad_input=g
                    )
            if back is not None:
                _multiply_into(g, weights[0], back[rows])
            return found

        parts = _spread(through, _chunks(x.shape[0]))
        if not parts:
            return None, None, back, *(torch.zeros_like(p) for p in parameters)
        sums = [torch.stack(part).sum(0) for part in zip(*parts)][::-1]  # in order of layers
        if len(parameters) > count:
            sums = [*sums[1::2], *sums[::2]]
        return None, None, back, *sums


def _scratch(which: int, a: Tensor, b: Tensor) -> Tensor:
    """Room for `a @ b` that this thread uses again and again: fresh memory costs more to touch
    for the first time than the product does."""
    kept: dict[Any, Tensor] = _kept.__dict__
    key = (which, b.shape[1], a.dtype)
    if key not in kept or kept[key].shape[0] < a.shape[0]:
        kept[key] = a.new_empty(a.shape[0], b.shape[1])
    return kept[key][: a.shape[0]]


def _multiply_into(a: Tensor, b: Tensor, out: Tensor) -> None:
    """`out = a @ b`, where rows or columns of `out` may be the contiguous ones."""
    if out.stride(0) == 1:
        torch.mm(b.mT, a.mT, out=out.mT)
    else:
        torch.mm(a, b, out=out)


def _chunks(rows: int) -> list[slice]:
    return [slice(first, min(first + ROWS, rows)) for first in range(0, rows, ROWS)]


def _spread(work: Callable[[slice], T], chunks: list[slice]) -> list[T]:
    """`work` on every chunk, on as many threads as torch may use; results in order."""

    @torch.no_grad()
    def quietly(rows: slice) -> T:
        return work(rows)

    count = min(threads(), len(chunks))
    if count < 2:
        return [quietly(rows) for rows in chunks]
    return list(_workers(count, os.getpid()).map(quietly, chunks))


@cache
def _workers(count: int, process: int) -> ThreadPoolExecutor:
    """Threads that do torch's work alone. Per process: threads do not survive a fork."""
    met = Barrier(count + 1)

    def start() -> None:
        torch.set_num_threads(1)  # of this thread, and of threads that start later
        met.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="likeness-dense")
    for _ in range(count):
        pool.submit(start)
    before = torch.get_num_threads()
    met.wait()
    torch.set_num_threads(before)
    return pool
