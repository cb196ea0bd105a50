import pytest
import torch

from likeness.core.errors import BadInput
from likeness.core.geometry import axis_angle_to_matrix
from likeness.ops.gleam import _gleam, _seen_along, gleam, seen_along
from likeness.ops.harmonics import splat_colour, turned_harmonics


def unit(count, g):
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=-1)


@pytest.mark.parametrize(("count", "degree"), [(0, 1), (1, 1), (40, 2), (33, 3)])
def test_the_fast_gleam_agrees_in_values_and_gradients(count, degree):
    g = torch.Generator().manual_seed(degree)
    harmonics = torch.randn(50, (degree + 1) ** 2 - 1, 3, generator=g)
    shown, along = torch.randperm(50, generator=g)[:count], unit(count, g)
    weight = torch.randn(count, 3, generator=g)
    fast, plain = (harmonics.clone().requires_grad_() for _ in range(2))
    found, expected = gleam(fast, along, shown), _gleam(plain, along, shown)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(fast.grad, plain.grad, rtol=1e-5, atol=1e-6)


def test_splats_that_are_not_there_are_refused():
    with pytest.raises(BadInput, match="splats"):
        gleam(torch.zeros(2, 3, 3), torch.ones(1, 3), torch.tensor([2]))


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_turned_harmonics_look_from_there_as_the_others_from_here(degree):
    g = torch.Generator().manual_seed(degree)
    harmonics = 0.1 * torch.randn(20, (degree + 1) ** 2, 3, generator=g)
    turns = axis_angle_to_matrix(torch.randn(2, 3, generator=g))[torch.arange(20) % 2]
    along = unit(20, g)
    before = (along[:, None] @ turns)[:, 0]  # in the axes that were turned
    found = splat_colour(turned_harmonics(harmonics, turns), along)
    torch.testing.assert_close(found, splat_colour(harmonics, before), rtol=0, atol=1e-5)


def test_directions_are_in_the_axes_of_head_or_torso():
    head, torso = torch.eye(4), torch.eye(4)
    head[:3, :3] = axis_angle_to_matrix(torch.tensor([0.0, torch.pi / 2, 0.0]))
    means = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 3.0]])
    given = (means, torch.zeros(3), head, torso, torch.tensor([True, False]))
    found = seen_along(*given)
    torch.testing.assert_close(found, _seen_along(*given), atol=1e-6, rtol=0)
    expected = torch.stack([head[:3, :3].T @ torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 0, 1])])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
