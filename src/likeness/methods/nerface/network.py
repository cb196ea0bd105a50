"""The conditional radiance field of NeRFace (Gafni et al., CVPR 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from likeness.methods.nerface.heard import listened
from likeness.nn.encodings import Frequencies, HashGrid
from likeness.nn.mlp import seed_linear
from likeness.ops.dense import dense_layers
from likeness.ops.hash_grid import HashLayout

_RIM = 0.1  # share of the side of a face's box in which a condition fades


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
    ground: HashLayout | None = None
    """A learned table of places, beside their frequencies."""
    half: float = 1.0
    """Half the cube that the table and the walks of rays fill, in the units of the field."""
    face: tuple[float, float, float, float] | None = None
    """Middle and side of the box outside of which the condition is not heard."""
    parts: tuple[int, int] = (0, 0)
    """How many of its first numbers are heard each in its own part of that box, and the places
    along a side at which that is known (see `heard`)."""


class Field(nn.Module):
    """Raw colour and density of points, seen from a direction, for one condition.

    Six layers of the trunk, whose input (encoded position and condition) comes again before the
    fourth, a linear feature layer from which density is read, and three layers of colour that see
    the direction. Layers are named as in the authors' checkpoints.
    """

    heard: Tensor | None

    def __init__(self, shape: Shape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.places = Frequencies(3, shape.octaves)
        self.directions = Frequencies(3, shape.direction_octaves, shape.direction_input)
        self.ground = None if shape.ground is None else HashGrid(shape.ground, generator)
        count, side = shape.parts
        self.register_buffer("heard", torch.ones(count, side, side, side) if count else None)
        told = self.places.width + (0 if self.ground is None else self.ground.width)
        first, wide, narrow = told + shape.condition, shape.width, shape.colour_width
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
        """Features and raw densities. What all points hear alike of the condition is multiplied
        once for a layer and added to its bias, not anew for each."""
        given = [self.places(points)]
        if self.ground is not None:
            given.append(self.ground((points / self.shape.half + 1) / 2))
        wide = sum(x.shape[-1] for x in given)
        cut = wide + condition.shape[-1]
        weights, biases = _parts(list(self.layers_xyz))
        count = 0 if self.heard is None else len(self.heard)
        entering = [(weights[layer], biases[layer]) for layer in (0, 3)]
        said = [w[:, wide + count : cut] @ condition[count:] for w, _ in entering]
        columns = [[w[:, :wide]] for w, _ in entering]
        if self.shape.face is None:
            for layer, (_, bias), more in zip((0, 3), entering, said):
                biases[layer] = bias + more
        else:  # one more input, by which what is said is multiplied
            given.append(self._heard(points, self.shape.face))
            for kept, more in zip(columns, said):
                kept.append(more[:, None])
            spoken = condition[:count].nonzero()[:, 0]  # zeros say nothing
            if self.heard is not None and len(spoken):
                share = listened(points, self.heard[spoken], self.shape.face)
                given.append(share * condition[spoken])
                for kept, (weight, _) in zip(columns, entering):
                    kept.append(weight[:, wide + spoken])
        columns[1].append(entering[1][0][:, cut:])
        weights[0], weights[3] = (torch.cat(x, -1) for x in columns)
        place = torch.cat(given, -1)
        hidden = F.relu(dense_layers(place, weights[:3], biases[:3]))
        feature = dense_layers(
            torch.cat([place, hidden], -1),
            [*weights[3:], self.fc_feat.weight],
            [*biases[3:], self.fc_feat.bias],
        )
        return feature, self.fc_alpha(feature)[:, 0]

    @staticmethod
    def _heard(points: Tensor, face: tuple[float, float, float, float]) -> Float[Tensor, "N 1"]:
        """How much of the condition points hear: all in the face, nothing beyond its box."""
        *middle, side = face
        away = (points - points.new_tensor(middle)).abs().amax(-1, keepdim=True) / side
        return ((0.5 - away) / _RIM).clamp(0, 1)


def _parts(layers: Sequence[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return [layer.weight for layer in linear], [layer.bias for layer in linear]
