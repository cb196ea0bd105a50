"""Heads and faces moved to where the pictures have them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from likeness.captures.synthetic import film
from likeness.core.geometry import axis_angle_to_matrix, matrix_to_axis_angle, rigid
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.align import Brightness, Pull, align
from likeness.trackers.head_alignment import refined
from likeness.trackers.head_points import HeadPoints
from likeness.trackers.photometric import calm

WRONG = 10  # the frame that is tracked wrongly
JAW = ARKIT.index("jawOpen")


@pytest.fixture(scope="module")
def corrected():
    """The truth of a film, the same with one frame wrong, and that after a round."""
    capture, truth = film(3, 12, 128)
    now = truth.expressions
    poses, coefficients = now.world_from_head.clone(), now.coefficients.clone()
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.012, 0.008]))
    poses[WRONG] = poses[WRONG] @ rigid(turn, torch.tensor([0.001, -0.001, 0.0]))
    coefficients[WRONG, JAW] += 0.15
    wrong = replace(
        truth, expressions=replace(now, world_from_head=poses, coefficients=coefficients)
    )
    head = HeadPoints.spread(clay(), truth.identity, Generator().manual_seed(0))
    found, _ = refined(capture, wrong, head, list(range(10)))
    return truth.expressions, wrong.expressions, found.expressions


def test_a_pose_comes_nearer_to_the_truth(corrected):
    truth, wrong, found = corrected

    def away(expressions):
        turn = expressions.world_from_head[WRONG, :3, :3] @ truth.world_from_head[WRONG, :3, :3].T
        return float(matrix_to_axis_angle(turn).norm())

    assert away(found) < 0.5 * away(wrong)


def test_an_open_jaw_comes_nearer_to_the_truth(corrected):
    truth, wrong, found = corrected
    before, after = (
        float((e.coefficients[WRONG, JAW] - truth.coefficients[WRONG, JAW]).abs())
        for e in (wrong, found)
    )
    assert after < 0.5 * before


def test_weights_stay_in_their_range_and_gaze_as_it_was(corrected):
    _, wrong, found = corrected
    assert float(found.coefficients.min()) >= 0
    assert float(found.coefficients.max()) <= 1
    gaze = [i for i, name in enumerate(ARKIT) if name.startswith("eyeLook")]
    torch.testing.assert_close(found.coefficients[:, gaze], wrong.coefficients[:, gaze])


def test_alignment_stops_at_the_end_of_a_range_and_the_others_make_up_for_it():
    rng = np.random.default_rng(0)
    picture = np.tile(rng.integers(0, 255, (1, 1, 3)), (64, 64, 1)).astype(np.float64)
    picture += 80 * np.sin(np.arange(64) / 5)[None, :, None]
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    points = rng.uniform(12, 52, (300, 2))
    colours, _, _ = Brightness(np.roll(picture, -2, 1), 1.0).at(points)

    def place(p):  # two parameters that both move points to the right
        slopes = np.zeros((300, 2, 2))
        slopes[:, 0] = 1
        return points + [[p.sum(), 0.0]], slopes

    ends = Pull(1e-3 * np.eye(2), np.zeros(2), np.array([-0.5, -9.0]), np.array([0.5, 9.0]))
    found = align(Brightness(picture, 1.0), colours, np.ones(300), np.zeros(2), place, ends, 15)
    assert found[0] == 0.5
    np.testing.assert_allclose(found.sum(), 2.0, atol=0.1)


def test_calm_takes_noise_from_poses_and_leaves_a_cut_where_it_is():
    _, truth = film(3, 40, 64)
    smooth = truth.expressions.world_from_head.clone()
    smooth[20:] = smooth[20:] @ rigid(
        axis_angle_to_matrix(torch.tensor([0.0, 0.4, 0.0])), torch.zeros(3)
    )
    noise = 0.002 * torch.randn(40, 3, generator=Generator().manual_seed(0))
    noisy = smooth @ rigid(axis_angle_to_matrix(noise), torch.zeros(40, 3))

    def away(poses):
        turn = poses[:, :3, :3] @ smooth[:, :3, :3].mT
        return matrix_to_axis_angle(turn).norm(dim=-1)

    found = calm(replace(truth, expressions=replace(truth.expressions, world_from_head=noisy)))
    calmed = found.expressions.world_from_head
    assert float(away(calmed).median()) < 0.85 * float(away(noisy).median())
    assert float(away(calmed)[19:21].max()) < 0.02


def test_points_lie_evenly_whatever_the_lot():
    rig = clay()
    lots = [HeadPoints.spread(rig, rig.rest(), Generator().manual_seed(s)).rest for s in (0, 1)]
    cells = [(lot / 0.015).round().long() @ torch.tensor([1, 1000, 1000000]) for lot in lots]
    _, cell = torch.cat(cells).unique(return_inverse=True)
    first, second = (torch.bincount(c, minlength=int(cell.max()) + 1) for c in cell.chunk(2))
    # counts of points by lot differ as much as there are points: 1
    assert float((first - second).square().sum() / (first + second).sum()) < 0.5
