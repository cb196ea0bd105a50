"""Adam on the fused kernel, with a state that resumes bit for bit."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from likeness.ops.adam import Update, adam_step_of_product, adam_steps
from likeness.ops.products import forget_products, keep_products, products_of, write_out


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of torch's without what keeps its compiler out: to be kept out the compiler is
    imported, which takes most of a second, and an Adam of ours is never compiled."""
    return getattr(method, "__wrapped__", method)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015) without weight decay; one fused update per parameter.

    `resting` entries, whose gradient is exactly zero, are left as they are, their running means
    too: in a large table of which a step looks up little, they would move on old gradients alone.
    Gradients of `mixed` tables are kept as products (see ops.products) and made here, a few at a
    time; the update is the same. Those who read `grad` call `write_out` before.
    """

    add_param_group = _plain(Optimizer.add_param_group)
    state_dict = _plain(Optimizer.state_dict)
    load_state_dict = _plain(Optimizer.load_state_dict)

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        resting: bool = False,
        mixed: Iterable[Tensor] = (),
    ) -> None:
        _plain(Optimizer.__init__)(self, params, {"lr": lr, "betas": betas, "eps": eps})
        self.resting = resting
        for tables in mixed:
            keep_products(tables)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                forget_products(parameter)
        _plain(Optimizer.zero_grad)(self, set_to_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        updates: list[Update] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if group["lr"] == 0:
                    continue
                if parameter.grad is not None:
                    write_out(parameter)
                products, gradient = products_of(parameter), parameter.grad
                if gradient is None and not products:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                state["step"] += 1
                how = (state["step"], group["lr"], group["betas"], group["eps"], self.resting)
                means = (state["exp_avg"], state["exp_avg_sq"])
                if gradient is None:
                    one = len(products) == 1
                    weights, parts = products[0] if one else (torch.cat(x) for x in zip(*products))
                    adam_step_of_product(parameter, weights, parts, *means, *how)
                else:
                    updates.append(Update(parameter, gradient.contiguous(), *means, *how))
        adam_steps(updates)
        return loss
