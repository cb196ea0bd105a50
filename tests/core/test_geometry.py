import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.geometry import (
    axis_angle_to_matrix,
    invert_rigid,
    look_at,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_multiply,
    quaternion_to_matrix,
    rigid,
    rotation_6d_to_matrix,
    se3_exp,
    transform,
    umeyama,
)

seeds = st.integers(0, 2**31)


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, st.floats(0, math.pi - 1e-6))
@settings(max_examples=30, deadline=None)
def test_axis_angle_survives_the_trip_through_a_matrix(seed, angle):
    axis = torch.nn.functional.normalize(normal(seed, 7, 3), dim=-1)
    back = matrix_to_axis_angle(axis_angle_to_matrix(axis * angle))
    torch.testing.assert_close(back, axis * angle, atol=1e-7, rtol=0)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_quaternions_multiply_as_their_matrices_do(seed):
    a, b = normal(seed, 5, 4), normal(seed + 1, 5, 4)
    product = quaternion_to_matrix(quaternion_multiply(a, b))
    torch.testing.assert_close(product, quaternion_to_matrix(a) @ quaternion_to_matrix(b))


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_every_rotation_we_make_is_orthonormal_and_right_handed(seed):
    eye = torch.eye(3, dtype=torch.float64)
    for m in (
        axis_angle_to_matrix(3 * normal(seed, 6, 3)),
        rotation_6d_to_matrix(normal(seed, 6, 6)),
        quaternion_to_matrix(normal(seed, 6, 4)),
        look_at(normal(seed, 6, 3), normal(seed + 1, 6, 3), normal(seed + 2, 6, 3))[..., :3, :3],
    ):
        torch.testing.assert_close(m @ m.mT, eye.expand_as(m))
        torch.testing.assert_close(torch.linalg.det(m), m.new_ones(6))


def test_half_turns_about_any_axis_come_back_as_quaternions():
    axes = torch.nn.functional.normalize(normal(3, 50, 3), dim=-1)
    m = axis_angle_to_matrix(axes * math.pi)
    torch.testing.assert_close(quaternion_to_matrix(matrix_to_quaternion(m)), m)


def test_gradients_at_no_rotation_are_finite():
    v = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    axis_angle_to_matrix(v).sum().backward()
    assert torch.isfinite(v.grad).all()
    u = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    se3_exp(u).sum().backward()
    assert torch.isfinite(u.grad).all()


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_half_of_a_motion_twice_is_the_motion(seed):
    v = normal(seed, 4, 6)
    half = se3_exp(v / 2)
    torch.testing.assert_close(half @ half, se3_exp(v))


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_rigid_motion_and_its_inverse_cancel(seed):
    m = rigid(axis_angle_to_matrix(normal(seed, 3, 3)), normal(seed + 1, 3, 3))
    points = normal(seed + 2, 3, 9, 3)
    torch.testing.assert_close(transform(invert_rigid(m), transform(m, points)), points)


@given(seeds, st.floats(0.1, 10), st.booleans())
@settings(max_examples=30, deadline=None)
def test_alignment_recovers_the_similarity_that_was_applied(seed, scale, scaled):
    scale = scale if scaled else 1.0
    rotation = axis_angle_to_matrix(normal(seed, 3))
    shift, source = normal(seed + 1, 3), normal(seed + 2, 12, 3)
    target = scale * source @ rotation.T + shift
    s, r, t = umeyama(source, target, scaled=scaled)
    torch.testing.assert_close(s, torch.tensor(scale, dtype=torch.float64))
    torch.testing.assert_close(r, rotation)
    torch.testing.assert_close(t, shift)


def test_alignment_never_reflects():
    source = normal(1, 10, 3)
    _, r, _ = umeyama(source, source * torch.tensor([-1.0, 1.0, 1.0]))
    assert torch.linalg.det(r) > 0.99


def test_a_camera_that_looks_at_a_point_sees_it_ahead_and_up_is_up():
    eye, target = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.5, 0.0])
    pose = look_at(eye, target, torch.tensor([0.0, 1.0, 0.0]))
    seen = transform(pose, torch.stack([target, target + torch.tensor([0.0, 0.1, 0.0])]))
    assert seen[0, :2].abs().max() < 1e-6
    assert seen[0, 2] > 0
    assert seen[1, 1] < seen[0, 1]  # y points down in a picture
