"""Small dense networks on very many rows."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.ops.twins import pick

ROWS = 4096
"""Rows worked on at a time on a CPU, so that a layer's output is still in cache for the next."""


def dense_layers(
    x: Float[Tensor, "*b I"],
    weights: Sequence[Float[Tensor, "_ _"]],
    biases: Sequence[Float[Tensor, " _"]] | None = None,
    slope: float = 0.0,
) -> Float[Tensor, "*b O"]:
    """Linear layers with (leaky) ReLU between them and nothing after the last.

    `weights` are out x in, as in `nn.Linear`. `slope` is what is left of negative numbers: 0 is
    ReLU, and must not be negative. Gradients go to everything, one order only on fast paths.
    """
    if not weights or slope < 0:
        raise BadInput(
            f"Dense layers need at least one weight matrix and a slope of 0 or more; there are "
            f"{len(weights)} matrices and the slope is {slope}."
        )
    if x.shape[-1] != weights[0].shape[1]:
        raise BadInput(
            f"The first layer takes {weights[0].shape[1]} numbers per row; the input has "
            f"{x.shape[-1]}."
        )
    rows = x.reshape(-1, x.shape[-1])
    twin = pick(_dense_layers, x.device.type)
    return twin(rows, weights, biases, slope).reshape(*x.shape[:-1], weights[-1].shape[0])


def _dense_layers(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] | None, slope: float
) -> Tensor:
    for i, weight in enumerate(weights):
        x = F.linear(x, weight, None if biases is None else biases[i])
        if i + 1 < len(weights):
            x = F.leaky_relu(x, slope)
    return x


def in_chunks(
    network: Callable[[Tensor], Tensor], x: Float[Tensor, "N I"], rows: int = ROWS
) -> Float[Tensor, "N O"]:
    """`network(x)`, a few thousand rows at a time on a CPU: the same result, up to 3x sooner.

    For networks that treat rows alone. Elsewhere than on a CPU the rows stay together.
    """
    if x.device.type != "cpu" or x.shape[0] <= rows:
        return network(x)
    return torch.cat([network(part) for part in x.split(rows)])


def _chunked(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] | None, slope: float
) -> Tensor:
    return _Chunked.apply(slope, len(weights), x, *weights, *(biases or ()))  # type: ignore[return-value]


class _Chunked(torch.autograd.Function):
    """The layers chunk by chunk, forward and backward; hidden rows are kept, not recomputed."""

    @staticmethod
    def forward(ctx: Any, slope: float, count: int, x: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[:count], parameters[count:]
        result = x.new_empty(x.shape[0], weights[-1].shape[0])
        hidden: list[Tensor] = []
        for first in range(0, x.shape[0], ROWS):
            h = x[first : first + ROWS]
            for i, weight in enumerate(weights[:-1]):
                h = F.linear(h, weight, biases[i] if biases else None)
                F.leaky_relu(h, slope, inplace=True)
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
