"""A person of sixty splats, for verbs that only need some avatar folder."""

import pytest
import torch


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A tiny avatar folder as `fit` would leave it."""
    from likeness.core.camera import pinhole
    from likeness.methods.splats.avatar import SplatAvatar
    from likeness.methods.splats.code import RestPose, features, learn_code
    from likeness.methods.splats.method import RiggedSplats
    from likeness.methods.splats.surface import bake
    from likeness.rigs.clay import clay
    from likeness.training.checkpoints import save_avatar

    torch.manual_seed(0)
    rig = clay()
    surface, moments = bake(rig, rig.rest()), rig.neutral(6)
    moments = type(moments)(
        "clay", torch.rand(6, 52), moments.joints, moments.world_from_head, moments.world_from_head
    )
    rest = RestPose(torch.eye(4), torch.eye(4))
    seen = features(moments, rest, 0, 0)
    faces = surface.triangles[torch.randint(len(surface.triangles), (60,))]
    third = torch.full((60, 3), 1 / 3)
    place = torch.rand(60, 2)
    region = surface.regions[faces[:, 0]]
    backdrop = torch.full((8, 8, 3), 0.5)
    head = SplatAvatar(
        surface,
        learn_code(seen, 3),
        rest,
        faces,
        third,
        place,
        region,
        seen,
        4,
        backdrop,
        pinhole(10.0, 8, 8, torch.eye(4)),
    )
    with torch.no_grad():
        head.log_scale -= 5
    path = tmp_path_factory.mktemp("Zoë") / "avatar"
    save_avatar(path, "splats", RiggedSplats(), head, "Zoë, today, tests")
    return path


@pytest.fixture
def few_looks(monkeypatch):
    """Textures from one picture: for tests that look at something else."""
    from likeness.exporters import texture_views

    monkeypatch.setattr(texture_views, "_TURNS", ((0, 0),))
    monkeypatch.setattr(texture_views, "_FACES", ())
