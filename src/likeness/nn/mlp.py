"""The small networks behind every field."""

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from likeness.core.errors import BadInput
from likeness.ops.dense import dense_layers


@final
class MLP(nn.Module):
    """Linear layers with (leaky) ReLU between them and nothing after the last.

    `widths` goes from the input to the output: `[32, 64, 64, 16]` has two hidden layers. On a CPU
    it works through a few thousand rows at a time, which is about 2x faster than all at once.
    """

    def __init__(
        self,
        widths: Sequence[int],
        bias: bool = True,
        slope: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise BadInput(f"An MLP needs two or more positive widths, not {list(widths)}.")
        self.slope = slope
        self.layers = nn.ModuleList(nn.Linear(i, o, bias=bias) for i, o in pairwise(widths))
        if generator is not None:
            seed_linear(self, generator)

    def forward(self, x: Float[Tensor, "*b I"]) -> Float[Tensor, "*b O"]:
        weights = [layer.weight for layer in self.layers]
        biases = [layer.bias for layer in self.layers if layer.bias is not None]
        return dense_layers(x, weights, biases or None, self.slope)  # type: ignore[arg-type]


def seed_linear(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every `nn.Linear` inside `module` anew, as torch would but from `generator`."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            with torch.no_grad():
                for values in (layer.weight, layer.bias):
                    if values is not None:
                        drawn = torch.rand(values.shape, generator=generator, dtype=values.dtype)
                        values.copy_((2 * drawn - 1) * bound)
