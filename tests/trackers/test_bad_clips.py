"""Clips nobody should have recorded: what works is used, the rest is marked, nothing crashes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.rigs.clay import clay
from likeness.trackers.landmarks import Landmarks

FACE = cv2.resize(astronaut()[0:300, 75:375], (256, 256))
BLACK = np.zeros_like(FACE)


class Held:
    """Pictures in memory."""

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures

    def rgb(self, index: int) -> np.ndarray:
        return self.pictures[index]

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


def tracked(pictures: list[np.ndarray], folder: Path):
    height, width = pictures[0].shape[:2]
    times = tuple(i / 25 for i in range(len(pictures)))
    capture = Capture("clip", Held(pictures), times, (width, height), fps=25.0)
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
