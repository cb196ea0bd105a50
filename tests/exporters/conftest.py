"""A small person for exporting: a few hundred splats scattered on clay, learned from nothing."""

from dataclasses import replace

import pytest
import torch

from likeness.core.batching import take
from likeness.core.camera import pinhole
from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.exporters.motion import Motion
from likeness.exporters.notes import Note
from likeness.methods.splats.avatar import SplatAvatar
from likeness.methods.splats.code import RestPose, features, learn_code
from likeness.methods.splats.surface import bake
from likeness.rigs.clay import clay

COUNT, ATLAS, DIRECTIONS, BENDS = 400, 8, 4, 2


@pytest.fixture(scope="session")
def motion():
    """Ten moments of a talking, turning head."""
    g = torch.Generator().manual_seed(1)
    still = clay().neutral(10)
    turn = axis_angle_to_matrix(0.2 * torch.randn(10, 3, generator=g))
    head = rigid(turn, torch.tensor([0.02, 1.5, -0.1]) + 0.01 * torch.randn(10, 3, generator=g))
    torso = rigid(axis_angle_to_matrix(0.05 * torch.randn(10, 3, generator=g)), head[:, :3, 3])
    moving = replace(
        still,
        coefficients=torch.rand(10, 52, generator=g) * 0.6,
        joints=0.1 * torch.randn(still.joints.shape, generator=g),
        world_from_head=head,
        world_from_torso=torso,
        torso=torch.randn(10, BENDS, generator=g),
    )
    return Motion(moving, 25.0)


@pytest.fixture(scope="session")
def avatar(motion):
    g = torch.Generator().manual_seed(0)
    rig = clay()
    surface = bake(rig, rig.rest())
    moment = take(motion.expressions, 0)
    torso = torch.linalg.inv(moment.world_from_head) @ moment.world_from_torso
    rest = RestPose(moment.world_from_head, torso)
    seen = features(motion.expressions, rest, 0, BENDS)
    faces = torch.randint(len(surface.triangles), (COUNT,), generator=g)
    weights = torch.rand(COUNT, 3, generator=g) + 0.1
    head = SplatAvatar(
        surface,
        learn_code(seen, DIRECTIONS, BENDS),
        rest,
        surface.triangles[faces],
        weights / weights.sum(-1, keepdim=True),
        torch.rand(COUNT, 2, generator=g) * torch.tensor([1.0, 1.9]),
        surface.regions[surface.triangles[faces, 0]],
        seen,
        ATLAS,
        torch.full((8, 8, 3), 0.5),
        pinhole(10.0, 8, 8, torch.eye(4)),
        degree=3,
    )
    with torch.no_grad():
        for name, size in (
            ("offset", 0.003), ("rotation", 1.0), ("log_scale", 0.4), ("opacity", 1.5),
            ("colour", 0.2), ("follow", 2.0), ("motion_atlas", 0.002), ("shade_atlas", 0.1),
            ("corrections", 2.0), ("gleam", 0.05),
        ):  # fmt: skip
            value = getattr(head, name)
            value += size * torch.randn(value.shape, generator=g)
        head.log_scale -= 5.0
        head.regression.fit(seen, head.correction(slice(None)))
    return head.eval()


@pytest.fixture
def note():
    return Note("Ünal — a trial", "Nobody: made of clay")


@pytest.fixture
def few_looks(monkeypatch):
    """Textures from one picture: for tests that look at something else."""
    from likeness.exporters import texture_views

    monkeypatch.setattr(texture_views, "_TURNS", ((0, 0),))
    monkeypatch.setattr(texture_views, "_FACES", ())
