"""The conditional radiance field of NeRFace (Gafni et al., CVPR 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from likeness.nn.encodings import Frequencies
from likeness.nn.mlp import seed_linear
from likeness.ops.dense import dense_layers


@dataclass(frozen=True)
class Shape:
    """Sizes of a field. The paper's own are the defaults, except for `condition`."""

    condition: int
    """Expression numbers and the frame's code together."""
    width: int = 256
    colour_width: int = 128
    octaves: int = 10
    direction_octaves: int = 4
    direction_input: bool = False
    """Whether the direction itself is given beside its encoding."""


class Field(nn.Module):
    """Raw colour and density of points, seen from a direction, for one condition.

    Six layers of the trunk, whose input (encoded position and condition) comes again before the
    fourth, a linear feature layer from which density is read, and three layers of colour that see
    the direction. Layers are named as in the authors' checkpoints.
    """

    def __init__(self, shape: Shape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.places = Frequencies(3, shape.octaves)
        self.directions = Frequencies(3, shape.direction_octaves, shape.direction_input)
        first, wide, narrow = self.places.width + shape.condition, shape.width, shape.colour_width
        inputs = [first, wide, wide, first + wide, wide, wide]
        self.layers_xyz = nn.ModuleList(nn.Linear(i, wide) for i in inputs)
        self.fc_feat = nn.Linear(wide, wide)
        self.fc_alpha = nn.Linear(wide, 1)
        sides = [wide + self.directions.width, narrow, narrow, narrow]
        self.layers_dir = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sides))
        self.fc_rgb = nn.Linear(narrow, 3)
        if generator is not None:
            seed_linear(self, generator)

    def forward(
        self,
        points: Float[Tensor, "R S 3"],
        directions: Float[Tensor, "R 3"],
        condition: Float[Tensor, " C"],
    ) -> tuple[Float[Tensor, "R S 3"], Float[Tensor, "R S"]]:
        """Raw colours and densities (before sigmoid and ReLU) of samples along rays."""
        seen = directions[:, None].expand_as(points)
        colour, density = self.at(points.reshape(-1, 3), seen.reshape(-1, 3), condition)
        return colour.view(points.shape), density.view(points.shape[:2])

    def at(
        self,
        points: Float[Tensor, "N 3"],
        directions: Float[Tensor, "N 3"],
        condition: Float[Tensor, " C"],
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"]]:
        """The same for points that each have a direction of their own."""
        feature, density = self.trunk(points, condition)
        told = torch.cat([feature, self.directions(directions)], -1)
        return dense_layers(told, *_parts([*self.layers_dir, self.fc_rgb])), density

    def trunk(
        self, points: Float[Tensor, "N 3"], condition: Float[Tensor, " C"]
    ) -> tuple[Float[Tensor, "N W"], Float[Tensor, " N"]]:
        """Features and raw densities. The condition is the same for all points, so what it does
        to a layer is added to the bias once, not multiplied anew for each."""
        place = self.places(points)
        wide, cut = place.shape[-1], place.shape[-1] + condition.shape[-1]
        weights, biases = _parts(list(self.layers_xyz))
        for layer in (0, 3):
            biases[layer] = biases[layer] + weights[layer][:, wide:cut] @ condition
        weights[0] = weights[0][:, :wide]
        weights[3] = torch.cat([weights[3][:, :wide], weights[3][:, cut:]], -1)
        hidden = F.relu(dense_layers(place, weights[:3], biases[:3]))
        feature = dense_layers(
            torch.cat([place, hidden], -1),
            [*weights[3:], self.fc_feat.weight],
            [*biases[3:], self.fc_feat.bias],
        )
        return feature, self.fc_alpha(feature)[:, 0]


def _parts(layers: Sequence[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return [layer.weight for layer in linear], [layer.bias for layer in linear]
