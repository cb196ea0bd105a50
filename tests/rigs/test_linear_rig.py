"""What holds of every linear rig, whoever it stands for."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.errors import Unsupported
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, rigid, transform
from likeness.core.rig import Identity, Rig
from likeness.rigs.toy import toy

SEEDS = st.integers(0, 2**31)


def _moment(seed, count=None):
    g = torch.Generator().manual_seed(seed)
    batch = () if count is None else (count,)
    turn = axis_angle_to_matrix(torch.randn(*batch, 3, generator=g, dtype=torch.float64))
    return Expression(
        "toy",
        torch.rand(*batch, 5, generator=g, dtype=torch.float64),
        0.3 * torch.randn(*batch, 2, 3, generator=g, dtype=torch.float64),
        rigid(turn, torch.randn(*batch, 3, generator=g, dtype=torch.float64)),
        personal=torch.randn(*batch, 2, generator=g, dtype=torch.float64),
    )


def _person(seed):
    g = torch.Generator().manual_seed(seed)

    def random(*size):
        return 0.01 * torch.randn(*size, generator=g, dtype=torch.float64)

    return Identity("toy", 100 * random(3), random(24, 3), random(5, 24, 3), random(2, 24, 3))


def test_nobody_in_particular_doing_nothing_is_the_template():
    rig = toy()
    assert isinstance(rig, Rig)
    torch.testing.assert_close(rig.pose(rig.rest(), rig.neutral()).vertices, rig.template)


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_moving_the_head_moves_the_surface_rigidly(seed):
    rig, moment, person = toy(), _moment(seed), _person(seed)
    posed = rig.pose(person, moment).vertices
    expected = transform(moment.world_from_head, rig.pose_head(person, moment))
    torch.testing.assert_close(posed, expected)


@settings(deadline=None, max_examples=10)
@given(SEEDS, st.integers(1, 4))
def test_a_batch_equals_its_loop(seed, count):
    rig, batch, person = toy(), _moment(seed, count), _person(seed)
    posed = rig.pose(person, batch).vertices
    for i in range(count):
        fields = {name: getattr(batch, name)[i] for name in ("coefficients", "joints", "personal")}
        one = replace(batch, world_from_head=batch.world_from_head[i], **fields)
        torch.testing.assert_close(posed[i], rig.pose(person, one).vertices)


def test_gradients_reach_everything_and_are_finite_at_rest():
    rig = toy()
    leaves = [
        rig.neutral().coefficients,
        rig.neutral().joints,
        rig.neutral().world_from_head,
        torch.zeros(2, dtype=torch.float64),
        rig.rest().directions,
        *(torch.zeros(*s, 24, 3, dtype=torch.float64) for s in ((), (5,))),
        _person(1).modes,
    ]
    for leaf in leaves:
        leaf.requires_grad_()
    c, j, w, p, d, o, s, m = leaves
    mesh = rig.pose(Identity("toy", d, o, s, m), Expression("toy", c, j, w, personal=p))
    grads = torch.autograd.grad((mesh.vertices**2).sum(), leaves)
    assert all(g.isfinite().all() for g in grads)
    assert all(grads[i].abs().sum() > 0 for i in (0, 1, 2, 3, 4, 5))


def test_a_coefficient_that_looks_turns_its_joint():
    rig = toy()
    looking = rig.neutral()
    looking.coefficients[0] = 0.5
    torch.testing.assert_close(rig.angles(looking), 0.5 * rig.shape_joints[0])
    motions = rig.joint_transforms(rig.rest(), looking)
    turn = axis_angle_to_matrix(0.5 * rig.shape_joints[0, 0])
    torch.testing.assert_close(motions[0, :3, :3], turn)


def test_a_joint_turns_about_its_own_place():
    rig = toy()
    turned = rig.neutral()
    turned.joints[0] = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    place = rig.joints(rig.template)[0]
    motion = rig.joint_transforms(rig.rest(), turned)[0]
    torch.testing.assert_close(transform(motion, place[None])[0], place)


def test_a_person_baked_in_poses_the_same_at_rest_joints():
    rig, person = replace(toy(), joint_weights=None), _person(4)
    person = replace(person, modes=None)
    moment = replace(_moment(5), personal=None)
    baked = rig.baked(person)
    torch.testing.assert_close(
        baked.pose(baked.rest(), moment).vertices, rig.pose(person, moment).vertices
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rig": "clay"}, "of the rig 'clay', not 'toy'"),
        ({"coefficients": torch.zeros(7, dtype=torch.float64)}, "has 5 coefficients; 7"),
        ({"joints": torch.zeros(3, 3, dtype=torch.float64)}, "has 2 joints; 3"),
    ],
)
def test_expressions_of_other_rigs_or_widths_are_refused(change, words):
    rig = toy()
    with pytest.raises(Unsupported, match=words):
        rig.pose(rig.rest(), replace(rig.neutral(), **change))


def test_an_unknown_landmark_layout_names_those_that_are_there():
    with pytest.raises(Unsupported, match="it has: classic68"):
        toy().landmarks("dlib5")
