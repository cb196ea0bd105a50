"""Shoulders followed from frame to frame, in a still camera and in one that sways."""

import cv2
import numpy as np
import pytest

from likeness.core.capture import Capture
from likeness.trackers.camera_motion import matrix_of, steadied
from likeness.trackers.torso import on_screen, shoulder_motion

SIZE, COUNT, MIDDLE = 128, 11, 5


class Dressed:
    """A checked coat before a plain wall, seen by a camera that sways."""

    def __init__(self, motion: np.ndarray, swaying: np.ndarray) -> None:
        draw = np.random.default_rng(1).uniform(20, 230, (20, 20, 3)).astype(np.uint8)
        self.coat = cv2.resize(draw, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        self.matte = np.zeros((SIZE, SIZE), np.float32)
        self.matte[70:, 20:108] = 1
        self.motion, self.swaying = motion, swaying

    def rgb(self, index: int) -> np.ndarray:
        corners = np.array([[0.0, 0], [SIZE, 0], [0, SIZE]])
        moved = on_screen(corners, self.motion[index], SIZE, np.eye(3))[0]
        warp = cv2.getAffineTransform((corners - 0.5).astype("f4"), (moved - 0.5).astype("f4"))
        coat, matte = (
            cv2.warpAffine(x, warp, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
            for x in (self.coat, self.matte)
        )
        wall = np.full_like(coat, 120)
        picture = np.where(matte[..., None] > 0.5, coat, wall)
        undone = np.linalg.inv(matrix_of(self.swaying[index]))
        roll = np.arctan2(undone[1, 0], undone[0, 0])
        zoom = np.hypot(undone[0, 0], undone[1, 0]) - 1
        return steadied(picture, np.array([zoom, roll, *undone[:2, 2]]))

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


def measured(motion: np.ndarray, swaying: np.ndarray, seen: np.ndarray) -> np.ndarray:
    pictures = Dressed(motion, swaying)
    times = tuple(i / 25 for i in range(COUNT))
    capture = Capture("dressed", pictures, times, (SIZE, SIZE), fps=25.0)
    return shoulder_motion(capture, pictures.matte > 0.5, MIDDLE, seen, swaying)


@pytest.mark.parametrize("sway", [0.0, 1.0])
def test_shoulders_are_followed_both_ways_from_the_reference(sway):
    steps = (np.arange(COUNT) - MIDDLE)[:, None]
    motion = steps * np.array([0.008, 0.006, -0.003, 0.004])
    swaying = sway * steps * np.array([[0.002, 0.003, 0.004, -0.003]])
    swaying -= swaying[MIDDLE]  # the mask is of a frame that did not sway
    found = measured(motion, swaying, np.ones(COUNT))
    np.testing.assert_allclose(found[1:-1], motion[1:-1], atol=0.004)


def test_frames_without_a_face_keep_the_last_motion():
    steps = (np.arange(COUNT) - MIDDLE)[:, None]
    seen = np.ones(COUNT)
    seen[7:] = 0
    found = measured(steps * np.array([0.0, 0.006, 0, 0]), np.zeros((COUNT, 4)), seen)
    np.testing.assert_allclose(found[8:, 1], 0.006, atol=0.002)
    assert not measured(0 * steps * np.ones(4), np.zeros((COUNT, 4)), seen).round(3).any()
