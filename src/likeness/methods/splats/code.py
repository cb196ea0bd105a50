"""From an expression to a short code: what the appearance of this head may depend on."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, matrix_to_axis_angle

# How far apart two values of a signal look, so that a principal direction means visible change.
TURN = 3.0  # per radian of head turn: shading follows it
SHIFT = 5.0  # per metre of the torso against the head
_REACH = 0.7  # of the range seen in training: its outermost frames are few and teach little
_BEND_REACH = 2.5  # of the range of bends seen: they are smooth and go on as they began
BEND = 0.05  # of a mode counts as one: bends are known, and what is added to them learns slowly
_FEWEST, _TAUGHT_BY = 3, 25  # numbers of a code, and frames that each of more needs
_SMALL = 0.05  # directions with less spread than this are noise and stay small


@dataclass(frozen=True, eq=False)
class RestPose:
    """Head and torso in the middle of the training frames; features are relative to it."""

    world_from_head: Float[Tensor, "4 4"]
    head_from_torso: Float[Tensor, "4 4"]
    frame: int = 0


def torso_in_head(expression: Expression) -> Float[Tensor, "*b 4 4"]:
    """The torso's motion seen from the head; identity where the torso is not known apart."""
    head = expression.world_from_head
    if expression.world_from_torso is None:
        return torch.eye(4, dtype=head.dtype, device=head.device).expand_as(head)
    return invert_rigid(head) @ expression.world_from_torso


def features(
    expression: Expression, rest: RestPose, personal: int, bends: int
) -> Float[Tensor, "*b F"]:
    """Coefficients, personal modes, head turn, torso motion and bends, in comparable units.

    `personal` and `bends` are how many modes of face and clothes this person has; a driver
    without them gives zeros.
    """
    coefficients = expression.coefficients
    modes = _weights(expression.personal, coefficients, personal)
    turn = rest.world_from_head[:3, :3].mT @ expression.world_from_head[..., :3, :3]
    torso = torso_in_head(expression) @ invert_rigid(rest.head_from_torso)
    parts = [
        coefficients,
        modes,
        expression.joints.flatten(-2),
        TURN * matrix_to_axis_angle(turn),
        TURN * matrix_to_axis_angle(torso[..., :3, :3]),
        SHIFT * torso[..., :3, 3],
        _weights(expression.torso, coefficients, bends),
    ]
    return torch.cat(parts, -1)


def turns_of(values: Float[Tensor, "T F"], before: int) -> Float[Tensor, "T 3"]:
    """The turns of the head behind features, as axis-angle against rest; `before` is how many
    numbers of face and joints come first."""
    return values[:, before : before + 3] / TURN


def _weights(given: Tensor | None, like: Tensor, count: int) -> Tensor:
    if given is None or given.shape[-1] != count:
        return like.new_zeros((*like.shape[:-1], count))
    return given


class Code(nn.Module):
    """Features to a few independent numbers, clamped to what training showed.

    A linear map to principal directions of the training frames: zero is the average frame, one a
    standard deviation. Beyond the range seen in training the code stays at its edge, because a
    basis says nothing out there.
    """

    mean: Tensor
    directions: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, mean: Tensor, directions: Tensor, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def forward(self, values: Float[Tensor, "*b F"]) -> Float[Tensor, "*b K"]:
        code = (values - self.mean) @ self.directions
        return torch.maximum(torch.minimum(code, self.high), self.low)


def affordable_numbers(frames: int, most: int) -> int:
    """How many numbers of a code so many training frames can teach (decision 0023)."""
    return min(most, max(_FEWEST, frames // _TAUGHT_BY))


def learn_code(values: Float[Tensor, "T F"], size: int, bends: int = 0) -> Code:
    """The code of a set of training frames: `size` principal directions, then the last `bends`
    features as they are. Asking for more directions than there are leaves zeros."""
    mean = values.mean(0)
    centred = values - mean
    plain = centred[:, : values.shape[1] - bends]
    _, spread, basis = torch.linalg.svd(plain, full_matrices=False)
    spread = spread / max(len(values) - 1, 1) ** 0.5
    kept = min(size, len(spread))
    directions = values.new_zeros(values.shape[1], size + bends)
    directions[: plain.shape[1], :kept] = basis[:kept].T / spread[:kept].clamp(min=_SMALL)
    directions[plain.shape[1] :, size:] = BEND * torch.eye(bends).to(values)
    seen = centred @ directions
    reach = seen.new_full((size + bends,), _BEND_REACH)
    reach[:size] = _REACH
    return Code(mean, directions, reach * seen.amin(0), reach * seen.amax(0))


class Regression(nn.Module):
    """Pose and expression corrections predicted from features: what refinement taught, kept.

    Ridge regression, refitted in closed form; predictions are clamped to the range of the
    corrections it has seen. Starts as no correction at all.
    """

    mean: Tensor
    weights: Tensor
    bias: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("weights", torch.zeros(inputs, outputs))
        self.register_buffer("bias", torch.zeros(outputs))
        self.register_buffer("low", torch.zeros(outputs))
        self.register_buffer("high", torch.zeros(outputs))

    def forward(self, values: Float[Tensor, "*b F"]) -> Float[Tensor, "*b C"]:
        predicted = (values - self.mean) @ self.weights + self.bias
        return torch.maximum(torch.minimum(predicted, self.high), self.low)

    @torch.no_grad()
    def fit(self, values: Float[Tensor, "T F"], corrections: Float[Tensor, "T C"]) -> None:
        """Least squares with a ridge whose strength is chosen by leaving blocks of frames out."""
        count = len(values)
        blocks = torch.arange(count, device=values.device) * 5 // max(count, 1)
        best, best_error = 1e3, float("inf")
        for ridge in (1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3):
            error = 0.0
            for block in range(5):
                out = blocks == block
                if out.all() or not out.any():
                    continue
                mean, weights, bias = _ridge(values[~out], corrections[~out], ridge)
                missed = corrections[out] - ((values[out] - mean) @ weights + bias)
                error += float(missed.square().sum())
            if error < best_error:
                best, best_error = ridge, error
        mean, weights, bias = _ridge(values, corrections, best)
        self.mean.copy_(mean)
        self.weights.copy_(weights)
        self.bias.copy_(bias)
        self.low.copy_(corrections.amin(0))
        self.high.copy_(corrections.amax(0))


def _ridge(values: Tensor, targets: Tensor, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    mean, bias = values.mean(0), targets.mean(0)
    x, y = (values - mean).double(), (targets - bias).double()
    gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return mean, torch.linalg.solve(gram, x.T @ y).to(values.dtype), bias
