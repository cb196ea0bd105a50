"""Shoulders taken back to where they were at rest."""

import torch

from likeness.core.expression import Expression
from likeness.core.geometry import rigid, se3_exp
from likeness.ops.bend import straightened, torso_bend


def moment(head, torso):
    return Expression("toy", torch.zeros(1), torch.zeros(0, 3), head, torso)


def test_a_shoulder_that_stays_while_the_head_turns_is_asked_where_it_was():
    rest = torch.eye(4)
    head = se3_exp(torch.tensor([0.0, 0.5, 0, 0.01, 0, 0]))
    shoulder, nose = torch.tensor([0.2, -0.3, -0.05]), torch.tensor([0.0, -0.04, 0.03])
    in_head = torch.linalg.inv(head) @ torch.cat([shoulder, torch.ones(1)])
    bend = torso_bend(moment(head, rest), rest)
    assert torch.allclose(straightened(in_head[:3], bend), shoulder, atol=1e-6)
    assert torch.equal(straightened(nose, bend), nose)
    each = straightened(torch.stack([in_head[:3], nose]), bend.expand(2, 4, 4))
    assert torch.allclose(each, torch.stack([shoulder, nose]), atol=1e-6)


def test_a_torso_that_is_not_known_apart_does_not_bend():
    head = rigid(torch.eye(3), torch.tensor([0.1, 0, 0]))
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    for torso in (None, head):
        bend = torso_bend(moment(head, torso), torch.eye(4))
        assert torch.allclose(straightened(points, bend), points, atol=1e-6)


def test_an_open_jaw_belongs_to_the_head():
    bend = se3_exp(torch.tensor([0.0, 0, 0, 0.05, 0, 0]))
    chin = torch.tensor([0.0, -0.135, 0.01])
    assert torch.equal(straightened(chin, bend), chin)
