"""Moments to draw an avatar in without a recording: at rest, or with coefficients by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.core.camera import Camera, pinhole
from likeness.core.errors import BadInput, unknown
from likeness.core.expression import Expression
from likeness.core.files import read_json
from likeness.core.geometry import look_at
from likeness.rigs import RIGS

FIELD = 0.36  # metres that a picture shows at the distance of the head


def shape_names(rig: str, width: int) -> tuple[str, ...]:
    """The names of a rig's coefficients; numbers for rigs we do not have."""
    names = RIGS.load(rig)().shape_names if rig in RIGS else ()
    return tuple(names) if len(names) == width else tuple(f"{i}" for i in range(width))


def at_rest(avatar: Any) -> Expression:
    """The avatar's neutral face, its head and torso where they were in the middle of training."""
    if hasattr(avatar, "at_rest"):
        return _jointed(avatar.at_rest())
    neutral: Expression = RIGS.load(avatar.rig)().neutral()
    head = getattr(avatar, "rest_head", None)
    torso = getattr(avatar, "rest_torso", None)
    if isinstance(head, Tensor):
        head = head.detach().cpu()
        body = head @ torso.detach().cpu() if isinstance(torso, Tensor) else None
        neutral = replace(neutral, world_from_head=head, world_from_torso=body)
    return neutral


def _jointed(expression: Expression) -> Expression:
    """With the rig's joints at rest: fields keep none, and formats with a skeleton ask for them."""
    if expression.joints.shape[-2] or expression.rig not in RIGS:
        return expression
    return replace(expression, joints=RIGS.load(expression.rig)().neutral().joints)


def with_settings(
    expression: Expression, settings: tuple[str, ...], names: tuple[str, ...]
) -> Expression:
    """`expression` with coefficients set by name, such as `jawOpen=0.5`."""
    coefficients = expression.coefficients.clone()
    for word in " ".join(settings).split():
        name, equals, text = word.partition("=")
        if not equals:
            raise BadInput(f"--expression {word!r} should look like name=value.")
        if name not in names:
            raise unknown(f"coefficient of {expression.rig}", name, names)
        try:
            coefficients[names.index(name)] = float(text)
        except ValueError as error:
            raise BadInput(f"--expression {word!r}: {text!r} is not a number.") from error
    return replace(expression, coefficients=coefficients)


def head_place(expression: Expression) -> Tensor:
    """The middle of the head in the world: a little behind and below the eyes."""
    head = expression.world_from_head
    return head[:3, :3] @ head.new_tensor([0.0, -0.03, -0.07]) + head[:3, 3]


def portrait(expression: Expression, width: int, height: int, distance: float = 0.9) -> Camera:
    """A camera straight before the face, upright in the world."""
    head = expression.world_from_head
    target = head_place(expression)
    eye = target + distance * head[:3, 2]
    pose = look_at(eye, target, head.new_tensor([0.0, 1.0, 0.0]))
    return pinhole(min(width, height) * distance / FIELD, width, height, pose)


def cameras_from(path: Path) -> tuple[list[Camera], float]:
    """A camera path file: `width`, `height`, `fps`, and `cameras` with `intrinsics` (3x3, pixels)
    and `camera_from_world` (4x4) each."""
    data = read_json(path)
    try:
        size = int(data["width"]), int(data["height"])
        fps = float(data.get("fps", 25.0))
        cameras = [
            Camera(torch.tensor(c["intrinsics"]), torch.tensor(c["camera_from_world"]), *size)
            for c in data["cameras"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        wrong = json.dumps(str(error))
        raise BadInput(f"{path} is no camera path: {wrong} is missing or wrong.") from error
    if not cameras or any(
        c.intrinsics.shape != (3, 3) or c.camera_from_world.shape != (4, 4) for c in cameras
    ):
        raise BadInput(f"{path} needs cameras, each with 3x3 intrinsics and a 4x4 pose.")
    return cameras, fps
