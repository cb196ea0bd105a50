"""The solver on landmarks of known heads; alignment on moved pictures; mattes and regions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from likeness.core.camera import pinhole, project
from likeness.core.geometry import axis_angle_to_matrix, matrix_to_axis_angle, rigid
from likeness.core.regions import REGION
from likeness.core.rig import Identity, embed
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.align import Brightness, align, typical
from likeness.trackers.matting import continued, guided
from likeness.trackers.point_model import point_model
from likeness.trackers.solve import Evidence, solve, start
from likeness.trackers.witnesses import default_priors

FOCAL = 500.0


@pytest.fixture(scope="module")
def model():
    return point_model(clay())


@pytest.fixture(scope="module")
def scene():
    """Twenty-four frames of a known person: landmarks, poses, coefficients."""
    rig, g = clay(), torch.Generator().manual_seed(1)
    who = Identity("clay", 0.5 * torch.randn(len(rig.identity_names), generator=g))
    t = torch.linspace(0, 6, 24)
    turn = torch.stack([0.15 * torch.sin(t), 0.4 * torch.sin(0.7 * t), 0.05 * torch.cos(t)], -1)
    values = torch.zeros(24, 52)
    values[:, ARKIT.index("jawOpen")] = 0.4 * torch.sin(2 * t).clamp(min=0)
    for side in ("Left", "Right"):
        values[:, ARKIT.index(f"mouthSmile{side}")] = 0.5 * torch.cos(t).clamp(min=0)
        values[:, ARKIT.index(f"eyeBlink{side}")] = (torch.sin(3 * t) > 0.97).float()
    pose = rigid(axis_angle_to_matrix(turn), torch.zeros(24, 3))
    expression = replace(rig.neutral(24), coefficients=values, world_from_head=pose)
    flip = rigid(torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.tensor([0.0, 0.0, 0.8]))
    camera = pinhole(FOCAL, 256, 256, flip)
    many = replace(
        camera,
        intrinsics=camera.intrinsics.expand(24, 3, 3),
        camera_from_world=flip.expand(24, 4, 4),
    )
    points = project(many, embed(rig.pose(who, expression), rig.landmarks("mediapipe478")))
    evidence = Evidence(
        points,
        torch.ones(24, 478),
        torch.cat([torch.zeros(1), torch.ones(22), torch.zeros(1)]),
        torch.tensor([128.0, 128.0]),
    )
    return evidence, flip @ pose, values


@pytest.fixture(scope="module")
def solution(model, scene):
    evidence, _, _ = scene
    priors = default_priors(model, 0.2)
    return solve(model, evidence, priors, start(model, evidence, FOCAL), rounds=25)


def test_how_many_frames_are_solved_at_a_time_changes_nothing(model, scene, monkeypatch):
    evidence, _, _ = scene
    priors, found = default_priors(model, 0.2), []
    for chunk in (32, 5):
        monkeypatch.setattr("likeness.trackers.solve._CHUNK", chunk)
        found.append(solve(model, evidence, priors, start(model, evidence, FOCAL), rounds=3))
    for name in ("rotation", "translation", "coefficients", "identity"):
        one, other = (getattr(x, name) for x in found)
        torch.testing.assert_close(one, other, rtol=1e-2, atol=5e-3)


def test_known_landmarks_are_explained_to_a_fraction_of_a_pixel(solution):
    assert float(solution.residual.norm(dim=-1).square().mean().sqrt()) < 0.4


def test_head_turns_are_recovered(solution, scene):
    _, camera_from_head, _ = scene
    away = solution.rotation @ camera_from_head[:, :3, :3].mT
    error = torch.rad2deg(matrix_to_axis_angle(away).norm(dim=-1))
    assert float(error.median()) < 1.5


def test_depth_is_recovered_when_the_focal_length_is_known(solution, scene):
    _, camera_from_head, _ = scene
    error = (solution.translation[:, 2] / camera_from_head[:, 2, 3] - 1).abs()
    assert float(error.median()) < 0.03


@pytest.mark.parametrize("name", ["jawOpen", "mouthSmileLeft", "eyeBlinkRight"])
def test_named_curves_are_recovered(solution, scene, name):
    index = ARKIT.index(name)
    found, true = solution.coefficients[:, index], scene[2][:, index]
    assert np.corrcoef(found, true)[0, 1] > 0.85


def test_the_start_alone_knows_roughly_where_the_head_points(model, scene):
    evidence, camera_from_head, _ = scene
    begin = start(model, evidence, FOCAL)
    away = begin.rotation @ camera_from_head[:, :3, :3].mT
    assert float(torch.rad2deg(matrix_to_axis_angle(away).norm(dim=-1)).median()) < 12


def test_a_frame_without_landmarks_stays_finite(model, scene):
    evidence, _, _ = scene
    weights = evidence.weights.clone()
    weights[5] = 0
    holed = Evidence(evidence.points, weights, evidence.joined, evidence.centre)
    priors = default_priors(model, 0.2)
    found = solve(model, holed, priors, start(model, holed, FOCAL), rounds=5)
    assert torch.isfinite(found.rotation).all()
    assert torch.isfinite(found.coefficients).all()


def test_alignment_finds_by_how_much_a_picture_was_shifted():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    import cv2

    picture = cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC)
    moved = cv2.warpAffine(picture, np.float32([[1, 0, 1.3], [0, 1, -0.7]]), (128, 128))
    points = rng.uniform(20, 108, (500, 2))
    colours, _, _ = Brightness(picture, 1.0).at(points)

    def place(p):
        slopes = np.zeros((500, 2, 2))
        slopes[:, 0, 0] = slopes[:, 1, 1] = 1
        return points + p, slopes

    found = align(
        Brightness(moved, 1.0), colours, np.ones(500), np.zeros(2), place, np.full(2, 1e-6), 15
    )
    np.testing.assert_allclose(found, [1.3, -0.7], atol=0.08)


def test_points_hardly_ever_seen_are_worth_nothing():
    values = np.random.default_rng(0).random((20, 3, 3)).astype(np.float32)
    values[:, 1] = 0.5
    seen = np.ones((20, 3), np.float32)
    seen[1:, 2] = 0
    colours, worth = typical(values, seen)
    assert worth[2] == 0
    assert worth[1] == pytest.approx(1)
    assert worth[0] < 0.5
    assert np.isfinite(colours).all()


def test_the_matte_takes_the_pictures_edge():
    picture = np.zeros((64, 64, 3), np.float32)
    picture[:, 32:] = 1.0
    rough = np.clip((np.arange(64) - 22) / 20, 0, 1).astype(np.float32)[None].repeat(64, 0)
    fine = guided(picture, rough, 6, 1e-4)
    assert fine[32, 28] < rough[32, 28] + 0.05
    assert fine[32, 36] - fine[32, 28] > 0.3


def test_unknown_pixels_take_colours_from_around_them():
    picture = np.full((32, 32, 3), 200, np.uint8)
    known = np.ones((32, 32), bool)
    known[8:24, 8:24] = False
    picture[~known] = 0
    filled = continued(picture, known)
    assert np.abs(filled.astype(int) - 200).max() <= 3


def test_regions_without_a_face_are_person_or_background():
    from likeness.trackers.regions import draw_regions

    alpha = np.zeros((20, 20), np.uint8)
    alpha[10:] = 255
    regions = draw_regions(np.zeros((20, 20, 3), np.uint8), alpha, None)
    assert set(np.unique(regions)) == {REGION["background"], REGION["clothes"]}
