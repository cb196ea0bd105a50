"""Lids read from painted eyes; poses steadied without lag."""

import numpy as np
import pytest
import torch

from likeness.core.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from likeness.trackers.eyes import _opened, openness
from likeness.trackers.landmarks import filled
from likeness.trackers.steady import steadied, steadied_rotations


def test_how_many_frames_are_looked_at_a_time_changes_nothing(monkeypatch):
    """Patches of skin with a white oval that opens and shuts, and a dark iris in it that moves."""
    y, x = np.mgrid[:40, :64] + 0.5
    turn = 2 * np.pi * np.arange(16) / 16
    lid = 6 + 3 * np.sin(np.arange(30))
    pictures = np.full((30, 40, 64, 3), (200, 150, 130), np.uint8)
    poly = np.stack([32 + 18 * np.cos(turn), 20 + 8 * np.sin(turn)], -1)
    for picture, height, side in zip(pictures, lid, 6 * np.cos(np.arange(30))):
        inside = ((x - 32) / 18) ** 2 + ((y - 20) / height) ** 2 < 1
        picture[inside] = (235, 235, 235)
        picture[inside & (np.hypot(x - 32 - side, y - 20) < 5)] = (40, 30, 20)
    found = []
    for frames in (256, 7):
        monkeypatch.setattr("likeness.trackers.eyes._FRAMES", frames)
        found.append(_opened(pictures, np.repeat(poly[None], 30, 0), lid))
    np.testing.assert_allclose(*found, rtol=1e-6)
    assert np.corrcoef(found[0], lid)[0, 1] > 0.95


def test_an_unclear_witness_does_not_hide_a_blink_that_the_pictures_show():
    rng = np.random.default_rng(0)
    lid = np.ones(60)
    lid[30:33] = 0.0
    pictures = 5.0 * lid + 0.05 * rng.standard_normal(60)
    mesh = 4.0 + 0.3 * rng.standard_normal(60)
    opening = openness(pictures, mesh)
    assert opening[30:33].max() < 0.15
    assert opening[:28].min() > 0.8


def test_a_still_head_shimmers_less_than_a_twentieth_of_a_degree():
    noise = np.radians(0.3) * torch.randn(80, 3, generator=torch.Generator().manual_seed(2))
    linked = torch.ones(80)
    linked[[0, -1]] = 0
    still = steadied_rotations(axis_angle_to_matrix(noise), linked)
    turn = matrix_to_axis_angle(still).rad2deg()
    bend = turn[1:-1] - 0.5 * (turn[:-2] + turn[2:])
    assert float(bend.norm(dim=-1).median()) < 0.05


def test_a_quick_nod_in_noise_is_followed_and_the_noise_is_not():
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(120.0)
    nod = 0.06 * torch.exp(-((t - 60) / 3).square())
    noise = 0.002 * torch.randn(120, generator=generator)
    found = steadied((nod + noise)[:, None], torch.ones(120))[:, 0]
    assert float((found - nod)[56:65].abs().max()) < 0.008
    assert float((found - nod)[:50].std()) < 0.6 * float(noise[:50].std())


def test_a_parabola_passes_and_a_cut_is_not_smeared():
    t = torch.linspace(0, 1, 40)
    path = torch.stack([t, t.square(), 3 - t], -1)
    path[20:] += 5
    linked = torch.ones(40)
    linked[[0, 19, 20, 39]] = 0
    torch.testing.assert_close(steadied(path, linked), path, atol=1e-3, rtol=0)


def test_an_eye_is_shut_at_the_bottom_of_a_blink_though_witnesses_disagree_when():
    gap, mesh_gap = np.ones(40), np.ones(40)
    gap[20:23], mesh_gap[20:23] = (0.2, 0.1, 0.3), (0.45, 0.3, 0.25)
    opening = openness(gap, mesh_gap)
    assert opening.min() == 0
    assert np.median(opening) == pytest.approx(1)
    never = openness(1 + 0.1 * np.sin(np.arange(40.0)), np.ones(40))
    assert never.min() > 0.7


def test_frames_without_a_face_take_the_nearest_tracked_pose_the_earlier_of_two():
    confidence = np.array([0, 0, 1, 0, 0, 0, 1, 0, 1, 0.0])
    found = filled(torch.arange(10), confidence)
    assert found.tolist() == [2, 2, 2, 2, 2, 6, 6, 6, 8, 8]
