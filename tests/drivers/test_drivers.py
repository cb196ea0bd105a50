"""Performances: gestures in time, tables, another's track, and how they land on a person."""

import logging
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from likeness.core.camera import pinhole
from likeness.core.errors import BadInput, LikenessError, Unsupported
from likeness.core.geometry import axis_angle_to_matrix, matrix_to_axis_angle, rigid
from likeness.core.rig import Identity
from likeness.core.track import Track
from likeness.drivers import DRIVERS
from likeness.drivers.gestures import LIBRARY, REEL, Gestures, read_cues
from likeness.drivers.placing import NECK, Strength, Target, check_finite, place, turned
from likeness.drivers.retarget import Retarget, by_name, neutral_pose
from likeness.drivers.table import Table
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT

RIG = clay()
JAW, BROW, LID = (ARKIT.index(n) for n in ("jawOpen", "browInnerUp", "eyeBlinkLeft"))


def target(high: float = 1.0, **more) -> Target:
    turn = axis_angle_to_matrix(torch.tensor([0.1, 0.3, 0.0]))
    pose = rigid(turn, torch.tensor([0.02, 0.01, 0.0]))
    rest = replace(RIG.neutral(), world_from_head=pose, world_from_torso=pose)
    return Target(rest, torch.zeros(52), torch.full((52,), high), **more)


def track_of(expressions, confidence=None) -> Track:
    count = len(expressions.coefficients)
    seen = torch.ones(count) if confidence is None else confidence
    camera = pinhole(100.0, 64, 64, torch.eye(4))
    return Track(camera, expressions, Identity("clay", RIG.rest().directions), seen)


def test_every_driver_row_loads_and_drives():
    for name in DRIVERS:
        assert callable(DRIVERS.load(name)().drive)


@pytest.mark.parametrize("name", LIBRARY)
def test_a_gesture_starts_and_ends_at_rest_and_moves_in_between(name):
    moves = Gestures().drive(f"{name}@0.2", RIG)
    numbers = torch.cat([moves.coefficients, moves.world_from_head.flatten(1)], -1)
    rest = torch.cat([torch.zeros(52), torch.eye(4).flatten()])
    torch.testing.assert_close(numbers[0], rest, atol=1e-5, rtol=0)
    torch.testing.assert_close(numbers[-1], rest, atol=1e-5, rtol=0)
    assert (numbers - rest).abs().max() > 0.1
    assert (numbers[1:, :52] - numbers[:-1, :52]).abs().max() < 0.7, "a jump, not a movement"


def test_the_reel_plays_every_gesture():
    assert {cue.name for cue in read_cues(REEL)} >= set(LIBRARY) - {"tilt"}
    reel = Gestures(fps=30).drive("", RIG)
    assert len(reel.coefficients) / 30 == pytest.approx(19.7, abs=0.1)


def test_gestures_overlap_and_coefficients_may_be_named():
    both = Gestures().drive("nod@0 jawOpen*0.4@0-1", RIG)
    assert both.coefficients[:, JAW].max() == pytest.approx(0.4, abs=1e-6)
    assert matrix_to_axis_angle(both.world_from_head[:, :3, :3])[:, 0].abs().max() > 0.05


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smiel@1", "Did you mean 'smile'"),
        ("smile", "should look like"),
        ("smile@2-1", "should end after"),
        ("smile@1.2.3", "should look like"),
        ("  ", "No gesture"),
    ],
)
def test_a_wrong_gesture_is_named(text, said):
    with pytest.raises(LikenessError, match=said):
        read_cues(text)


def test_a_turn_leaves_the_neck_where_it_is():
    pivot = torch.tensor([*NECK, 1.0])
    moved = turned(torch.tensor([[0.2, -0.4, 0.1]])) @ pivot
    torch.testing.assert_close(moved[0], pivot)


@given(st.integers(0, 2**31), st.floats(0, 0.5))
def test_placing_keeps_within_reach_and_changes_nothing_inside_the_range(seed, beyond):
    g = torch.Generator().manual_seed(seed)
    values = 3 * torch.rand(6, 52, generator=g) - 1
    whom = target(0.6)
    placed = place(replace(RIG.neutral(6), coefficients=values), whom, ARKIT, beyond=beyond)
    out = placed.expressions.coefficients
    assert out.min() >= -beyond - 1e-5
    assert out.max() <= 0.6 + beyond + 1e-5
    inside = (values >= 0) & (values <= 0.6)
    torch.testing.assert_close(out[inside], values[inside])
    assert placed.held.sum() <= (~inside).sum()


def test_nothing_at_all_is_the_target_at_rest():
    whom = target()
    placed = place(RIG.neutral(3), whom, ARKIT)
    torch.testing.assert_close(placed.expressions.world_from_head[1], whom.rest.world_from_head)
    torch.testing.assert_close(placed.expressions.world_from_torso[1], whom.rest.world_from_torso)
    assert placed.held.sum() == 0
    assert placed.held_head == 0


