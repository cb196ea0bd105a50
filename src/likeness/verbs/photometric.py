"""A photometric stage for driving frames: pose and expression fitted to each picture, the avatar
frozen.

It answers how well an avatar could follow a driver if tracking were perfect. Figures after it are
fitted to the frames they are taken on: they stand apart from all others.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from likeness.core.avatar import Differentiable, Picture
from likeness.core.batching import move, take
from likeness.core.camera import Camera
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, Unsupported
from likeness.core.expression import Expression
from likeness.core.geometry import se3_exp
from likeness.core.track import Track
from likeness.ops.image import l1_dssim
from likeness.verbs.figures import Box, head_box
from likeness.verbs.loading import Behind

EVERY = 4  # of the held-out frames, which are fitted
RATE = 1.0  # of Adam at the start, in the units below; a tenth of it at the end
_UNITS = {"turn": 2e-3, "shift": 4e-4, "coefficients": 1e-2, "personal": 2e-2}
_HOLD = 1e-6  # weight of the corrections' squares, in those units


@dataclass(frozen=True, eq=False)
class Fitted:
    """One frame after the stage."""

    picture: Picture
    expression: Expression
    loss: tuple[float, float]
    """Before and after."""
    seconds: float


class Correction(nn.Module):
    """Small changes of one moment: motions of head and torso in their own frames, coefficients and
    personal modes. Each number is in a unit in which a step of 1 is small but can be seen."""

    def __init__(self, expression: Expression) -> None:
        super().__init__()
        like, personal = expression.coefficients, expression.personal
        self.expression = expression
        self.head = nn.Parameter(like.new_zeros(6))
        self.torso = nn.Parameter(like.new_zeros(6))
        self.coefficients = nn.Parameter(torch.zeros_like(like))
        self.personal = None if personal is None else nn.Parameter(torch.zeros_like(personal))
        turn, shift = _UNITS["turn"], _UNITS["shift"]
        self.motion = like.new_tensor([turn] * 3 + [shift] * 3)

    def forward(self) -> Expression:
        given = self.expression
        torso = given.world_from_head if given.world_from_torso is None else given.world_from_torso
        personal = given.personal
        if self.personal is not None and personal is not None:
            personal = personal + _UNITS["personal"] * self.personal
        return replace(
            given,
            world_from_head=given.world_from_head @ se3_exp(self.motion * self.head),
            world_from_torso=torso @ se3_exp(self.motion * self.torso),
            coefficients=given.coefficients + _UNITS["coefficients"] * self.coefficients,
            personal=personal,
        )

    def size(self) -> Tensor:
        """Sum of squares."""
        return torch.stack([p.square().sum() for p in self.parameters()]).sum()


def check(avatar: Any, steps: int) -> None:
    """Refuse what cannot be fitted before any frame is drawn."""
    if not 1 <= steps <= 10_000:
        raise BadInput(f"--photometric {steps} is not between 1 and 10000 steps.")
    if not isinstance(avatar, Differentiable):
        raise Unsupported(
            f"Avatars of the class {type(avatar).__name__} cannot be drawn with gradients, so no "
            "photometric stage is possible. Leave --photometric out."
        )


def fit_frame(
    avatar: Any,
    capture: Capture,
    track: Track,
    index: int,
    behind: Behind,
    steps: int,
    device: str = "cpu",
    rate: float = RATE,
) -> Fitted:
    """Adam on the corrections of one frame, by L1 and D-SSIM in the head's box."""
    started = time.perf_counter()
    camera: Camera = move(take(track.cameras, index), device)
    tracked: Expression = move(take(track.expressions, index), device)
    truth = capture[index].rgb.to(device)
    backdrop = behind.at(camera).to(device)
    box = box_for(track, index)
    cut = truth[box].contiguous()
    correction = Correction(tracked)
    optimizer = torch.optim.Adam(correction.parameters(), lr=rate, betas=(0.9, 0.95))
    best, first, kept = float("inf"), 0.0, tracked
    with frozen(avatar), torch.enable_grad():
        for step in range(steps + 1):
            now = correction()
            drawn = avatar.drawn(camera, now).over(backdrop)[box].contiguous()
            loss = l1_dssim(drawn, cut)
            value = float(loss.detach())
            first = value if step == 0 else first
            if value < best:
                best, kept = value, detached(now)
            if step == steps:
                break
            optimizer.zero_grad(set_to_none=True)
            (loss + _HOLD * correction.size()).backward()
            optimizer.param_groups[0]["lr"] = rate * 0.1 ** (step / steps)
            optimizer.step()
    with torch.no_grad():
        picture = move(avatar.render(camera, kept), "cpu")
    return Fitted(picture, move(kept, "cpu"), (first, best), time.perf_counter() - started)


def box_for(track: Track, index: int) -> Box:
    """The head's box; the whole picture where nobody knows it."""
    landmarks = None if track.landmarks is None else track.landmarks[index]
    regions = None if track.maps is None else track.maps.regions(index)
    size = track.cameras.width, track.cameras.height
    return head_box(landmarks, regions, *size) or (slice(0, size[1]), slice(0, size[0]))


def detached(expression: Expression) -> Expression:
    values = {n: getattr(expression, n) for n in Expression.BATCHED}
    return replace(expression, **{n: v.detach() for n, v in values.items() if v is not None})


class frozen:
    """Within this block a module's parameters ask for no gradient."""

    def __init__(self, module: nn.Module) -> None:
        self.learned = [p for p in module.parameters() if p.requires_grad]

    def __enter__(self) -> None:
        for parameter in self.learned:
            parameter.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for parameter in self.learned:
            parameter.requires_grad_(True)
