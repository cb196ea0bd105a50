"""Gaze of one frame at a time: painted eyeballs whose gaze is known, and a synthetic person."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from likeness.captures.synthetic import film
from likeness.core.rig import Identity
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.eyeballs import eyeballs, struck
from likeness.trackers.eyes import RIMS
from likeness.trackers.iris import line_of_sight
from likeness.trackers.live import LiveTracker
from likeness.trackers.live_fit import Fitted
from likeness.trackers.live_gaze import EyePicture, LiveGaze
from likeness.trackers.saccades import Held

FOCAL, CENTRE, SIZE = 900.0, np.array([160.0, 120.0]), (240, 320)
OPEN, SHUT = [1.0, 1.0], [0.1, 0.1]
SKIN, WHITE, IRIS, PUPIL = (190, 140, 120), (235, 230, 225), (70, 100, 140), (15, 12, 10)


class Painted:
    """A head before a camera, of which only the eyes are painted."""

    def __init__(self) -> None:
        self.rig = clay()
        identity = Identity("clay", torch.zeros(len(self.rig.identity_names)))
        self.balls = eyeballs(self.rig, identity)
        self.at = Fitted(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 0.5]), np.zeros(52))
        self.live = LiveGaze(self.rig, identity)
        self.noise = np.random.default_rng(0)
        angles = np.pi - 2 * np.pi * np.arange(16) / 16  # from the corner at the picture's left
        self.rim = np.stack([np.cos(angles), -0.42 * np.sin(angles)], -1) * 0.0105

    def eyes(
        self, gaze: list[float], shut: bool = False, nudge: float = 0.0, light: float = 1.0
    ) -> EyePicture:
        """Both looking by `gaze` degrees (left, up)."""
        picture = np.full((*SIZE, 3), SKIN, np.float64)
        v, u = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
        rays = np.stack([(u - CENTRE[0]) / FOCAL, (v - CENTRE[1]) / FOCAL, np.ones(SIZE)], -1)
        points = np.zeros((478, 2))
        for ball, loop in zip(self.balls, RIMS, strict=True):
            middle = self.at.rotation @ ball.middle + self.at.translation
            at = FOCAL * middle[:2] / middle[2] + CENTRE
            points[loop] = at + FOCAL / middle[2] * self.rim + nudge
            place, inside = struck(rays.reshape(-1, 3), middle, ball.radius)
            angle = np.degrees(
                np.arccos(
                    np.clip(place @ self.at.rotation @ line_of_sight(np.radians(gaze)), -1, 1)
                )
            ).reshape(SIZE)
            off = (np.stack([u, v], -1) - at) * middle[2] / FOCAL / 0.0105
            lid = (off[..., 0] ** 2 + (off[..., 1] / 0.42) ** 2 < 1) & (inside.reshape(SIZE) > 0)
            for colour, edge in ((WHITE, 180), (IRIS, 28), (PUPIL, 11)):
                if not shut:
                    picture[lid & (angle < edge)] = colour
        picture = light * picture + self.noise.normal(0, 3, picture.shape)
        return EyePicture.of(np.clip(picture, 0, 255).astype(np.uint8), points)

    def see(self, eyes: EyePicture, lids: list[float] = OPEN) -> dict[str, float]:
        return self.live.read(eyes, self.at, FOCAL, CENTRE, lids)

    def degrees(self, curves: dict[str, float]) -> np.ndarray:
        """Left and up, of the left eye."""
        full = {n: float(self.rig.shape_joints[ARKIT.index(n)].norm()) for n in curves}
        turn = {n[7:]: np.degrees(v * full[n]) for n, v in curves.items() if n.endswith("Left")}
        return np.array([turn["OutLeft"] - turn["InLeft"], turn["UpLeft"] - turn["DownLeft"]])

    def learn(self) -> None:
        for side in (-16, -8, 0, 8, 16, 0):
            for up in (-6, 0, 6, 0):
                self.see(self.eyes([side, up]))


@pytest.fixture
def painted():
    one = Painted()
    one.learn()
    return one


def test_nothing_is_said_before_eyes_are_known():
    one = Painted()
    assert one.see(one.eyes([0, 0])) == {}


@pytest.mark.parametrize("gaze", [(14, 0), (-14, 0), (0, 8), (0, -8), (-10, 5)])
def test_a_jump_is_found_at_once_with_its_sign_and_size(painted, gaze):
    before = painted.degrees(painted.see(painted.eyes([0, 0])))
    now = painted.degrees(painted.see(painted.eyes(list(gaze))))
    np.testing.assert_allclose(now - before, gaze, atol=2.0)


def test_closed_eyes_keep_looking_where_they_looked(painted):
    before = painted.see(painted.eyes([10, 0]))
    shut = painted.eyes([0, 0], shut=True)
    assert painted.see(shut, SHUT) == before
    late = painted.see(shut, OPEN)  # landmarks that say open where there is only a lid
    assert late == pytest.approx(before, abs=0.02)
    after = painted.see(painted.eyes([10, 0]))
    assert after == pytest.approx(before, abs=0.03)


def test_what_a_lost_face_looked_at_is_forgotten(painted):
    painted.see(painted.eyes([14, 0]))
    painted.live.lose()
    assert painted.see(painted.eyes([0, 0], shut=True), SHUT) == {}
    assert abs(painted.degrees(painted.see(painted.eyes([-10, 0])))[0] + 10) < 2.5


@pytest.mark.parametrize("nudge", [150.0, 1000.0, -1000.0])
def test_eyes_beyond_the_picture_change_nothing(painted, nudge):
    before = painted.see(painted.eyes([6, 0]))
    assert painted.see(painted.eyes([6, 0], nudge=nudge)) == pytest.approx(before, abs=0.02)


def test_eyes_a_few_pixels_wide_are_left_to_the_landmarks(painted):
    eyes = painted.eyes([0, 0])
    small = replace(eyes, points=eyes.points / 12)
    assert painted.see(small) == {}


@pytest.mark.parametrize("light", [0.4, 1.15])
def test_light_that_changes_at_once_moves_no_gaze(painted, light):
    before = painted.degrees(painted.see(painted.eyes([-8, 0])))
    after = painted.degrees(painted.see(painted.eyes([-8, 0], light=light)))
    np.testing.assert_allclose(after, before, atol=1.0)
    jumped = painted.degrees(painted.see(painted.eyes([8, 0], light=light)))
    assert jumped[0] - before[0] == pytest.approx(16, abs=2.0)


def test_rings_follow_eyes_that_darken_in_their_sockets(painted):
    last = np.zeros(2)
    for index in range(160):
        eyes = painted.eyes([8 * ((index // 10) % 3 - 1), 0])
        part = (eyes.part * (1 - 0.4 * index / 160)).astype(np.uint8)
        last = painted.degrees(painted.see(replace(eyes, part=part)))
    assert last[0] == pytest.approx(-8, abs=2.0)


def test_gaze_that_holds_is_calm_and_gaze_that_jumps_is_not_late():
    noise = np.radians(1.0) * np.random.default_rng(0).standard_normal((200, 2))
    certain = np.eye(2) / np.radians(1.0) ** 2
    held, shown = Held(noise[0], np.zeros(2)), []
    for index, wrong in enumerate(noise):
        held = held.after(np.radians([10.0 * (index >= 100), 0.0]) + wrong, certain)
        shown.append(np.degrees(held.gaze))
    shown = np.array(shown)
    assert shown[20:100].std() < 0.55
    assert shown[100, 0] > 8


def test_a_synthetic_person_is_seen_to_look_where_they_look():
    capture, truth = film(8, 50, 256, 25.0, 0)
    focal = float(truth.cameras.intrinsics[0, 0, 0])
    with LiveTracker(clay(), (256, 256), focal, learn=20) as live:
        moments = [live.see(frame.rgb8, i / 25).expression for i, frame in enumerate(capture)]
        live.see(np.zeros((256, 256, 3), np.uint8), 3.0)
    found = torch.stack([m.coefficients for m in moments])[20:]
    true = truth.expressions.coefficients[20:]

    def look(c, plus, minus):
        return (c[:, ARKIT.index(plus)] - c[:, ARKIT.index(minus)]).numpy()

    side, up = ("eyeLookOutLeft", "eyeLookInLeft"), ("eyeLookUpRight", "eyeLookDownRight")
    assert np.corrcoef(look(found, *side), look(true, *side))[0, 1] > 0.93
    assert np.corrcoef(look(found, *up), look(true, *up))[0, 1] > 0.75
