"""Riding splats: the fast twin against the definition, and what facing away means."""

import os
from dataclasses import fields, replace
from importlib import import_module
from importlib.util import find_spec

import pytest
import torch

from likeness.core.batching import move
from likeness.core.errors import BadInput
from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.ops.ride import Posed, Riders, _ride, ride

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
PLACE = "cuda" if torch.cuda.is_available() else "cpu"


def in_triton(riders, *rest):
    """The GPU twin, on a CPU in Triton's interpreter."""
    twin = import_module("likeness.ops.ride_gpu").ride
    eye = None if rest[-1] is None else rest[-1].to(PLACE)
    return move(twin(*move((riders, *rest[:-1]), PLACE), eye), "cpu")


TWINS = [
    ride,
    pytest.param(
        in_triton,
        marks=pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed"),
    ),
]


def scene(seed: int, count: int):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    corners = torch.stack([torch.randperm(30, generator=g)[:3] for _ in range(count)] or [])
    weights = torch.rand(count, 3, generator=g, dtype=torch.float64) + 0.1
    riders = Riders(
        corners, weights / weights.sum(-1, keepdim=True),
        torch.rand(count, generator=g) < 0.7, normal(count, 3), normal(count, 4),
        normal(count, 3), normal(count), normal(count, 3), normal(count),
    )  # fmt: skip
    motions = [rigid(axis_angle_to_matrix(normal(3)), normal(3)) for _ in range(2)]
    rest = (normal(30, 3), 0.1 * normal(count, 3), 0.1 * normal(count, 5), *motions)
    return riders, rest, 3 * normal(3)


def single(x):
    return x.float() if x.is_floating_point() else x


def gradients(function, riders, rest, eye):
    leaves = {
        f.name: getattr(riders, f.name).clone().requires_grad_()
        for f in fields(Riders)
        if f.name not in ("corners", "weights", "closed")
    }
    rest = [x.clone().requires_grad_() for x in rest]
    posed = function(replace(riders, **leaves), *rest, eye)
    total = sum(
        (getattr(posed, f.name) * torch.tensor([1.0, -2.0, 3.0, 0.5])[: k + 1].mean())
        .square()
        .sum()
        + getattr(posed, f.name).sum()
        for k, f in enumerate(fields(Posed))
        if f.name != "shown"
    )
    total.backward()
    found = {name: x.grad for name, x in leaves.items()}
    for name, x in zip(("vertices", "motion", "shade", "head", "torso"), rest, strict=True):
        found[name] = x.grad
    return posed, found


@pytest.mark.parametrize("count", [1, 7, 2500])
@pytest.mark.parametrize("looking", [True, False])
@pytest.mark.parametrize("twin", TWINS)
def test_a_fast_twin_agrees_in_values_and_gradients(twin, count, looking):
    riders, rest, eye = scene(count, count)
    eye = eye if looking else None
    plain = replace(riders, **{f.name: single(getattr(riders, f.name)) for f in fields(Riders)})
    truth, expected = gradients(_ride, riders, rest, eye)
    fast, found = gradients(
        twin, plain, [x.float() for x in rest], single(eye) if looking else None
    )
    assert torch.equal(truth.shown, fast.shown)
    for f in fields(Posed):
        torch.testing.assert_close(
            getattr(fast, f.name).double(), getattr(truth, f.name).double(), atol=2e-5, rtol=2e-5
        )
    for name, value in expected.items():
        scale = value.abs().max().clamp(min=1e-3)
        error = (found[name].double() - value).abs().max() / scale
        assert float(error) < 2e-4, f"{name}: {float(error)}"
        assert (found[name] != 0).equal(value != 0) or name in ("head", "torso", "vertices"), name


def test_a_closed_surface_is_not_seen_from_behind_and_an_open_one_is():
    riders, rest, _ = scene(3, 1)
    vertices = torch.zeros(30, 3, dtype=torch.float64)
    vertices[1, 0] = vertices[2, 1] = 1.0  # faces +z
    one = replace(riders, corners=torch.tensor([[0, 1, 2]]), offset=0 * riders.offset)
    still = torch.eye(4, dtype=torch.float64)
    rest = (vertices, 0 * rest[1], rest[2], still, still)
    front, behind = (torch.tensor([0.3, 0.3, z], dtype=torch.float64) for z in (5.0, -5.0))
    for closed, seen in ((True, (1, 0)), (False, (1, 1))):
        now = replace(one, closed=torch.tensor([closed]))
        assert (len(ride(now, *rest, front).shown), len(ride(now, *rest, behind).shown)) == seen


def test_a_splat_on_a_triangle_that_is_not_there_is_refused():
    riders, rest, eye = scene(3, 5)
    corners = riders.corners.clone()
    corners[2, 1] = 30
    with pytest.raises(BadInput, match="vertices go from \\d+ to 30, but there are 30"):
        ride(replace(riders, corners=corners), *rest, eye)
