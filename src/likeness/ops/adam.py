"""Adam updates, in place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.ops.twins import pick


def adam_step(
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    resting: bool = False,
) -> None:
    """Update `parameter` and its running `mean` and `square` after `step` (from 1) gradients.

    With `resting`, entries whose gradient is zero are left as they are. Gradients that are not
    finite count as zero, so that one bad pixel cannot end a training.
    """
    twin = pick(_adam_step, parameter.device.type)
    twin(parameter, gradient, mean, square, step, rate, betas, eps, resting)


@torch.no_grad()
def _adam_step(
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    resting: bool = False,
) -> None:
    gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    moves = (gradient != 0) if resting else torch.ones_like(gradient, dtype=torch.bool)
    mean.copy_(torch.where(moves, mean.lerp(gradient, 1 - betas[0]), mean))
    fresh = square.mul(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    square.copy_(torch.where(moves, fresh, square))
    size = rate / (1 - betas[0] ** step)
    root = math.sqrt(1 - betas[1] ** step)
    change = mean / square.sqrt().div_(root).add_(eps)
    parameter.sub_(torch.where(moves, size * change, 0))


@dataclass(frozen=True, eq=False)
class Update:
    """What `adam_step` takes."""

    parameter: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    step: int
    rate: float
    betas: tuple[float, float]
    eps: float
    resting: bool = False


def adam_steps(updates: Sequence[Update]) -> None:
    """`adam_step` of each, of tensors on one device, at once."""
    if updates:
        pick(_adam_steps, updates[0].parameter.device.type)(updates)


def _adam_steps(updates: Sequence[Update]) -> None:
    for u in updates:
        adam_step(
            u.parameter, u.gradient, u.mean, u.square, u.step, u.rate, u.betas, u.eps, u.resting
        )  # fmt: skip


def adam_step_of_product(
    parameter: Tensor,
    weights: Tensor,
    parts: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    resting: bool = False,
) -> None:
    """The same for K tables whose gradient is `weights` (B K) times `parts` (B E)."""
    twin = pick(_adam_step_of_product, parameter.device.type)
    twin(parameter, weights, parts, mean, square, step, rate, betas, eps, resting)


@torch.no_grad()
def _adam_step_of_product(
    parameter: Tensor,
    weights: Tensor,
    parts: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    resting: bool = False,
) -> None:
    gradient = (weights.mT @ parts).view_as(parameter).to(parameter)
    adam_step(parameter, gradient, mean, square, step, rate, betas, eps, resting)
