"""What a learned field remembers of its person: rig, identity, rest pose, range of expressions."""

import json
import logging
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from likeness.core.avatar import Reach
from likeness.core.errors import Unsupported
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, matrix_to_axis_angle
from likeness.core.rig import Identity

_log = logging.getLogger(__name__)
_FAR = 0.05  # beyond the range of training, from where on it is said
_PARTS = ("directions", "offsets", "shape_offsets", "modes")


@final
class Subject(nn.Module):
    """Buffers that make an avatar whole without its capture.

    `low` and `high` bound the condition (coefficients, then personal modes, then six numbers of
    the torso's motion where `torso` is asked for) to what training showed. `rest_head` and
    `rest_torso` (the torso seen from the head) are the pose in the middle of training. An empty
    `offsets` or `modes` stands for None.
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
        torso: bool = False,
    ) -> None:
        super().__init__()
        self.rig, self.coefficients = rig, expressions.coefficients.shape[-1]
        self.torso = torso
        self._said = False
        about = json.dumps({"rig": rig, "coefficients": self.coefficients, "torso": torso})
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
        made = Subject(about["rig"], blank, still, like, state["high"], about["torso"])
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

    @property
    def personal(self) -> int:
        """How many personal modes are among them."""
        return self.width - self.coefficients - (6 if self.torso else 0)

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
        if modes := self.personal:
            personal = expression.personal
            if personal is None or personal.shape[-1] != modes:
                personal = values.new_zeros((*values.shape[:-1], modes))
            values = torch.cat([values, personal], -1)
        if self.torso:
            values = torch.cat([values, torso_motion(expression, self.rest_torso)], -1)
        if not bool(values.isfinite().all()):
            raise Unsupported("An expression holds NaN. Check the track or the driver.")
        if not clamp:
            return values
        held = torch.maximum(torch.minimum(values, self.high), self.low)
        self._say_once(values, held)
        return held

    def _say_once(self, values: Tensor, held: Tensor) -> None:
        """Warn of the first condition that was clamped by much."""
        if self._said or not self.low.numel():
            return
        beyond = (values - held).abs().reshape(-1, self.width)
        if float(beyond.max()) <= _FAR:
            return
        self._said = True
        row, which = divmod(int(beyond.argmax()), self.width)
        _log.warning(
            "Expressions reach beyond what training showed and are held at its edge (first: number "
            "%d of %d is %.2f, held at %.2f).", which, self.width,
            float(values.reshape(-1, self.width)[row, which]),
            float(held.reshape(-1, self.width)[row, which]),
        )  # fmt: skip

    def reach(self) -> Reach:
        """The bounds of the coefficients; rest is zero, which every rig can be put at."""
        low, high = (x[: self.coefficients].clamp(-1, 1) for x in (self.low, self.high))
        return Reach(torch.zeros_like(low), low.clamp(max=0), high.clamp(min=0))

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
            zeros[: self.personal] if self.personal else None,
        )


def torso_motion(expression: Expression, rest_torso: Float[Tensor, "4 4"]) -> Float[Tensor, "*b 6"]:
    """How the torso has turned (radians) and moved (decimetres) against the head since rest."""
    head = expression.world_from_head
    torso = head if expression.world_from_torso is None else expression.world_from_torso
    motion = invert_rigid(head) @ torso @ invert_rigid(rest_torso)
    return torch.cat([matrix_to_axis_angle(motion[..., :3, :3]), 10 * motion[..., :3, 3]], -1)


def subject_of(
    rig: str, identity: Identity, expressions: Expression, torso: bool = False
) -> Subject:
    """A subject whose range is that of some expressions."""
    width = expressions.coefficients.shape[-1]
    width += 0 if expressions.personal is None else expressions.personal.shape[-1]
    endless = torch.full((width + (6 if torso else 0),), torch.inf)
    made = Subject(rig, identity, expressions, -endless, endless, torso)
    seen = made.condition(expressions, clamp=False)
    made.low.copy_(seen.amin(0))
    made.high.copy_(seen.amax(0))
    return made


def _filled(value: Tensor | None, like: Tensor) -> Tensor:
    return like.new_zeros(0) if value is None else value
