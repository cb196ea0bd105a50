"""The field of NeRFBlendShape (Gao et al., SIGGRAPH Asia 2022): blended tables, two networks."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from likeness.core.errors import BadInput
from likeness.nn.encodings import BlendedHashGrid, Directions, HashGrid
from likeness.nn.mlp import MLP
from likeness.ops.hash_grid import HashLayout

_RIM = 0.1  # share of the blended box's side in which its features fade


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
    degree: int = 3
    """Of the harmonics of view directions that colours hear; 0 is none."""
    ground: HashLayout | None = None
    """A table of the whole cube that expressions leave alone. The blended ones are then of `face`,
    where expressions move something, and as fine as that is small."""
    face: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    """Least corner and side of the blended tables' box in the unit cube."""

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
        self.ground = None if shape.ground is None else HashGrid(shape.ground, generator)
        hidden = [shape.width] * shape.depth
        told = self.tables.width + (0 if self.ground is None else self.ground.width)
        inner = [told, *hidden, 1 + shape.geometry]
        self.inner = MLP(inner, bias=False, generator=generator)
        self.directions = Directions(shape.degree)
        outer = [self.directions.width + shape.geometry, *[shape.width] * shape.colour_depth, 3]
        self.outer = MLP(outer, bias=False, generator=generator)

    def forward(
        self,
        points: Float[Tensor, "N 3"],
        directions: Float[Tensor, "N 3"],
        blend: Float[Tensor, "B K"],
        which: Int[Tensor, " N"] | None = None,
        tables: Tensor | None = None,
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"]]:
        """Densities and colours; point n belongs to the head with weights `blend[which[n]]`.
        `tables` are what `self.tables.mix` makes of `blend`, where it is at hand."""
        density, geometry = self.measure(points, blend, which, tables)
        seen = torch.cat([self.directions(directions), geometry], -1)
        return density, torch.sigmoid(self.outer(seen))

    def measure(
        self,
        points: Float[Tensor, "N 3"],
        blend: Float[Tensor, "B K"],
        which: Int[Tensor, " N"] | None = None,
        tables: Tensor | None = None,
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N G"]]:
        """Densities, and the features that colour is made of."""
        out = self.inner(self.looked_up(points, blend, which, tables))
        return self.shape.gain * F.softplus(out[:, 0] - self.shape.shift), out[:, 1:]

    def looked_up(
        self, points: Tensor, blend: Tensor, which: Tensor | None, tables: Tensor | None
    ) -> Float[Tensor, "N E"]:
        """What the tables hold at points."""
        if self.ground is None:
            return self.tables(points, blend, which, tables)
        *corner, side = self.shape.face
        inside = (points - points.new_tensor(corner)) / side
        rim = (0.5 - (inside - 0.5).abs().amax(-1)) / _RIM
        rows = (rim > 0).nonzero()[:, 0]
        which = which if which is None else which[rows]
        found = self.tables(inside[rows], blend, which, tables) * rim[rows, None].clamp(max=1)
        moving = points.new_zeros(len(points), self.tables.width).index_copy(0, rows, found)
        return torch.cat([self.ground(points), moving], -1)


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
