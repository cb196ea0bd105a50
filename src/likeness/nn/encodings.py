"""Encodings that remember how they were set, or learn."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from likeness.ops.encodings import fourier_features, frequency_encoding, frequency_width
from likeness.ops.harmonics import spherical_harmonics
from likeness.ops.hash_grid import HashLayout, blended_hash_encode, hash_encode, mixed


@final
class Frequencies(nn.Module):
    """`ops.encodings.frequency_encoding` of `dimensions` coordinates; `width` features."""

    def __init__(
        self,
        dimensions: int,
        octaves: int,
        include_input: bool = True,
        log_spaced: bool = True,
        base: float = 1.0,
    ) -> None:
        super().__init__()
        self.octaves, self.include_input = octaves, include_input
        self.log_spaced, self.base = log_spaced, base
        self.width = frequency_width(dimensions, octaves, include_input)

    def forward(
        self, x: Float[Tensor, "*b D"], progress: float | None = None
    ) -> Float[Tensor, "*b E"]:
        return frequency_encoding(
            x, self.octaves, self.include_input, self.log_spaced, self.base, progress
        )


@final
class GaussianFeatures(nn.Module):
    """Fourier features with normally distributed frequencies, kept in the state dict."""

    frequencies: Tensor

    def __init__(
        self, dimensions: int, count: int, deviation: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        drawn = torch.randn(count, dimensions, generator=generator)
        self.register_buffer("frequencies", deviation * drawn)
        self.width = 2 * count

    def forward(self, x: Float[Tensor, "*b D"]) -> Float[Tensor, "*b E"]:
        return fourier_features(x, self.frequencies)


@final
class Directions(nn.Module):
    """Spherical harmonics of unit directions, up to a degree of 4."""

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.degree = degree
        self.width = (degree + 1) ** 2

    def forward(self, directions: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b H"]:
        return spherical_harmonics(directions, self.degree)


@final
class HashGrid(nn.Module):
    """One learned hash table over the unit cube."""

    def __init__(
        self, layout: HashLayout, generator: torch.Generator | None = None, spread: float = 1e-4
    ) -> None:
        super().__init__()
        self.layout, self.width = layout, layout.width
        self.table = nn.Parameter(_small((1, layout.entries, layout.features), generator, spread))

    def forward(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N E"]:
        return hash_encode(points, self.table, self.layout)


@final
class BlendedHashGrid(nn.Module):
    """A neutral table and one per coefficient, mixed before the lookup (NeRFBlendShape)."""

    def __init__(
        self,
        layout: HashLayout,
        coefficients: int,
        generator: torch.Generator | None = None,
        spread: float = 1e-4,
    ) -> None:
        super().__init__()
        self.layout, self.width = layout, layout.width
        shape = (layout.entries, layout.features)
        self.neutral = nn.Parameter(_small((1, *shape), generator, spread))
        self.basis = nn.Parameter(_small((coefficients, *shape), generator, spread))

    def forward(
        self,
        points: Float[Tensor, "N 3"],
        coefficients: Float[Tensor, "B K"],
        which: Int[Tensor, " N"] | None = None,
        tables: Float[Tensor, "B entries C"] | None = None,
    ) -> Float[Tensor, "N E"]:
        """Features of points; point `n` sees the head with coefficients of row `which[n]`.
        `tables` are what `mix` made of these coefficients, for those who look several times."""
        if tables is not None:
            return hash_encode(points, tables, self.layout, which)
        return blended_hash_encode(
            points, self.basis, coefficients, self.layout, which, self.neutral
        )

    def mix(self, coefficients: Float[Tensor, "B K"]) -> Float[Tensor, "B entries C"]:
        """One table for each row of coefficients."""
        return mixed(self.basis, coefficients, self.neutral)


def _small(shape: tuple[int, ...], generator: torch.Generator | None, spread: float) -> Tensor:
    return (2 * torch.rand(shape, generator=generator) - 1) * spread
