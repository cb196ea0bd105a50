"""From where, and in which expressions, an avatar is looked at for its texture."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.avatar import Reach, RemembersTraining
from likeness.core.camera import Camera, pinhole
from likeness.core.expression import Expression
from likeness.core.geometry import look_at, transform
from likeness.exporters.surface import Skinned

_TURNS = (
    (0, 0), (18, 0), (-18, 0), (35, 0), (-35, 0), (65, 0), (-65, 0), (0, 25), (0, -20),
)  # yaw, pitch, degrees  # fmt: skip
_OPEN = {"jawOpen": 0.6}
_BARED = {
    "jawOpen": 0.2, "mouthUpperUpLeft": 0.8, "mouthUpperUpRight": 0.8, "mouthSmileLeft": 0.6,
    "mouthSmileRight": 0.6, "mouthLowerDownLeft": 0.8, "mouthLowerDownRight": 0.8,
}  # fmt: skip
_CLOSED = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}
_ASIDE = {"eyeWideLeft": 0.6, "eyeWideRight": 0.6, "eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8}
_OTHER = {"eyeWideLeft": 0.6, "eyeWideRight": 0.6, "eyeLookInLeft": 0.8, "eyeLookOutRight": 0.8}
_FACES = (
    (_OPEN, 0.02, 1.0), (_BARED, 0.02, 1.0), (_CLOSED, 0.03, 0.0), (_ASIDE, 0.0, 0.2),
    (_OTHER, 0.0, 0.2),
)  # coefficients; weight for what is on the outside, and for what lies inside  # fmt: skip
_FIELD, _DISTANCE = 0.36, 0.9
_SLACK, _FADE = 0.1, 0.15  # radians beyond training at which pictures begin to count less, and how
_LEAST = 0.002  # fast they do; what they still count where nothing better is known
_UNKNOWN = 0.35  # radians that training is taken to have shown where it was not kept


@dataclass(frozen=True, eq=False)
class View:
    """A look at the avatar; how much it counts for what is outside, and for what lies inside."""

    camera: Camera
    expression: Expression
    weight: float
    inside: float


def views(avatar: Any, surface: Skinned, rest: Expression, pixels: int) -> list[View]:
    """The face at rest from all sides, and expressions from before.

    Avatars that remember their training are asked only for expressions they know, and pictures from
    sides that they never showed count little.
    """
    reach = avatar.reach(0.1) if isinstance(avatar, RemembersTraining) else None
    made = []
    for yaw, pitch in _TURNS:
        angle = float(np.hypot(np.radians(yaw), np.radians(pitch)))
        weight = faith(angle, reach)
        made.append(View(_camera(rest.world_from_head, yaw, pitch, pixels), rest, weight, weight))
    for face, outside, inside in _FACES:
        if all(name in surface.names for name in face):
            moment = replace(rest, coefficients=_face(surface, rest.coefficients, face, reach))
            made.append(View(made[0].camera, moment, outside, inside))
    return made


def faith(angle: float, reach: Reach | None) -> float:
    """How far a picture from `angle` (radians) beside the face can be believed."""
    if reach is None:
        return 1.0
    turn = _UNKNOWN if reach.turn is None else reach.turn
    beyond = max(angle - turn - _SLACK, 0.0) / _FADE
    return max(float(np.exp(-beyond * beyond)), _LEAST)


def _face(surface: Skinned, rest: Tensor, face: dict[str, float], reach: Reach | None) -> Tensor:
    coefficients = rest.clone()
    for name, value in face.items():
        coefficients[surface.names.index(name)] = value
    if reach is None or reach.high.shape != coefficients.shape:
        return coefficients
    return torch.maximum(torch.minimum(coefficients, reach.high.to(rest)), reach.low.to(rest))


def _camera(head: Tensor, yaw: float, pitch: float, pixels: int) -> Camera:
    target = transform(head, torch.tensor([[0.0, -0.03, -0.07]]))[0]
    a, b = np.radians(yaw), np.radians(pitch)
    aside = torch.tensor(
        [np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)], dtype=torch.float32
    )
    eye = target + _DISTANCE * (head[:3, :3] @ aside)
    return pinhole(pixels * _DISTANCE / _FIELD, pixels, pixels, look_at(eye, target, head[:3, 1]))
