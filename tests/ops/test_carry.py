import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.geometry import axis_angle_to_matrix, matrix_to_quaternion, quaternion_multiply
from likeness.ops.carry import _carry, carry

normalize = torch.nn.functional.normalize


def scene(seed, count, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    vertices = torch.randn(40, 3, generator=g, dtype=dtype)
    corners = (
        torch.stack([torch.randperm(40, generator=g)[:3] for _ in range(count)])
        if count
        else (torch.zeros(0, 3, dtype=torch.long))
    )
    weights = torch.rand(count, 3, generator=g, dtype=dtype)
    weights = weights / weights.sum(-1, keepdim=True)
    offsets = torch.randn(count, 3, generator=g, dtype=dtype)
    rotations = normalize(torch.randn(count, 4, generator=g, dtype=dtype), dim=-1)
    return vertices, corners, weights, offsets, rotations


def gradients(function, inputs):
    inputs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    means, turned = function(*inputs)
    (means * torch.tensor([1.0, -2.0, 3.0]) + means**2).sum().backward(retain_graph=True)
    (turned * torch.tensor([1.0, -2.0, 3.0, 0.5])).sum().backward()
    return means, turned, inputs[0].grad, inputs[3].grad, inputs[4].grad


@pytest.mark.parametrize("count", [0, 1, 7, 301])
def test_the_fast_twin_agrees_in_values_and_gradients(count):
    inputs = scene(count, count)
    truth = gradients(_carry, inputs)
    fast = gradients(carry, [x.float() if x.is_floating_point() else x for x in inputs])
    for expected, found in zip(truth, fast):
        scale = expected.abs().max().clamp(min=1) if expected.numel() else 1
        torch.testing.assert_close(found.double() / scale, expected / scale, atol=3e-5, rtol=0)
        if expected.numel():
            assert (found.norm(dim=-1) > 0).equal(expected.norm(dim=-1) > 0)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_moving_the_surface_rigidly_moves_its_passengers_with_it(seed):
    vertices, *rest = scene(seed, 11)
    turn = axis_angle_to_matrix(torch.randn(3, dtype=torch.float64))
    shift = torch.randn(3, dtype=torch.float64)
    means, rotation = _carry(vertices, *rest)
    moved, turned = _carry(vertices @ turn.T + shift, *rest)
    torch.testing.assert_close(moved, means @ turn.T + shift)
    expected = quaternion_multiply(matrix_to_quaternion(turn), rotation)
    dots = (normalize(turned, dim=-1) * normalize(expected, dim=-1)).sum(-1).abs()
    torch.testing.assert_close(dots, torch.ones_like(dots))


def test_a_degenerate_triangle_carries_in_the_axes_of_the_world():
    vertices = torch.tensor([[1.0, 2.0, 3.0]]).expand(3, 3).contiguous()
    weights, offset = torch.full((1, 3), 1 / 3), torch.tensor([[0.1, 0.2, 0.3]])
    means, rotation = carry(
        vertices, torch.tensor([[0, 1, 2]]), weights, offset, torch.tensor([[1.0, 0, 0, 0]])
    )
    torch.testing.assert_close(means, torch.tensor([[1.1, 2.2, 3.3]]))
    torch.testing.assert_close(rotation, torch.tensor([[1.0, 0, 0, 0]]))