def test_strengths_act_on_their_regions_only():
    performance = replace(
        RIG.neutral(2),
        coefficients=torch.full((2, 52), 0.4),
        world_from_head=turned(torch.full((2, 3), 0.1)),
    )
    placed = place(performance, target(), ARKIT, Strength(mouth=0.5, eyes=0, brows=1, head=0))
    out = placed.expressions
    assert out.coefficients[0, [JAW, LID, BROW]].tolist() == pytest.approx([0.2, 0.0, 0.4])
    torch.testing.assert_close(out.world_from_head[0], target().rest.world_from_head)
    with pytest.raises(BadInput, match="outside 0 to 3"):
        Strength(mouth=-1)


def test_a_head_that_turns_too_far_is_held_and_counted():
    performance = replace(RIG.neutral(1), world_from_head=turned(torch.tensor([[0.0, 1.2, 0.0]])))
    whom = target(turn=0.4)
    placed = place(performance, whom, ARKIT)
    away = whom.rest.world_from_head[:3, :3].T @ placed.expressions.world_from_head[0, :3, :3]
    assert 0.4 < matrix_to_axis_angle(away).norm() < 0.52
    assert placed.held_head == 1


def test_a_drivers_own_neutral_face_does_not_get_through():
    """Somebody whose brows are always half up, filmed from the side, opens the mouth."""
    values = torch.zeros(40, 52)
    values[:, BROW] = 0.5
    values[20:, JAW] = 0.6
    pose = rigid(axis_angle_to_matrix(torch.tensor([0.0, 0.5, 0.0])), torch.tensor([0.1, 0.0, 0.3]))
    moments = replace(RIG.neutral(40), coefficients=values, world_from_head=pose.expand(40, 4, 4))
    moves = Retarget().drive(track_of(moments), RIG)
    assert moves.coefficients[:, BROW].abs().max() < 1e-6
    assert moves.coefficients[-1, JAW] == pytest.approx(0.6)
    torch.testing.assert_close(moves.world_from_head[7], torch.eye(4), atol=1e-5, rtol=0)
    raw = Retarget(neutral=0.0).drive(track_of(moments), RIG)
    assert raw.coefficients[0, BROW] == pytest.approx(0.5)


def test_personal_modes_are_left_out_and_the_torso_follows_only_when_asked():
    moments = replace(RIG.neutral(10), personal=torch.rand(10, 4), torso=torch.rand(10, 2))
    moments = replace(moments, world_from_torso=turned(torch.linspace(0, 0.3, 30).view(10, 3)))
    plain = Retarget().drive(track_of(moments), RIG)
    assert plain.personal is None
    assert plain.torso is None
    assert plain.world_from_torso is None
    follows = Retarget(torso=True).drive(track_of(moments), RIG)
    assert follows.world_from_torso is not None
    away = place(follows, target(), ARKIT).expressions.world_from_torso
    assert (away[-1] - away[0]).abs().max() > 0.05


def test_the_middle_pose_shrugs_off_a_wild_frame():
    poses = turned(torch.tensor([[0.0, 0.2, 0.0]]).repeat(9, 1)).clone()
    poses[4] = turned(torch.tensor([[0.0, -1.5, 0.0]]))[0] + 3.0
    middle = neutral_pose(poses, torch.arange(9))
    torch.testing.assert_close(middle, poses[0], atol=1e-5, rtol=0)


def test_bad_numbers_are_refused_with_their_frame():
    moments = RIG.neutral(5)
    moments.coefficients[3, 2] = float("nan")
    with pytest.raises(BadInput, match="Frame 3 of the driver has a coefficients"):
        check_finite(moments)
    with pytest.raises(BadInput, match="Frame 3"):
        Table().drive(moments, RIG)
    with pytest.raises(BadInput, match="no frame with a face"):
        Retarget().drive(track_of(RIG.neutral(4), torch.zeros(4)), RIG)


def test_a_driver_of_a_rig_without_common_names_is_refused():
    with pytest.raises(Unsupported, match=r"share no names.*--rig clay"):
        by_name(replace(RIG.neutral(2), rig="flame"), RIG)


def test_a_table_of_turns_moves_the_head_about_its_neck(caplog):
    angles = torch.zeros(10, 3)
    angles[5:, 1] = 0.3
    head = rigid(axis_angle_to_matrix(angles), torch.zeros(10, 3))
    values = torch.zeros(10, 52)
    values[5:, JAW] = 1.0
    with caplog.at_level(logging.WARNING):
        table = replace(RIG.neutral(10), coefficients=values, world_from_head=head)
        moves = Table().drive(table, RIG)
    torch.testing.assert_close(moves.world_from_head[9], turned(angles)[9], atol=1e-5, rtol=0)
    assert moves.coefficients[9, JAW] == 1
