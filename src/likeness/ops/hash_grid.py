"""Features looked up in grids of many resolutions, the fine ones folded into small hash tables."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.ops.products import Mixed
from likeness.ops.twins import one_place, pick

PRIMES = (1, 2654435761, 805459861)


@dataclass(frozen=True)
class HashLayout:
    """Sizes of a multi-resolution grid over the unit cube.

    Resolutions grow geometrically from `coarsest` to `finest`. A level whose `(r + 1)^3` vertices
    fit into `2^log2_size` entries is dense; the others are hashed into that many. Positions are
    scaled by `scales` and shifted by half a cell, as instant-ngp does: 0 lies half a cell inside.
    """

    levels: int = 16
    features: int = 2
    coarsest: int = 16
    finest: int = 1024
    log2_size: int = 16

    def __post_init__(self) -> None:
        if self.levels < 1 or self.features < 1 or not 0 <= self.log2_size <= 24:
            raise BadInput(
                f"A hash grid needs a level, a feature and 2^0 to 2^24 entries; this one has "
                f"{self.levels} levels, {self.features} features and 2^{self.log2_size} entries."
            )
        if not 2 <= self.coarsest <= self.finest <= 2**20:
            raise BadInput(
                f"Resolutions of a hash grid go from 2 up to 2^20; these go from {self.coarsest} "
                f"to {self.finest}."
            )

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """What positions are multiplied by, level by level: float32 values, as the kernels of
        instant-ngp compute them, for one unit in the last place moves fine cells visibly."""
        steps = max(self.levels - 1, 1)
        growth = np.float32(math.log2(self.finest / self.coarsest) / steps)
        exponents = np.arange(self.levels, dtype=np.float32) * growth
        powers = np.exp2(exponents.astype(np.float64)).astype(np.float32)
        return tuple(float(x) for x in powers * np.float32(self.coarsest) - np.float32(1))

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        return tuple(math.ceil(scale) + 1 for scale in self.scales)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first entry of each level, and last the number of entries."""
        sizes = [min(2**self.log2_size, (r + 1) ** 3) for r in self.resolutions]
        return tuple(int(x) for x in np.cumsum([0, *sizes]))

    @cached_property
    def dense(self) -> tuple[bool, ...]:
        return tuple((r + 1) ** 3 <= 2**self.log2_size for r in self.resolutions)

    @property
    def entries(self) -> int:
        return self.starts[-1]

    @property
    def width(self) -> int:
        """Features of one point, all levels."""
        return self.levels * self.features


def hash_encode(
    points: Float[Tensor, "N 3"],
    tables: Float[Tensor, "T entries C"],
    layout: HashLayout,
    which: Int[Tensor, " N"] | None = None,
) -> Float[Tensor, "N width"]:
    """Features of points in the unit cube, level by level, interpolated between 8 vertices.

    Point `n` reads table `which[n]`, or table 0. Points outside the cube (or not numbers) have
    zeros and pass no gradient. Gradients go to tables and points, one order only on fast paths.
    """
    _check(points, tables, layout, which)
    return pick(_hash_encode, points.device.type)(points, tables, layout, which)


def _hash_encode(
    points: Tensor, tables: Tensor, layout: HashLayout, which: Tensor | None
) -> Tensor:
    inside = ((points >= 0) & (points <= 1)).all(-1)
    points = torch.where(inside[:, None], points, 0.5)
    flat = tables.reshape(-1, tables.shape[-1])
    first = 0 if which is None else which[:, None] * layout.entries
    features = []
    for level in range(layout.levels):
        index, weight = _corners(points, layout, level)
        features.append((flat[first + index] * weight[..., None]).sum(1))
    return torch.cat(features, dim=-1) * inside[:, None]


def _corners(points: Tensor, layout: HashLayout, level: int) -> tuple[Tensor, Tensor]:
    """Entries (N 8) and weights (N 8) of the vertices around points inside the cube."""
    scaled = points * layout.scales[level] + 0.5
    corner = scaled.detach().floor()
    fraction = scaled - corner
    bits = (torch.arange(8, device=points.device)[:, None] >> torch.arange(3).to(points.device)) & 1
    vertex = corner.long()[:, None] + bits  # N 8 3
    weight = torch.where(bits == 1, fraction[:, None], 1 - fraction[:, None]).prod(-1)
    return layout.starts[level] + _entry(vertex, layout, level), weight


