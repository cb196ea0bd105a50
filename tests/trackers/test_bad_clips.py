"""Clips nobody should have recorded: what works is used, the rest is marked, nothing crashes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from likeness.captures.in_memory import in_memory
from likeness.core.errors import BadInput
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.check import _of_frames, _of_poses, shown
from likeness.trackers.check_pictures import picture_figures
from likeness.trackers.detection import Landmarks2D
from likeness.trackers.landmarks import Landmarks
from likeness.trackers.mesh_points import FaceMesh

FACE = cv2.resize(astronaut()[0:300, 75:375], (256, 256))
BLACK = np.zeros_like(FACE)


def tracked(pictures: list[np.ndarray], folder: Path, fps: float = 25.0):
    capture = in_memory(pictures, fps)
    return Landmarks().track(capture, clay(), folder)


def all_finite(track) -> bool:
    expressions = track.expressions
    parts = (
        expressions.coefficients,
        expressions.world_from_head,
        expressions.world_from_torso,
        track.identity.directions,
    )
    return all(bool(torch.isfinite(part).all()) for part in parts)


@pytest.mark.parametrize("kind", ["black", "noise"])
def test_a_clip_without_a_face_is_refused_in_one_line(kind, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, FACE.shape).astype(np.uint8)
    with pytest.raises(BadInput, match="No face was found in any of the 3 frames"):
        tracked([BLACK if kind == "black" else noise] * 3, tmp_path)


def test_frames_without_a_face_are_marked_and_the_others_used(tmp_path):
    track = tracked([BLACK] * 3 + [FACE, FACE] + [BLACK] * 3, tmp_path)
    assert (track.confidence > 0).tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert track.landmarks is not None
    assert track.landmarks[0].isnan().all()
    assert all_finite(track)
    assert "Not enough frames" in str(track.report["verdict"])


def test_a_single_picture_is_tracked(tmp_path):
    track = tracked([FACE], tmp_path)
    assert len(track) == 1
    assert all_finite(track)


def test_dark_glasses_do_not_lose_the_face(tmp_path):
    hidden = FACE.copy()
    hidden[95:125, 70:190] = 10
    track = tracked([hidden] * 3, tmp_path)
    assert (track.confidence > 0).all()
    assert all_finite(track)


def test_of_two_people_one_is_followed_throughout(tmp_path):
    track = tracked([np.concatenate([FACE, FACE[:, ::-1]], 1)] * 4, tmp_path)
    assert track.landmarks is not None
    centres = track.landmarks[:, :468, 0].mean(-1)
    assert float(centres.max() - centres.min()) < 10


def test_a_cut_is_counted_and_advised_against(tmp_path):
    moved = np.roll(FACE, 40, 1)
    track = tracked([FACE] * 3 + [255 - BLACK] + [moved] * 3, tmp_path)
    assert int(str(track.report["cuts"])) >= 1
    assert "The clip is cut" in str(track.report["record_next"])
    assert all_finite(track)


def test_frames_of_another_scene_are_left_out_and_said(tmp_path):
    other = np.ascontiguousarray(np.clip(FACE[::1, ::-1] // 2 + 100, 0, 255).astype(np.uint8))
    track = tracked([FACE] * 4 + [other] * 3 + [FACE] * 2, tmp_path)
    assert (track.confidence > 0).tolist() == [True] * 4 + [False] * 3 + [True] * 2
    assert track.report["frames of other scenes"] == 3
    assert "3 of 9 frames show another scene" in str(track.report["record_next"])
    assert all_finite(track)


def test_what_is_behind_is_learned_from_the_scene_of_the_person_alone(tmp_path):
    wall = np.full_like(FACE, (20, 200, 40))
    track = tracked([FACE] * 3 + [wall] * 9, tmp_path)
    assert track.backdrop is not None
    assert not (np.abs(track.backdrop.astype(int) - wall).max(-1) < 30).any()


def test_a_still_picture_is_called_one(tmp_path):
    track = tracked([FACE] * 21, tmp_path)
    assert "still picture" in str(track.report["verdict"])


def small() -> np.ndarray:
    """A face 64 pixels wide, alone in a large picture."""
    picture = np.full((480, 640, 3), 90, np.uint8)
    picture[100:308, 200:408] = cv2.resize(FACE, (208, 208), interpolation=cv2.INTER_AREA)
    return picture


def test_a_face_of_64_pixels_at_60_pictures_a_second_is_found_and_called_small(tmp_path):
    track = tracked([small()] * 3, tmp_path, fps=60.0)
    assert (track.confidence > 0).all()
    assert all_finite(track)
    assert 50 < float(str(track.report["face width, pixels"])) < 75
    said = str(track.report["record_next"])
    assert "film closer" in said
    assert "frames a second are few" not in said


def test_a_clip_that_lies_on_its_side_is_said_to(tmp_path):
    """A phone's rotation is undone where the file tells of it; here nothing does."""
    try:
        track = tracked([np.ascontiguousarray(np.rot90(FACE))] * 2, tmp_path)
    except BadInput as error:
        assert "upright" in str(error)
    else:
        assert "lies on its side" in str(track.report["record_next"])


