"""The field of NeRFBlendShape (Gao et al., SIGGRAPH Asia 2022): blended tables, two networks."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from likeness.core.errors import BadInput
from likeness.nn.encodings import BlendedHashGrid, Directions
from likeness.nn.mlp import MLP
from likeness.ops.hash_grid import HashLayout


@dataclass(frozen=True)
class Shape:
    """Sizes of a field; the paper's own are the defaults."""

    bases: int = 46
    levels: int = 16
    features: int = 4
    coarsest: int = 16
    finest: int = 1024
    log2_size: int = 14
    width: int = 64
    depth: int = 4
    geometry: int = 64
    colour_depth: int = 1
    gain: float = 1.0
    """What densities are multiplied by: a cube this small asks for large ones."""
    shift: float = 0.0
    """Taken from what becomes density: above 0 the field starts as thin mist, not as a wall."""

    @property
    def layout(self) -> HashLayout:
        return HashLayout(self.levels, self.features, self.coarsest, self.finest, self.log2_size)


class Field(nn.Module):
    """Density and colour of points in the unit cube, for a few heads at once.

    A neutral table and one for each base are summed with a head's weights before any lookup; a
    network makes density and features of what is looked up, and another the colour.
    """

    def __init__(self, shape: Shape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.tables = BlendedHashGrid(shape.layout, shape.bases, generator)
        hidden = [shape.width] * shape.depth
        inner = [self.tables.width, *hidden, 1 + shape.geometry]
        self.inner = MLP(inner, bias=False, generator=generator)
        self.directions = Directions(3)
        outer = [self.directions.width + shape.geometry, *[shape.width] * shape.colour_depth, 3]
        self.outer = MLP(outer, bias=False, generator=generator)

    def forward(
        self,
        points: Float[Tensor, "N 3"],
        directions: Float[Tensor, "N 3"],
        blend: Float[Tensor, "B K"],
        which: Int[Tensor, " N"] | None = None,
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"]]:
        """Densities and colours; point n belongs to the head with weights `blend[which[n]]`."""
        density, geometry = self.measure(points, blend, which)
        seen = torch.cat([self.directions(directions), geometry], -1)
        return density, torch.sigmoid(self.outer(seen))

    def measure(
        self,
        points: Float[Tensor, "N 3"],
        blend: Float[Tensor, "B K"],
        which: Int[Tensor, " N"] | None = None,
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N G"]]:
        """Densities, and the features that colour is made of."""
        out = self.inner(self.tables(points, blend, which))
        return self.shape.gain * F.softplus(out[:, 0] - self.shape.shift), out[:, 1:]


def load_flat(network: MLP, flat: Float[Tensor, " P"], where: str) -> None:
    """Weights from one vector, matrix after matrix, each padded to multiples of 16."""
    at = 0
    for layer in network.layers:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        rows, columns = (-(-n // 16) * 16 for n in weight.shape)
        block = flat[at : at + rows * columns]
        if block.numel() != rows * columns:
            raise BadInput(f"{where} has {flat.numel()} numbers, too few for its networks.")
        with torch.no_grad():
            weight.copy_(block.view(rows, columns)[: weight.shape[0], : weight.shape[1]])
        at += rows * columns
    if at != flat.numel():
        raise BadInput(f"{where} has {flat.numel()} numbers where {at} are expected.")