def _entry(vertex: Tensor, layout: HashLayout, level: int) -> Tensor:
    a, b, c = vertex.unbind(-1)
    size = layout.starts[level + 1] - layout.starts[level]
    if layout.dense[level]:
        stride = layout.resolutions[level] + 1
        return a + b * stride + c * stride**2
    word = 0xFFFFFFFF
    return ((a * PRIMES[0]) ^ (b * PRIMES[1] & word) ^ (c * PRIMES[2] & word)) % size


def blended_hash_encode(
    points: Float[Tensor, "N 3"],
    tables: Float[Tensor, "K entries C"],
    blend: Float[Tensor, "B weights"],
    layout: HashLayout,
    which: Int[Tensor, " N"] | None = None,
    neutral: Float[Tensor, "1 entries C"] | None = None,
) -> Float[Tensor, "N width"]:
    """Features of points in weighted sums of K tables; point `n` reads the sum `blend[which[n]]`.

    `neutral` is a table that every sum starts from. The sum is either made first, entry by entry,
    or taken at the 8 vertices around each point, which needs no room for it; whichever is cheaper
    for this many points. The results are the same up to rounding. Gradients go to tables, neutral,
    blend and points.
    """
    _check(points, tables, layout, None)
    if which is not None and which.numel():
        _check_which(which, blend.shape[0])
    if blend.shape[1] != tables.shape[0]:
        raise BadInput(
            f"{tables.shape[0]} tables need as many weights; there are {blend.shape[1]}."
        )
    if mixing_first_is_cheaper(points.shape[0], blend.shape[0], layout):
        return hash_encode(points, mixed(tables, blend, neutral), layout, which)
    twin = pick(_blended_hash_encode, points.device.type)
    features = twin(points, tables, blend, layout, which)
    return features if neutral is None else features + hash_encode(points, neutral, layout)


def mixed(
    tables: Float[Tensor, "K entries C"],
    blend: Float[Tensor, "B weights"],
    neutral: Float[Tensor, "1 entries C"] | None = None,
) -> Float[Tensor, "B entries C"]:
    """One table per row of `blend`: the weighted sums themselves. Gradients of tables may be kept
    as products (see ops.products)."""
    base = None if neutral is None else neutral.flatten(1)
    sums: Tensor = Mixed.apply(tables, blend, base)  # type: ignore[assignment]
    return sums.unflatten(-1, tables.shape[1:])


def mixing_first_is_cheaper(points: int, sums: int, layout: HashLayout) -> bool:
    """Whether making the sums costs less than summing at the 8 vertices around every point.

    A vertex looked up out of order costs about 4 entries read in order (measured; see
    benchmarks/ops_fields.py).
    """
    return points * 8 * layout.levels * 4 > sums * layout.entries


def _blended_hash_encode(
    points: Tensor, tables: Tensor, blend: Tensor, layout: HashLayout, which: Tensor | None
) -> Tensor:
    weight = blend[0].expand(points.shape[0], -1) if which is None else blend[which]
    features = points.new_zeros(points.shape[0], layout.width)
    for k, table in enumerate(tables):
        features = features + weight[:, k, None] * _hash_encode(points, table[None], layout, None)
    return features


def _check(points: Tensor, tables: Tensor, layout: HashLayout, which: Tensor | None) -> None:
    wanted = (layout.entries, layout.features)
    if tables.shape[1:] != wanted:
        raise BadInput(
            f"This layout has {wanted[0]} entries of {wanted[1]} features; the tables have "
            f"{tuple(tables.shape[1:])}. Make tables for the layout they are read with."
        )
    one_place(points, tables, which)
    if which is not None and which.numel():
        _check_which(which, tables.shape[0])


def _check_which(which: Tensor, tables: int) -> None:
    least, most = (int(x) for x in torch.aminmax(which))
    if least < 0 or most >= tables:
        raise BadInput(
            f"Points ask for tables {least} to {most}, but there are {tables} tables, from 0 on."
        )