@pytest.fixture(scope="module")
def mesh() -> np.ndarray:
    with FaceMesh() as finder:
        return finder.find(FACE)[0].points


def figures_of(pictures: list[np.ndarray], mesh: np.ndarray):
    count = len(pictures)
    found = Landmarks2D(
        np.repeat(mesh[None], count, 0),
        np.ones(count, np.float32),
        np.zeros(count, np.int64),
        np.zeros(count, bool),
    )
    return picture_figures(in_memory(pictures), found)


def noisy(picture: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-3, 4, picture.shape)
    return np.clip(picture.astype(int) + noise, 0, 255).astype(np.uint8)


def test_a_plain_clip_is_neither_covered_nor_blurred_nor_dark(mesh):
    seen = figures_of([noisy(FACE, i) for i in range(10)], mesh)
    assert (seen.covered, seen.soft, seen.glasses, seen.people) == (0, 0, False, 1)
    assert seen.light < 0.01
    assert seen.moving > 1e-4


def test_a_hand_before_the_face_is_counted_and_light_alone_is_not(mesh):
    low, high = mesh[:468, :2].min(0).astype(int), mesh[:468, :2].max(0).astype(int)
    pictures = [noisy(FACE, i) for i in range(10)]
    for picture in pictures[3:6]:
        picture[(low[1] + high[1]) // 2 : high[1], low[0] : high[0]] = (70, 100, 160)
    assert figures_of(pictures, mesh).covered == pytest.approx(0.3)
    dimmed = [noisy((FACE * (1 - 0.05 * i)).astype(np.uint8), i) for i in range(10)]
    seen = figures_of(dimmed, mesh)
    assert seen.covered == 0
    assert seen.light > 0.05


def test_dark_glasses_blurred_pictures_and_a_still_are_told_apart(mesh):
    hidden = FACE.copy()
    eyes = mesh[[33, 263, 223, 443, 230, 450], :2]
    low, high = eyes.min(0).astype(int) - 8, eyes.max(0).astype(int) + 8
    hidden[low[1] : high[1], low[0] : high[0]] = 15
    assert figures_of([hidden] * 4, mesh).glasses
    shaken = [noisy(FACE, i) if i < 6 else cv2.blur(FACE, (9, 9)) for i in range(10)]
    assert figures_of(shaken, mesh).soft == pytest.approx(0.4)
    assert figures_of([FACE] * 4, mesh).moving == 0
    two = figures_of([np.concatenate([FACE, FACE], 1)] * 3, mesh)
    assert two.people == 2


def test_advice_asks_for_what_was_not_shown():
    side = np.array([[0.0, 50.0, 0.0]] * 3 + [[20.0, 70.0, 0.0]])
    assert "only seen from the side" in " ".join(_of_poses(side))
    assert "lies on its side" in " ".join(_of_poses(np.array([[0.0, 0.0, 88.0]] * 3)))
    wide = np.array([[-10.0, -20.0, 0.0], [10.0, 20.0, 0.0]])
    assert _of_poses(wide) == []
    moments = clay().neutral(3)
    moments.coefficients[1, ARKIT.index("browInnerUp")] = 0.5
    most = shown(moments, torch.ones(3, dtype=torch.bool))
    assert most["brows up"] == 0.5
    assert most["smile"] == 0
    assert shown(replace(moments, rig="of another package"), torch.ones(3, dtype=torch.bool)) == {}


def test_twelve_pictures_a_second_are_called_few(mesh):
    capture = in_memory([FACE] * 3, fps=12.0)
    found = Landmarks2D(
        np.repeat(mesh[None], 3, 0), np.ones(3), np.zeros(3, np.int64), np.zeros(3, bool)
    )
    assert "12 frames a second are few" in " ".join(
        _of_frames(capture, found, np.ones(3, bool), 200.0)
    )
