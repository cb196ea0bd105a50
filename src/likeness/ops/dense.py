"""Small dense networks on very many rows."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.ops.twins import one_place, pick

ROWS = 8192
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
    if x.dtype != weights[0].dtype and not torch.is_autocast_enabled(x.device.type):
        raise BadInput(
            f"The input is {x.dtype} but the weights are {weights[0].dtype}. Convert one of them."
        )
    one_place(x, *weights, *(biases or ()))
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
