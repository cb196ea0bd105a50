"""Dense layers on a CPU: a few thousand rows through all layers, then the next ones.

What a layer writes is still in cache when the next one reads it, and memory is reused instead of
being asked for anew, which costs more than the arithmetic when layers are narrow.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.ops.dense import ROWS


def dense_layers(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] | None, slope: float
) -> Tensor:
    parameters = (*weights, *(biases or ()))
    return _Chunked.apply(slope, len(weights), x, *parameters)  # type: ignore[return-value]


class _Chunked(torch.autograd.Function):
    """The layers chunk by chunk, forward and backward; hidden rows are kept, not recomputed."""

    @staticmethod
    def forward(ctx: Any, slope: float, count: int, x: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[:count], parameters[count:]
        result = x.new_empty(x.shape[0], weights[-1].shape[0])
        keep = any(ctx.needs_input_grad)
        hidden: list[Tensor] = []
        for first in range(0, x.shape[0], ROWS):
            h = x[first : first + ROWS]
            for i, weight in enumerate(weights[:-1]):
                h = F.linear(h, weight, biases[i] if biases else None)
                F.leaky_relu(h, slope, inplace=True)
                if keep:
                    hidden.append(h)
            last = F.linear(h, weights[-1], biases[-1] if biases else None)
            result[first : first + ROWS] = last
        ctx.slope, ctx.count = slope, count
        ctx.save_for_backward(x, *parameters, *hidden)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        parameters = saved[: len(ctx.needs_input_grad) - 3]
        hidden = saved[len(parameters) :]
        weights = parameters[: ctx.count]
        sums = [torch.zeros_like(p) for p in parameters]
        back = torch.empty_like(x) if ctx.needs_input_grad[2] else None
        for chunk, first in enumerate(range(0, x.shape[0], ROWS)):
            rows = slice(first, first + ROWS)
            layers = [x[rows], *hidden[chunk * (ctx.count - 1) : (chunk + 1) * (ctx.count - 1)]]
            g = gradient[rows]
            for i in reversed(range(ctx.count)):
                sums[i].addmm_(g.mT, layers[i])
                if len(sums) > ctx.count:
                    sums[ctx.count + i].add_(g.sum(0))
                if i > 0:
                    g = torch.ops.aten.leaky_relu_backward(
                        g @ weights[i], layers[i], ctx.slope, True
                    )
            if back is not None:
                torch.mm(g, weights[0], out=back[rows])
        return None, None, back, *sums
