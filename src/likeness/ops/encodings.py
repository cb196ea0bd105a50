"""Fixed encodings: a few coordinates become many features that a small network can tell apart."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput


def frequency_encoding(
    x: Float[Tensor, "*b D"],
    octaves: int,
    include_input: bool = True,
    log_spaced: bool = True,
    base: float = 1.0,
    progress: float | None = None,
) -> Float[Tensor, "*b E"]:
    """Sines and cosines of `x` at rising frequencies.

    The order is `[x,] sin(f0 x), cos(f0 x), sin(f1 x), ...`, each block as wide as `x`. Frequencies
    are `base * 2^k` when log-spaced, else evenly spaced between the first and last of those. There
    is no factor of pi unless `base` brings one. `progress` in [0, 1] opens the octaves one after
    another with a cosine ramp (coarse to fine); None leaves all open.
    """
    frequencies = base * _octaves(octaves, log_spaced, x)
    phase = x[..., None, :] * frequencies[:, None]  # *b octaves D
    waves = torch.stack([phase.sin(), phase.cos()], dim=-2)  # *b octaves 2 D
    if progress is not None:
        waves = waves * octave_window(octaves, progress).to(x)[:, None, None]
    waves = waves.flatten(-3)
    return torch.cat([x, waves], dim=-1) if include_input else waves


def frequency_width(dimensions: int, octaves: int, include_input: bool = True) -> int:
    """How many features `frequency_encoding` makes of `dimensions` coordinates."""
    return dimensions * (2 * octaves + include_input)


def _octaves(octaves: int, log_spaced: bool, like: Tensor) -> Float[Tensor, " octaves"]:
    if octaves < 0:
        raise BadInput(f"An encoding cannot have {octaves} octaves. Use 0 or more.")
    if log_spaced or octaves < 2:
        return 2.0 ** torch.arange(octaves, dtype=like.dtype, device=like.device)
    return torch.linspace(1, 2.0 ** (octaves - 1), octaves, dtype=like.dtype, device=like.device)


def octave_window(octaves: int, progress: float) -> Float[Tensor, " octaves"]:
    """How far each octave is open: octave k ramps from 0 to 1 while `octaves * progress` goes from
    k to k + 1, along half a cosine."""
    ramp = octaves * progress - torch.arange(octaves, dtype=torch.float64)
    return 0.5 - 0.5 * torch.cos(math.pi * ramp.clamp(0, 1))


def fourier_features(
    x: Float[Tensor, "*b D"],
    frequencies: Float[Tensor, "F D"],
    amplitudes: Float[Tensor, " F"] | None = None,
) -> Float[Tensor, "*b E"]:
    """Sines, then cosines, of `2 pi frequencies x`; a vector of length 1 (Gaussian features when
    the frequencies are drawn from a normal distribution). Keep the frequencies with the weights:
    drawn anew, they mean something else."""
    phase = 2 * math.pi * (x @ frequencies.mT)
    amplitudes = phase.new_ones(phase.shape[-1]) if amplitudes is None else amplitudes
    scale = amplitudes / torch.linalg.vector_norm(amplitudes).clamp(min=1e-12)
    return torch.cat([scale * phase.sin(), scale * phase.cos()], dim=-1)
