import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.batching import move, take
from likeness.core.camera import (
    cropped,
    pinhole,
    pixel_grid,
    pixel_rays,
    project,
    resized,
    to_camera,
)
from likeness.core.geometry import look_at


def camera(seed=0, width=64, height=48, batch=()):
    g = torch.Generator().manual_seed(seed)
    eye = torch.randn((*batch, 3), generator=g, dtype=torch.float64)
    up = eye.new_tensor([0.0, 1.0, 0.0])
    pose = look_at(eye, eye + torch.randn(eye.shape, generator=g, dtype=torch.float64), up)
    return pinhole(70.0, width, height, pose, centre=(30.0, 25.5))


@given(st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_point_on_a_pixels_ray_projects_onto_that_pixel(seed):
    view = camera(seed)
    pixels = pixel_grid(view)
    origins, directions = pixel_rays(view, pixels)
    torch.testing.assert_close(project(view, origins + 2.5 * directions), pixels)


def test_distance_along_a_ray_is_depth():
    view = camera(3)
    origins, directions = pixel_rays(view, pixel_grid(view))
    depth = to_camera(view, origins + 1.7 * directions)[..., 2]
    torch.testing.assert_close(depth, torch.full_like(depth, 1.7))


def test_the_first_pixel_has_its_centre_at_one_half():
    assert pixel_grid(camera())[0].tolist() == [0.5, 0.5]


def test_resizing_and_cropping_move_projections_as_they_move_pictures():
    view = camera(5)
    _, directions = pixel_rays(view, pixel_grid(view)[:7])
    origins, _ = pixel_rays(view, pixel_grid(view)[:7])
    points = origins + directions
    at = project(view, points)
    torch.testing.assert_close(project(resized(view, 128, 96), points), 2 * at)
    moved = project(cropped(view, 3.0, 4.0, 20, 20), points)
    torch.testing.assert_close(moved, at - at.new_tensor([3.0, 4.0]))


def test_a_batch_of_cameras_equals_its_loop():
    views = camera(2, batch=(3,))
    points = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = project(views, points)
    for i in range(3):
        torch.testing.assert_close(project(take(views, i), points[i]), whole[i])


def test_moving_a_camera_moves_all_its_tensors():
    moved = move(camera(), "meta")
    assert moved.intrinsics.device.type == moved.camera_from_world.device.type == "meta"
