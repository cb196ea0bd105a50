"""Compositing samples along rays: how much each one counts, and what the pixel then is.

`density` is per metre and `step` the metres each sample stands for, nearest first. Dense functions
take the same number of samples on every ray. Packed ones take all samples of all rays in one row:
ray r owns samples `offsets[r]` up to `offsets[r + 1]`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.ops.twins import pick

BACKDROP_STEP = 1e10  # metres: with the density below, as good as a wall
_BACKDROP_DENSITY = 1e-6


@dataclass(frozen=True, eq=False)
class Composite:
    """What rays see. `values` is whatever was composited (colour, classes, ...), premultiplied.

    `opacity` is the sum of the weights, so what lies behind shows by `1 - opacity`. `depth` is the
    weighted sum of distances, not divided by opacity; None without distances. `weights` has the
    layout of the samples.
    """

    values: Float[Tensor, "*r C"]
    opacity: Float[Tensor, "*r"]
    depth: Float[Tensor, "*r"] | None
    weights: Float[Tensor, "*samples"]


def intervals(
    t: Float[Tensor, "*r S"], directions: Float[Tensor, "*r 3"], last: float = BACKDROP_STEP
) -> Float[Tensor, "*r S"]:
    """The metres from each sample to the next one, where `t` counts in units of `directions`.

    `last` is what the last sample stands for, in the same units.
    """
    steps = torch.cat([t[..., 1:] - t[..., :-1], torch.full_like(t[..., :1], last)], dim=-1)
    return steps * torch.linalg.vector_norm(directions, dim=-1, keepdim=True)


def backdrop_last(
    density: Float[Tensor, "*r S"],
    values: Float[Tensor, "*r S C"],
    backdrop: Float[Tensor, "*r C"] | None,
) -> tuple[Float[Tensor, "*r S"], Float[Tensor, "*r S C"]]:
    """Makes the last sample of each ray a wall that carries `backdrop` (NeRFace).

    Composite the result with `intervals`: opacity is then 1 everywhere, and the last weight is how
    much of the backdrop shows. Without a backdrop the last sample keeps its own values.
    """
    end = torch.zeros_like(density)
    end[..., -1:] = _BACKDROP_DENSITY
    if backdrop is not None:
        values = torch.cat([values[..., :-1, :], backdrop[..., None, :].to(values)], dim=-2)
    return density + end, values


def composite_weights(
    density: Float[Tensor, "*r S"], step: Float[Tensor, "*r S"], stop: float = 0.0
) -> Float[Tensor, "*r S"]:
    """How much each sample along a ray contributes to its pixel.

    The weights of a ray sum to its opacity, so never to more than 1. Samples behind which less
    than `stop` of the light was left when they were reached count nothing.
    """
    thickness = density * step
    # shifted, not subtracted: a last step of 1e10 metres would swallow everything in front of it
    in_front = torch.nn.functional.pad(thickness[..., :-1].cumsum(-1), (1, 0))
    in_front = in_front[..., : thickness.shape[-1]]
    transmitted = torch.exp(-in_front)
    return transmitted * -torch.expm1(-thickness) * (transmitted >= stop)


def composite(
    density: Float[Tensor, "*r S"],
    step: Float[Tensor, "*r S"],
    values: Float[Tensor, "*r S C"],
    t: Float[Tensor, "*r S"] | None = None,
    stop: float = 0.0,
) -> Composite:
    """Values, opacity and (given the distances `t`) depth of rays with as many samples each.

    What happens at `stop` is told in `composite_weights`; it is a constant to gradients, which go
    to everything else, one order only on fast paths.
    """
    _check_places(density, step, values)
    return pick(_composite, density.device.type)(density, step, values, t, stop)


def _composite(
    density: Tensor, step: Tensor, values: Tensor, t: Tensor | None, stop: float
) -> Composite:
    weights = composite_weights(density, step, stop)
    return Composite(
        (weights[..., None] * values).sum(-2),
        weights.sum(-1),
        None if t is None else (weights * t).sum(-1),
        weights,
    )


def composite_packed(
    density: Float[Tensor, " N"],
    step: Float[Tensor, " N"],
    values: Float[Tensor, "N C"],
    offsets: Int[Tensor, " R1"],
    t: Float[Tensor, " N"] | None = None,
    stop: float = 0.0,
) -> Composite:
    """`composite` for rays with a number of samples of their own, none included."""
    _check_places(density, step, values, offsets)
    check_offsets(offsets, density.shape[0])
    twin = pick(_composite_packed, density.device.type)
    return twin(density, step, values, offsets, t, stop)


def _composite_packed(
    density: Tensor, step: Tensor, values: Tensor, offsets: Tensor, t: Tensor | None, stop: float
) -> Composite:
    rows, columns, longest = _padded_places(offsets, density.shape[0])
    rays = offsets.shape[0] - 1

    def padded(x: Tensor) -> Tensor:
        empty = x.new_zeros(rays, longest, *x.shape[1:])
        return empty.index_put((rows, columns), x)

    dense = _composite(
        padded(density), padded(step), padded(values), None if t is None else padded(t), stop
    )
    return Composite(dense.values, dense.opacity, dense.depth, dense.weights[rows, columns])


def _padded_places(offsets: Tensor, count: int) -> tuple[Tensor, Tensor, int]:
    """Row and column of every packed sample in a rectangle with a row per ray."""
    lengths = offsets.diff()
    rows = ray_of_sample(offsets, count)
    columns = torch.arange(count, device=offsets.device) - offsets[:-1][rows]
    return rows, columns, int(lengths.max()) if lengths.numel() else 0


def ray_of_sample(offsets: Int[Tensor, " R1"], count: int) -> Int[Tensor, " N"]:
    """Which ray each of `count` packed samples lies on."""
    rays = torch.arange(offsets.shape[0] - 1, device=offsets.device)
    return torch.repeat_interleave(rays, offsets.diff(), output_size=count)


def _check_places(*tensors: Tensor) -> None:
    places = {str(x.device) for x in tensors}
    if len(places) > 1:
        raise BadInput(
            f"Samples to composite lie on {' and '.join(sorted(places))}. Move them to one device."
        )


def check_offsets(offsets: Int[Tensor, " R1"], count: int) -> None:
    """Raise unless `offsets` cuts `count` samples into rays."""
    ends = (int(offsets[0]), int(offsets[-1])) if offsets.numel() else (0, -1)
    if ends != (0, count) or bool((offsets.diff() < 0).any()):
        raise BadInput(
            f"Offsets of packed rays must rise from 0 to the {count} samples there are; these go "
            f"from {ends[0]} to {ends[1]}. Build them by a cumulative sum of samples per ray."
        )


@dataclass(frozen=True, eq=False)
class Progress:
    """Rays on their way, when samples come in rounds: what they have gathered so far."""

    values: Float[Tensor, "R C"]
    opacity: Float[Tensor, " R"]
    depth: Float[Tensor, " R"]
    alive: Bool[Tensor, " R"]


def composite_round(
    so_far: Progress,
    density: Float[Tensor, "R S"],
    step: Float[Tensor, "R S"],
    values: Float[Tensor, "R S C"],
    t: Float[Tensor, "R S"],
    stop: float,
) -> Progress:
    """`so_far` and one more round of samples; how they fall into rounds changes nothing.

    A slot with a step of 0 is unused, and ends its ray. A ray also ends with the first sample that
    less than `stop` of the light reached, which still counts (as NeRFBlendShape draws pictures).
    """
    used = (step > 0).cumprod(-1).bool() & so_far.alive[:, None]
    thickness = torch.where(used, density * step, 0)
    in_front = torch.nn.functional.pad(thickness.cumsum(-1), (1, 0))
    reaching = (1 - so_far.opacity[:, None]) * torch.exp(-in_front[:, :-1])
    lit = torch.nn.functional.pad(reaching[:, :-1] >= stop, (1, 0), value=True)
    lit = lit[:, : reaching.shape[1]] & used
    weights = torch.where(lit, reaching * -torch.expm1(-thickness), 0)
    return Progress(
        so_far.values + (weights[..., None] * values).sum(1),
        so_far.opacity + weights.sum(1),
        so_far.depth + (weights * t).sum(1),
        (lit & (reaching >= stop)).all(1) & so_far.alive,
    )
