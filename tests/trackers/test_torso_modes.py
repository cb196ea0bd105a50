"""How clothes bend, told from pictures of a cloth that bends in one known way."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from likeness.core.camera import Camera
from likeness.core.capture import Capture
from likeness.core.expression import Expression
from likeness.core.regions import REGION
from likeness.core.rig import Identity
from likeness.core.track import Track
from likeness.trackers.torso_modes import Patterns, torso_modes, uncovered

SIZE, FRAMES = 96, 40


class Cloth:
    """A checked cloth whose left half rises by `rise` pixels, smoothly towards the middle."""

    def __init__(self, rise: np.ndarray) -> None:
        self.rise = rise
        coarse = np.random.default_rng(1).uniform(20, 230, (20, 20, 3)).astype(np.uint8)
        self.cloth = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)

    def rgb(self, index: int) -> np.ndarray:
        y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
        lift = self.rise[index] * np.clip(1 - x / SIZE, 0, 1)
        return cv2.remap(self.cloth, x, y + lift.astype(np.float32), cv2.INTER_LINEAR)

    def alpha(self, index: int) -> np.ndarray:
        return np.full((SIZE, SIZE), 255, np.uint8)

    def regions(self, index: int) -> np.ndarray:
        labels = np.zeros((SIZE, SIZE), np.uint8)
        labels[40:] = REGION["clothes"]
        return labels


def recorded(rise: np.ndarray) -> tuple[Capture, Track]:
    cloth = Cloth(rise)
    times = tuple(i / 25 for i in range(FRAMES))
    capture = Capture("cloth", cloth, times, (SIZE, SIZE), fps=25.0)
    lens = torch.tensor([[200.0, 0, 48], [0, 200.0, 48], [0, 0, 1]])
    still = torch.eye(4).repeat(FRAMES, 1, 1)
    still[:, 2, 3] = 1.5
    cameras = Camera(lens.expand(FRAMES, 3, 3), torch.eye(4).expand(FRAMES, 4, 4), SIZE, SIZE)
    expressions = Expression("clay", torch.zeros(FRAMES, 52), torch.zeros(FRAMES, 4, 3), still)
    expressions = replace(expressions, world_from_torso=still.clone())
    identity = Identity("clay", torch.zeros(1))
    track = Track(cameras, expressions, identity, torch.ones(FRAMES), maps=cloth)
    return capture, track


def test_one_way_of_bending_is_found_and_followed_in_frames_it_was_not_learned_from() -> None:
    rise = 1.5 * np.sin(np.arange(FRAMES) / 3.0)
    capture, track = recorded(rise)
    found = torso_modes(capture, track, list(range(30)), 0, 1.0, 4)
    assert found is not None
    weights, fields = found
    alike = np.corrcoef(weights[30:, 0].numpy(), rise[30:])[0, 1]
    assert abs(alike) > 0.98
    lifted = SIZE * fields[0, 16, 2, 1] * weights[:, 0]
    assert float(lifted.std()) == pytest.approx(rise.std() * 0.9, rel=0.25)
    assert weights.shape[1] <= 2 or float(weights[:, 2:].std()) < 1.5


def test_a_stiff_cloth_has_no_modes() -> None:
    capture, track = recorded(np.zeros(FRAMES))
    assert torso_modes(capture, track, list(range(30)), 0, 1.0, 4) is None


def test_patterns_are_ordered_from_smooth_to_busy() -> None:
    points = np.random.default_rng(0).uniform(0, SIZE, (500, 2))
    strength = np.square(Patterns.over(points, SIZE).at(points)).mean(0)
    assert strength[0] > strength[5] > strength[-1] > 0


def test_what_lies_before_the_cloth_covers_it_and_a_pixel_around() -> None:
    capture, track = recorded(np.zeros(FRAMES))
    cloth = track.maps
    assert isinstance(cloth, Cloth)
    labels = cloth.regions(0)
    labels[50:60, 30:50] = REGION["skin"]
    cloth.regions = lambda index: labels  # type: ignore[method-assign]
    points = np.array([[40.5, 55.5], [29.5, 55.5], [27.5, 55.5], [40.5, 80.5]])
    assert uncovered(track, 0, points).tolist() == [0, 0, 1, 1]
