"""The focal length, out of how heads look that turn."""

from dataclasses import replace

import pytest
import torch

from likeness.core.camera import pinhole, project
from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.core.rig import Identity, embed
from likeness.rigs.clay import clay
from likeness.trackers.focal import seen_focal
from likeness.trackers.point_model import point_model
from likeness.trackers.solve import Evidence
from likeness.trackers.witnesses import default_priors

FOCAL, FRAMES = 500.0, 12
NOISE = 0.3  # pixels


def turning(degrees: float) -> Evidence:
    """Landmarks of a known person who turns to both sides, counted in their standard deviations."""
    rig, g = clay(), torch.Generator().manual_seed(4)
    who = Identity("clay", 0.5 * torch.randn(len(rig.identity_names), generator=g))
    turn = torch.zeros(FRAMES, 3)
    turn[:, 1] = torch.deg2rad(degrees * torch.linspace(-1, 1, FRAMES))
    pose = rigid(axis_angle_to_matrix(turn), torch.zeros(FRAMES, 3))
    flip = rigid(torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.tensor([0.0, 0.0, 0.8]))
    camera = pinhole(torch.full((FRAMES,), FOCAL), 256, 256, flip.expand(FRAMES, 4, 4).contiguous())
    head = rig.pose(who, replace(rig.neutral(FRAMES), world_from_head=pose))
    points = project(camera, embed(head, rig.landmarks("mediapipe478")))
    points = points + NOISE * torch.randn(points.shape, generator=g)
    weights, joined = torch.full(points.shape[:2], NOISE**-2), torch.zeros(FRAMES)
    return Evidence(points, weights, joined, torch.tensor([128.0, 128.0]))


@pytest.mark.parametrize("guess", [0.6 * FOCAL, FOCAL, 1.6 * FOCAL])
def test_turns_of_twenty_five_degrees_tell_the_focal_length(guess):
    model = point_model(clay())
    found = seen_focal(model, turning(25.0), default_priors(model, 0.0), guess)
    assert found is not None
    assert abs(found.pixels / FOCAL - 1) < 0.06
    assert 0 < found.doubt < 0.12


def test_a_head_that_hardly_turns_leaves_the_guess():
    model = point_model(clay())
    assert seen_focal(model, turning(6.0), default_priors(model, 0.0), FOCAL) is None
