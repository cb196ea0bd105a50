"""What a learned field remembers of its person: rig, identity, rest pose, range of expressions."""

import json
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from likeness.core.errors import Unsupported
from likeness.core.expression import Expression
from likeness.core.rig import Identity

_PARTS = ("directions", "offsets", "shape_offsets", "modes")


@final
class Subject(nn.Module):
    """Buffers that make an avatar whole without its capture.

    `low` and `high` bound the condition (coefficients, then personal modes) to what training
    showed. `rest_head` and `rest_torso` (the torso seen from the head) are the pose in the middle
    of training. An empty `offsets` or `modes` stands for None.
    """

    about: Tensor
    low: Tensor
    high: Tensor
    rest_head: Tensor
    rest_torso: Tensor

    def __init__(
        self,
        rig: str,
        identity: Identity,
        expressions: Expression,
        low: Float[Tensor, " C"],
        high: Float[Tensor, " C"],
    ) -> None:
        super().__init__()
        self.rig, self.coefficients = rig, expressions.coefficients.shape[-1]
        about = json.dumps({"rig": rig, "coefficients": self.coefficients})
        heads = expressions.world_from_head.reshape(-1, 4, 4)
        bodies = expressions.world_from_torso
        bodies = heads if bodies is None else bodies.reshape(-1, 4, 4)
        places = heads[:, :3, :].flatten(1)
        middle = (places - places.median(0).values).square().sum(-1).argmin()
        for name, value in {
            "about": torch.tensor(list(about.encode()), dtype=torch.uint8),
            "low": low,
            "high": high,
            "rest_head": heads[middle],
            "rest_torso": torch.linalg.inv(heads[middle]) @ bodies[middle],
            **{n: _filled(getattr(identity, n), low) for n in _PARTS},
        }.items():
            self.register_buffer(name, value.detach().clone())

    @staticmethod
    def from_state(state: dict[str, Tensor]) -> "Subject":
        """The subject out of its own tensors alone."""
        about = json.loads(bytes(state["about"].tolist()).decode())
        width = int(about["coefficients"])
        like = state["low"]
        still = Expression(
            about["rig"], like.new_zeros(width), like.new_zeros(0, 3), state["rest_head"]
        )
        blank = Identity(about["rig"], like.new_zeros(0))
        made = Subject(about["rig"], blank, still, like, state["high"])
        for name, value in state.items():
            made.register_buffer(name, value.clone())
        return made

    @property
    def identity(self) -> Identity:
        parts = {n: getattr(self, n) for n in _PARTS[1:]}
        known = {n: v if v.numel() else None for n, v in parts.items()}
        return Identity(self.rig, getattr(self, "directions"), **known)  # noqa: B009

    @property
    def width(self) -> int:
        """How many numbers the condition has."""
        return self.low.shape[0]

    def condition(self, expression: Expression, clamp: bool = True) -> Float[Tensor, "*b C"]:
        """Coefficients and personal modes in a row, within the range of training.

        A driver without this person's modes gives zeros for them.
        """
        values = expression.coefficients
        if expression.rig != self.rig or values.shape[-1] != self.coefficients:
            raise Unsupported(
                f"This avatar listens to {self.coefficients} coefficients of the rig "
                f"{self.rig!r}; {values.shape[-1]} of {expression.rig!r} were given. Retarget them."
            )
        if modes := self.width - self.coefficients:
            personal = expression.personal
            if personal is None or personal.shape[-1] != modes:
                personal = values.new_zeros((*values.shape[:-1], modes))
            values = torch.cat([values, personal], -1)
        if not bool(values.isfinite().all()):
            raise Unsupported("An expression holds NaN. Check the track or the driver.")
        return torch.maximum(torch.minimum(values, self.high), self.low) if clamp else values

    def at_rest(self) -> Expression:
        """No expression, in the pose of the middle of training."""
        zeros = torch.zeros_like(self.low)
        head = self.rest_head
        return Expression(
            self.rig,
            zeros[: self.coefficients],
            zeros.new_zeros(0, 3),
            head,
            head @ self.rest_torso,
            zeros[self.coefficients :] if self.width > self.coefficients else None,
        )


def condition_range(
    expressions: Expression, frames: Tensor
) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """The least and greatest condition over some frames."""
    parts = [expressions.coefficients[frames]]
    if expressions.personal is not None:
        parts.append(expressions.personal[frames])
    values = torch.cat(parts, -1)
    return values.amin(0), values.amax(0)


def _filled(value: Tensor | None, like: Tensor) -> Tensor:
    return like.new_zeros(0) if value is None else value
