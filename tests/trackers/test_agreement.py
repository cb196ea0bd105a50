"""Of several accounts of a clip, the one its pictures agree with."""

from dataclasses import replace

import pytest
import torch

from likeness.captures.synthetic import film
from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.rigs.clay import clay
from likeness.trackers import photometric
from likeness.trackers.agreement import agreeing, agreement

TRAIN = list(range(16))


@pytest.fixture(scope="module")
def recording():
    return film(3, 20, 128)


def leaning(truth):
    """Everybody's mean face, which leans by four degrees to lie where the landmarks do."""
    lean = rigid(axis_angle_to_matrix(torch.tensor([0.07, 0.0, 0.0])), torch.zeros(3))
    poses = truth.expressions.world_from_head @ lean
    identity = replace(truth.identity, directions=torch.zeros_like(truth.identity.directions))
    return replace(
        truth, identity=identity, expressions=replace(truth.expressions, world_from_head=poses)
    )


def test_pictures_agree_with_the_truth_rather_than_with_a_lean(recording):
    capture, truth = recording
    rig, wrong = clay(), leaning(truth)
    assert agreeing(capture, rig, [wrong, truth], TRAIN) == 1
    assert agreeing(capture, rig, [truth, wrong], TRAIN) == 0


def test_of_two_that_are_alike_the_favoured_one_counts_but_no_wrong_one(recording):
    capture, truth = recording
    assert agreeing(capture, clay(), [truth, truth], TRAIN, (0.0, 0.3)) == 1
    assert agreeing(capture, clay(), [truth, truth], TRAIN, (0.3,)) == 0
    assert agreeing(capture, clay(), [truth, leaning(truth)], TRAIN, (0.0, 0.3)) == 0


def test_a_track_whose_head_is_nowhere_in_the_picture_agrees_with_nothing(recording):
    capture, truth = recording
    away = truth.expressions.world_from_head.clone()
    away[:, 0, 3] += 5
    lost = replace(truth, expressions=replace(truth.expressions, world_from_head=away))
    assert agreement(capture, clay(), lost, TRAIN) == -float("inf")


def test_the_photometric_tracker_goes_on_with_what_pictures_agree_with(tmp_path, monkeypatch):
    capture, truth = film(0, 6, 128)
    capture = replace(capture, focal=float(truth.cameras.intrinsics[0, 0, 0]))
    asked, favoured = [], []

    def asking(*answers):
        left = list(answers)

        def agreeing(_capture, _rig, tracks, train, favour=()):
            asked.append((tracks, train))
            favoured.append(favour)
            return left.pop(0)

        monkeypatch.setattr(photometric, "agreeing", agreeing)
        return photometric.Photometric().track(capture, clay(), tmp_path)

    found = asking(1, 0)
    (_, with_habits), train = asked[0]
    (same, by_outlines), _ = asked[1]
    assert same is with_habits
    assert found.report["habits of the face mesh"]
    assert not found.report["outlines of mattes"]
    assert torch.equal(found.identity.directions, with_habits.identity.directions)
    assert not torch.equal(by_outlines.identity.directions, with_habits.identity.directions)
    assert favoured[0][1] > favoured[0][0]  # habits are likelier than none
    assert not favoured[1]  # outlines are not
    assert len(train) < len(capture)  # held-out frames have no say
    found = asking(0, 1)
    (without, _), _ = asked[2]
    (same, by_outlines), _ = asked[3]
    assert same is without
    assert not found.report["habits of the face mesh"]
    assert found.report["outlines of mattes"]
    assert torch.equal(found.identity.directions, by_outlines.identity.directions)
