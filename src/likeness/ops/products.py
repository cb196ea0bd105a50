"""Gradients of many tables that are mixed before they are read, kept as products of two small ones.

Mixed with weights, K tables have as their gradient those weights times the gradient of each
mixture: K times as many numbers as either, and none of them new. Writing them out, and reading them
again, costs more than everything else a step does with large tables.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.ops.twins import pick

Product = tuple[Tensor, Tensor]
"""Weights (B K) and what they multiply (B E): their sum of products (K E) is meant."""
_NAME = "gradient_products"


def keep_products(tables: Tensor) -> None:
    """From now on `mixed_tables` keeps the gradients of these tables as products."""
    setattr(tables, _NAME, [])


def keeps_products(tables: Tensor) -> bool:
    return hasattr(tables, _NAME) and tables.requires_grad


def products_of(tables: Tensor) -> list[Product]:
    """Those since `forget_products`; in all they are the gradient, beside what is in `grad`."""
    return getattr(tables, _NAME, [])


def forget_products(tables: Tensor) -> None:
    products_of(tables).clear()


@torch.no_grad()
def write_out(tables: Tensor) -> None:
    """Make `grad` the whole gradient, for those who know of nothing else."""
    for weights, parts in products_of(tables):
        sums = (weights.mT @ parts).view_as(tables).to(tables)
        tables.grad = sums if tables.grad is None else tables.grad.add_(sums)
    forget_products(tables)


def mixed_tables(
    tables: Float[Tensor, "K E"], blend: Float[Tensor, "B K"], base: Float[Tensor, "1 E"] | None
) -> Float[Tensor, "B E"]:
    """Sums of tables, weighted with each row of `blend`, and of `base`."""
    twin = pick(_mixed_tables, tables.device.type)
    return twin(tables, blend, base)


def _mixed_tables(tables: Tensor, blend: Tensor, base: Tensor | None) -> Tensor:
    return blend @ tables if base is None else torch.addmm(base, blend, tables)


class Mixed(torch.autograd.Function):
    """The same for tables of any shape, whose gradient is kept as a product where that was asked
    for, and else written."""

    @staticmethod
    def forward(ctx: Any, tables: Tensor, blend: Tensor, base: Tensor | None) -> Tensor:
        ctx.save_for_backward(tables, blend)
        ctx.kept = products_of(tables) if keeps_products(tables) else None
        return mixed_tables(tables.flatten(1), blend, base)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tables, blend = ctx.saved_tensors
        to_tables = to_blend = to_base = None
        if ctx.kept is not None:
            ctx.kept.append((blend.detach(), gradient))
        elif ctx.needs_input_grad[0]:
            to_tables = (blend.mT @ gradient).view_as(tables)
        if ctx.needs_input_grad[1]:
            to_blend = gradient @ tables.flatten(1).mT
        if ctx.needs_input_grad[2]:
            to_base = gradient.sum(0, keepdim=True)
        return to_tables, to_blend, to_base
