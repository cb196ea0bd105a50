"""A small scene of riding splats for tests of what draws them."""

from dataclasses import fields, replace

import torch

from likeness.core.camera import pinhole
from likeness.core.geometry import axis_angle_to_matrix, look_at, rigid
from likeness.ops.portray import Changes
from likeness.ops.ride import Riders

CELLS = 18


def camera(width, height):
    up = torch.tensor([0.0, 1.0, 0.0])
    pose = look_at(torch.tensor([0.1, 0.05, 0.8]), torch.zeros(3), up)
    return pinhole(1.3 * width, width, height, pose)


def scene(count: int, degree: int, seed: int):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    corners = torch.stack([torch.randperm(40, generator=g)[:3] for _ in range(count)])
    weights = torch.rand(count, 3, generator=g) + 0.1
    riders = Riders(
        corners, weights / weights.sum(-1, keepdim=True), torch.rand(count, generator=g) < 0.7,
        0.03 * normal(count, 3), normal(count, 4), 0.5 * normal(count, 3) - 4.5, normal(count),
        0.5 + 0.4 * normal(count, 3), normal(count),
    )  # fmt: skip
    share = torch.rand(count, 4, generator=g)
    changes = Changes(
        0.01 * normal(5, 3 * CELLS), 0.1 * normal(5, 5 * CELLS),
        torch.randint(CELLS, (count, 4), generator=g), share / share.sum(-1, keepdim=True), 3,
        0.2 * normal(count, (degree + 1) ** 2 - 1, 3),
    )  # fmt: skip
    head, torso = (rigid(axis_angle_to_matrix(0.3 * normal(3)), 0.02 * normal(3)) for _ in range(2))
    return riders, changes, normal(5), 0.1 * normal(40, 3), head, torso


def double(x):
    names = [f.name for f in fields(x)]
    values = {name: getattr(x, name) for name in names}
    floats = {k: v for k, v in values.items() if torch.is_tensor(v) and v.is_floating_point()}
    return replace(x, **{k: v.double() for k, v in floats.items()})
