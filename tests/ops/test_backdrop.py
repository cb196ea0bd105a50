"""What is behind, seen by a camera that turns and zooms."""

import torch

from likeness.core.batching import take
from likeness.core.camera import Camera, cropped, pinhole
from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.ops.backdrop import _warped, seen_behind, widened
from likeness.ops.backdrop_cpu import warped


def ramp(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x / width, y / height], -1).float()


def test_the_same_camera_sees_the_picture_itself() -> None:
    camera = pinhole(50.0, 12, 10, torch.eye(4))
    picture = torch.rand(10, 12, 3)
    assert torch.equal(seen_behind(picture, camera, camera), picture)


def test_a_zoomed_camera_sees_the_middle_enlarged() -> None:
    camera, near = pinhole(50.0, 40, 40, torch.eye(4)), pinhole(100.0, 40, 40, torch.eye(4))
    seen = seen_behind(ramp(40, 40), camera, near)
    expected = 0.5 + (ramp(40, 40) - 0.5) / 2
    assert torch.allclose(seen, expected, atol=1e-5)


def test_a_rolled_camera_sees_it_rolled_the_other_way() -> None:
    quarter = rigid(axis_angle_to_matrix(torch.tensor([0, 0, torch.pi / 2])), torch.zeros(3))
    camera = pinhole(50.0, 8, 8, torch.eye(4))
    picture = torch.rand(8, 8, 1)
    seen = seen_behind(picture, camera, pinhole(50.0, 8, 8, quarter))
    assert torch.allclose(seen, picture.rot90(-1, (0, 1)), atol=1e-4)


def test_it_shrinks_with_the_picture_and_carries_gradients() -> None:
    camera = pinhole(50.0, 16, 16, torch.eye(4))
    small = pinhole(26.0, 8, 8, torch.eye(4))
    picture = torch.rand(16, 16, 3, requires_grad=True)
    seen = seen_behind(picture, camera, small)
    assert seen.shape == (8, 8, 3)
    seen.sum().backward()
    assert float(picture.grad.sum()) > 0


def test_the_fast_twin_agrees_in_values_and_gradients() -> None:
    for height, width in ((1, 1), (7, 5), (33, 40)):
        size = (width + 3, max(1, height - 2))
        camera = pinhole(50.0, *size, torch.eye(4, dtype=torch.float64))
        turn = axis_angle_to_matrix(torch.tensor([0.02, -0.03, 0.2], dtype=torch.float64))
        back = turn + torch.tensor([[0.1, 0, 1.5], [0, 0, -2.2], [0, 0, 0.3]], dtype=torch.float64)
        truth = torch.rand(height, width, 3, dtype=torch.float64, requires_grad=True)
        fast = truth.detach().float().requires_grad_()
        weight = torch.rand(size[1], size[0], 3, dtype=torch.float64)
        expected, found = _warped(truth, back, camera), warped(fast, back, camera)
        torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)
        (expected * weight).sum().backward()
        (found * weight).sum().backward()
        torch.testing.assert_close(fast.grad.double(), truth.grad, atol=2e-4, rtol=0)


def test_what_other_cameras_see_beyond_the_border_gets_room() -> None:
    turns = axis_angle_to_matrix(torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, -0.05, 0]]))
    poses = torch.stack([rigid(turn, torch.zeros(3)) for turn in turns])
    cameras = Camera(pinhole(60.0, 40, 30, poses[0]).intrinsics.expand(3, 3, 3), poses, 40, 30)
    taken, picture = take(cameras, 0), torch.rand(30, 40, 3)
    wide, left, top = widened(picture, taken, cameras)
    assert wide.shape == (30 + 2 * top, 40 + 2 * left, 3)
    assert 6 <= top <= 12
    assert 3 <= left <= 8
    assert torch.equal(wide[top : top + 30, left : left + 40], picture)
    whole = cropped(taken, -left, -top, wide.shape[1], wide.shape[0])
    assert torch.equal(seen_behind(wide, whole, taken), picture)
    wide = wide.clone().requires_grad_()
    seen_behind(wide, whole, take(cameras, 1)).sum().backward()
    beyond = wide.grad.clone()
    beyond[top : top + 30] = 0
    assert float(beyond.abs().sum()) > 0.1 * float(wide.grad.sum())  # pictures teach the room


def test_a_still_camera_needs_no_room() -> None:
    camera = pinhole(50.0, 12, 10, torch.eye(4))
    picture = torch.rand(10, 12, 3)
    wide, left, top = widened(picture, camera, camera)
    assert (left, top) == (0, 0)
    assert torch.equal(wide, picture)
