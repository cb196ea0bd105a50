"""An untrained head: clothes move on screen as the track says; hair nobody faces lies flat."""

from dataclasses import replace

import pytest
import torch

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.expression import Expression
from likeness.core.regions import REGION
from likeness.methods.splats.avatar import SplatAvatar
from likeness.methods.splats.method import RiggedSplats

SIZE, ASIDE = 64, 0.03


@pytest.fixture(scope="module")
def untrained():
    """A head whose clothes have one bend: everything to the right by `ASIDE` picture widths."""
    capture, track = film(5, frames=8, size=SIZE)
    field = torch.zeros(1, 24, 24, 2)
    field[..., 0] = ASIDE
    weights = torch.linspace(-1, 1, len(track))[:, None]
    expressions = replace(track.expressions, torso=weights)
    track = replace(track, expressions=expressions, bends=field)
    avatar = RiggedSplats(splats=1500, steps=10, code=3, atlas=16).build(capture, track)
    return avatar, take(track.cameras, 0), replace(take(track.expressions, 0), torso=torch.zeros(1))


def seen(avatar: SplatAvatar, camera, moment: Expression, region: str) -> torch.Tensor:
    with torch.no_grad():
        means = avatar.pose(moment, avatar.features(moment)).means
    return project(camera, means[avatar.region == REGION[region]])


def test_a_bend_moves_clothes_by_as_many_pixels_as_the_tracker_measured(untrained):
    avatar, camera, moment = untrained
    bent = replace(moment, torso=torch.ones(1))
    moved = seen(avatar, camera, bent, "clothes") - seen(avatar, camera, moment, "clothes")
    torch.testing.assert_close(moved[:, 0].median(), torch.tensor(ASIDE * SIZE), rtol=0.02, atol=0)
    assert moved[:, 0].std() < 0.1 * ASIDE * SIZE
    face = seen(avatar, camera, bent, "skin") - seen(avatar, camera, moment, "skin")
    assert face.abs().max() < 1e-4


def test_clothes_stay_where_they_are_when_the_head_alone_moves(untrained):
    avatar, camera, moment = untrained
    aside = torch.eye(4)
    aside[0, 3] = 0.05
    turned = replace(moment, world_from_head=aside @ moment.world_from_head)
    moved = (seen(avatar, camera, turned, "clothes") - seen(avatar, camera, moment, "clothes"))[
        :, 0
    ]
    face = (seen(avatar, camera, turned, "skin") - seen(avatar, camera, moment, "skin"))[:, 0]
    carried = (
        project(camera, moment.world_from_head[None, :3, 3] + aside[None, :3, 3])
        - project(camera, moment.world_from_head[None, :3, 3])
    )[0, 0]
    assert moved.abs().median() < 0.02 * carried
    assert face.quantile(0.9) > 0.95 * carried


def test_hair_that_no_frame_faces_begins_flat(untrained):
    avatar = untrained[0]
    hair = avatar.region == REGION["hair"]
    wide, thick = avatar.log_scale[:, 0].exp(), avatar.log_scale[:, 2].exp()
    unseen, plain = hair & (avatar.held > 0.9), hair & (avatar.held < 0.1)
    assert unseen.sum() > 10
    assert plain.sum() > 5
    assert (thick < 0.35 * wide)[unseen].all()
    torch.testing.assert_close(thick[plain], wide[plain], rtol=0.15, atol=0)
