"""A camera that zooms, rolls and sways, told by what is behind the person."""

import numpy as np
import pytest
import torch

from likeness.core.camera import far_away, pinhole, project
from likeness.core.capture import Capture
from likeness.core.geometry import invert_rigid, transform
from likeness.rigs.clay import clay
from likeness.trackers.camera_motion import (
    camera_motion,
    moved_points,
    moving_cameras,
    relative_to,
    steadied,
    steadied_points,
)
from likeness.trackers.torso import (
    carried_along,
    screen_motion,
    shoulder_depth,
    world_from_torso,
)

SIZE = 96


class Swaying:
    """A textured wall filmed by a moving camera, with a plain figure in front of it."""

    def __init__(self, motion: np.ndarray) -> None:
        self.motion = motion
        draw = np.random.default_rng(0)
        coarse = draw.uniform(30, 220, (24, 24, 3)).astype(np.uint8)
        import cv2

        self.wall = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        self.matte = np.zeros((SIZE, SIZE), np.uint8)
        self.matte[40:, 30:66] = 255

    def rgb(self, index: int) -> np.ndarray:
        undone = relative_to(np.zeros((1, 4)), self.motion[index])[0]
        picture = steadied(self.wall, undone).copy()
        picture[self.matte > 0] = 90
        return picture

    def alpha(self, index: int) -> np.ndarray:
        return self.matte

    def regions(self, index: int) -> None:
        return None


def recorded(motion: np.ndarray) -> tuple[Capture, Swaying]:
    pictures = Swaying(motion)
    times = tuple(i / 25 for i in range(len(motion)))
    return Capture("swaying", pictures, times, (SIZE, SIZE), fps=25.0), pictures


def test_a_camera_is_found_again_after_frames_of_something_else() -> None:
    motion = np.tile([0.02, 0.01, 0.02, -0.01], (14, 1)) * np.linspace(0, 1, 14)[:, None]
    between = range(4, 10)
    strayed = motion.copy()
    strayed[between, 2] += 0.025 * np.arange(1, 7)  # a picture that walks away, then is back
    capture, maps = recorded(strayed)
    seen = np.array([float(i not in between) for i in range(14)])
    found = camera_motion(capture, maps, seen)
    np.testing.assert_allclose(found[10:], motion[10:], atol=2e-3)


def test_zoom_roll_and_shift_are_recovered_to_an_eighth_of_a_pixel() -> None:
    t = np.linspace(0, 1, 12)[:, None]
    motion = t * np.array([[0.03, 0.02, 0.025, -0.015]])
    capture, maps = recorded(motion)
    found = camera_motion(capture, maps, np.ones(12))
    corners = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]], float)
    size = np.array([SIZE, SIZE], float)
    for a, b in zip(found, motion, strict=True):
        error = moved_points(corners, a, size)[0] - moved_points(corners, b, size)[0]
        assert np.abs(error).max() < 0.12


def test_a_still_camera_is_called_still() -> None:
    capture, maps = recorded(np.zeros((12, 4)))
    assert not camera_motion(capture, maps, np.ones(12)).any()


def test_moving_cameras_see_far_things_where_the_motion_puts_them() -> None:
    motion = np.array([[0, 0, 0, 0], [0.05, 0.1, 0.02, -0.03]])
    camera = pinhole(120.0, SIZE, SIZE, torch.eye(4), (40.0, 55.0))
    cameras = moving_cameras(camera, motion)
    points = np.array([[10.0, 20.0], [70.0, 80.0]])
    expected, _ = moved_points(points, motion[1], np.array([SIZE, SIZE], float))
    plane = far_away(cameras, camera)[1].numpy()
    seen = np.concatenate([points, np.ones((2, 1))], 1) @ plane.T
    assert seen[:, :2] / seen[:, 2:] == pytest.approx(expected, abs=1e-3)
    somewhere = torch.tensor([[0.1, 0.2, 2.0], [-0.3, 0.1, 1.5]])
    first = project(moving_cameras(camera, motion * 0), somewhere[None].expand(2, 2, 3))[1].numpy()
    second = project(cameras, somewhere[None].expand(2, 2, 3))[1].numpy()
    assert second == pytest.approx(
        moved_points(first, motion[1], np.array([SIZE, SIZE], float))[0], abs=1e-3
    )


def test_steadied_landmarks_are_where_the_first_camera_saw_them() -> None:
    motion = np.array([[0.05, 0.1, 0.02, -0.03]])
    points = np.array([[[10.0, 20.0], [70.0, 80.0]]])
    moved, _ = moved_points(points[0], motion[0], np.array([SIZE, SIZE], float))
    assert steadied_points(moved[None], motion, (SIZE, SIZE))[0] == pytest.approx(points[0])


def test_shoulder_motion_on_screen_survives_the_way_through_the_world() -> None:
    motion = np.array([[0.0, 0, 0, 0], [0.1, 0.02, -0.03, 0.04], [-0.05, 0.1, 0.0, -0.06]])
    camera = pinhole(300.0, SIZE, SIZE, torch.eye(4), (50.0, 40.0))
    rest = torch.eye(4)
    rest[:3, 3] = torch.tensor([0.02, 0.01, 1.4])
    placed = world_from_torso(motion, camera, rest, 1.5)
    assert screen_motion(placed, camera, 0, 1.5) == pytest.approx(motion, abs=1e-5)


def test_shoulder_motion_can_be_read_against_another_frame_than_it_was_made_with() -> None:
    motion = np.array([[0.0, 0, 0, 0], [0.1, 0.02, -0.03, 0.04], [-0.05, 0.1, 0.0, -0.06]])
    camera = pinhole(300.0, SIZE, SIZE, torch.eye(4), (50.0, 40.0))
    rest = torch.eye(4)
    rest[:3, 3] = torch.tensor([0.02, 0.01, 1.4])
    placed = world_from_torso(motion, camera, rest, 1.5)
    again = screen_motion(placed, camera, 1, 1.5 / (1 + motion[1, 3]))  # it had come nearer
    assert again[1] == pytest.approx(0, abs=1e-5)
    points, still = np.array([[10.0, 90.0], [70.0, 60.0]]), np.eye(3)
    since = carried_along(points, motion[1], SIZE, still)
    for one, other in zip(motion, again, strict=True):
        expected = carried_along(points, one, SIZE, still)
        assert carried_along(since, other, SIZE, still) == pytest.approx(expected, abs=1e-3)


def test_shoulders_move_at_their_own_depth() -> None:
    """A point at that depth, carried by the torso, is seen where the motion on screen has it."""
    rig, camera = clay(), pinhole(300.0, SIZE, SIZE, torch.eye(4), (48.0, 48.0))
    rest = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    rest[2, 3] = 1.0
    depth = shoulder_depth(rig, rig.rest(), camera, rest)
    assert 1.03 < depth < 1.12
    motion = np.array([[0.0, 0, 0, 0], [0.1, 0.02, -0.03, 0.04]])
    placed = world_from_torso(motion, camera, rest, depth)
    pixels = np.array([[30.0, 80.0], [70.0, 85.0]])
    flat = (torch.from_numpy(pixels).float() - 48) / 300
    there = depth * torch.cat([flat, torch.ones(2, 1)], -1)
    moved = transform(placed[1] @ invert_rigid(placed[0]), there)
    expected = carried_along(pixels, motion[1], SIZE, np.eye(3))
    assert project(camera, moved).numpy() == pytest.approx(expected, abs=1e-3)
