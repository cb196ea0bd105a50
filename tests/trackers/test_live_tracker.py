"""One frame at a time: what a camera would have seen, followed without knowing the future."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from likeness.core.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from likeness.core.rig import Identity, embed
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.live import LiveTracker, Steady
from likeness.trackers.live_fit import Fitted, FrameModel, fit_frame, person_model
from likeness.trackers.point_model import point_model
from likeness.trackers.witnesses import default_priors

FACE = cv2.resize(astronaut()[0:300, 75:375], (192, 192))
FOCAL, CENTRE = 600.0, np.array([128.0, 128.0])
JAW = ARKIT.index("jawOpen")


def shifted(by: int) -> np.ndarray:
    return np.roll(FACE, by, 1)


@pytest.fixture(scope="module")
def person():
    g = torch.Generator().manual_seed(4)
    rig = clay()
    who = Identity("clay", 0.5 * torch.randn(len(rig.identity_names), generator=g))
    return rig, who, person_model(rig, point_model(rig), who)


def seen_by_a_camera(person, turn, jaw) -> tuple[np.ndarray, np.ndarray]:
    """Exact landmarks in pixels, and the rotation `camera_from_head`."""
    rig, who, _ = person
    values = torch.zeros(52)
    values[JAW] = jaw
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotation = flip @ axis_angle_to_matrix(torch.tensor(turn))
    points = embed(
        rig.pose(who, replace(rig.neutral(), coefficients=values)), rig.landmarks("mediapipe478")
    )
    at = points @ rotation.T + torch.tensor([0.02, 0.01, 0.6])
    pixels = FOCAL * at[:, :2] / at[:, 2:] + torch.from_numpy(CENTRE).float()
    return pixels.double().numpy(), rotation.numpy()


def begun(shapes: int) -> Fitted:
    return Fitted(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 0.7]), np.zeros(shapes))


def test_two_frames_of_exact_landmarks_give_pose_and_jaw(person):
    model = FrameModel.of(person[2], np.zeros(0), default_priors(person[2], 1.0))
    model = model.without(ARKIT.index("tongueOut"))
    nothing = np.full(52, np.nan)
    first, _ = seen_by_a_camera(person, [0.1, 0.2, 0.0], 0.0)
    then, truth = seen_by_a_camera(person, [0.12, 0.26, 0.02], 0.5)
    start = fit_frame(model, first, FOCAL, CENTRE, begun(52), nothing, 6, held=0.0)
    found = fit_frame(model, then, FOCAL, CENTRE, start, nothing, 2, held=0.3)
    away = matrix_to_axis_angle(torch.from_numpy(found.rotation @ truth.T)).norm().rad2deg()
    assert float(away) < 1.0
    assert found.coefficients[JAW] == pytest.approx(0.5, abs=0.12)
    assert found.translation[2] == pytest.approx(0.6, rel=0.02)


def test_measured_eyes_stay_as_they_were_measured(person):
    model = FrameModel.of(person[2], np.zeros(0), default_priors(person[2], 1.0))
    eyes = np.full(52, np.nan)
    eyes[ARKIT.index("eyeBlinkLeft")] = 0.7
    points, _ = seen_by_a_camera(person, [0.0, 0.0, 0.0], 0.0)
    found = fit_frame(model, points, FOCAL, CENTRE, begun(52), eyes, 3)
    assert found.coefficients[ARKIT.index("eyeBlinkLeft")] == 0.7


def test_a_still_head_is_steadied_and_a_fast_turn_hardly_lags():
    rng = np.random.default_rng(0)

    def pose(yaw: float) -> Fitted:
        noise = np.radians(0.2) * rng.standard_normal(3) + [0, yaw, 0]
        turn = axis_angle_to_matrix(torch.from_numpy(noise)).numpy()
        return Fitted(turn, np.zeros(3), np.zeros(1))

    def turns(yaws: np.ndarray) -> np.ndarray:
        steady, shown = None, []
        for index, yaw in enumerate(yaws):
            now = pose(yaw)
            if steady is None:
                steady = Steady(now, now, np.zeros(3), np.zeros(3), 0.0)
            steady = steady.after(now, index / 25, 1.0)
            shown.append(np.degrees(np.arcsin(steady.shown.rotation[0, 2])))
        return np.array(shown)

    still = turns(np.zeros(60))
    assert np.std(still[20:]) < 0.12
    swift = np.radians(2.0) * np.arange(20)  # 50 degrees a second
    assert np.degrees(swift[-1]) - turns(swift)[-1] < 2.5


def test_a_face_is_learned_then_followed_and_a_lost_one_keeps_its_pose():
    black = np.zeros_like(FACE)
    with LiveTracker(clay(), (192, 192), learn=6) as live:
        early = live.see(black, 0.0)
        assert not early.seen
        moments = [live.see(shifted(2 * i), i / 25) for i in range(1, 13)]
        lost = live.see(black, 13 / 25)
    assert [m.ready for m in moments] == [False] * 5 + [True] * 7
    assert live.calm is not None
    assert float(live.identity.directions.abs().max()) > 0
    across = [float(m.expression.world_from_head[0, 3]) for m in moments[6:]]
    assert bool((np.diff(across) > 0).all())
    depth = -float(moments[-1].expression.world_from_head[2, 3])
    assert across[-1] - across[0] == pytest.approx(10 * depth / live.focal, rel=0.35)
    assert not lost.seen
    assert lost.landmarks is None
    assert torch.equal(lost.expression.world_from_head, moments[-1].expression.world_from_head)


def test_a_known_person_is_followed_from_the_first_frame(person):
    with LiveTracker(clay(), (192, 192), identity=person[1]) as live:
        moment = live.see(FACE, 0.0)
    assert moment.seen
    assert moment.ready
    assert moment.landmarks is not None
    head = live.camera.camera_from_world @ moment.expression.world_from_head
    assert 0.2 < float(head[2, 3]) < 1.5


def test_a_small_face_in_a_large_picture_is_found():
    picture = np.full((480, 640, 3), 90, np.uint8)
    picture[200:264, 300:364] = cv2.resize(FACE, (64, 64), interpolation=cv2.INTER_AREA)
    with LiveTracker(clay(), (640, 480), learn=50) as live:
        moments = [live.see(picture, i / 25) for i in range(2)]
    assert moments[1].landmarks is not None
    assert np.ptp(moments[1].landmarks[:468, 0]) < 64
