"""Studying: the fast twin against the definition, the pictures it shares with portraying, and
finite differences of the definition."""

from dataclasses import replace

import pytest
import torch

from likeness.ops import twins
from likeness.ops.portray import portray
from likeness.ops.study import _study, study
from sitter import camera, double, scene

LEARNED = ("offset", "rotation", "log_scale", "opacity", "colour", "follow")
ATLASES = ("motion", "shade", "harmonics")
STANDS = ("vertices", "head", "torso")


def studied(function, given, view, dtype=torch.float32):
    """Picture, alpha, pull, and gradients by name, of a loss that listens to every pixel."""
    riders, changes, code, *stand = given
    pull = torch.zeros(len(riders.offset), dtype=dtype)
    leaves = {n: getattr(riders, n).clone().requires_grad_() for n in LEARNED}
    atlases = {n: getattr(changes, n).clone().requires_grad_() for n in ATLASES}
    stands = {n: x.clone().requires_grad_() for n, x in zip(STANDS, stand, strict=True)}
    picture, alpha = function(
        replace(riders, **leaves), replace(changes, **atlases), code, *stands.values(), view, pull
    )
    g = torch.Generator().manual_seed(1)
    wanted, pressed = (torch.randn(x.shape, generator=g).to(dtype) for x in (picture, alpha))
    ((picture * wanted).sum() + (alpha * pressed).sum()).backward()
    found = {n: x.grad for n, x in {**leaves, **atlases, **stands}.items()}
    return picture.detach(), alpha.detach(), pull, found


def alike(found, truth, tolerance):
    for name, value in truth.items():
        if value is None or not value.numel():
            assert found[name] is None or not found[name].abs().sum(), name
            continue
        size = value.double().norm().clamp(min=1e-9)
        apart = float((found[name].double() - value.double()).norm() / size)
        assert apart < tolerance, f"{name}: {apart}"


def troubled(given):
    """One splat of each kind that may not be drawn."""
    riders = given[0]
    riders.colour[2, 1] = float("nan")
    riders.opacity[5] = -20
    riders.corners[6] = 7  # a triangle without an area
    riders.offset[7] = torch.tensor([0.0, 0.0, 5.0])  # behind the camera, or beside the picture
    return given


@pytest.mark.parametrize("count", [8, 13, 300, 700])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_gradients_are_those_of_the_stages(count, degree):
    given = scene(count, degree, count)
    if count > 8:
        troubled(given)
    view = camera(50, 37)
    picture, alpha, pull, found = studied(study, given, view)
    truth, opaque, pulled, expected = studied(_study, given, view)
    assert float((picture - truth).abs().mean()) < 1e-5
    assert float((alpha - opaque).abs().mean()) < 1e-5
    torch.testing.assert_close(pull, pulled, atol=2e-3 * float(pulled.max()), rtol=1e-2)
    alike(found, expected, 3e-3)
    for name in LEARNED:  # what is wrongly zero hides in a norm
        rows = [
            x[name].reshape(count, -1).nan_to_num().abs().sum(-1) > 0 for x in (found, expected)
        ]
        assert torch.equal(*rows), name


def test_gradients_are_those_of_the_definition_in_double(monkeypatch):
    given = scene(200, 1, 3)
    view = camera(50, 37)
    _, _, _, found = studied(study, given, view)
    monkeypatch.setattr(twins._pool, "forked", True)  # definitions all the way down
    wide = (double(given[0]), double(given[1]), *(x.double() for x in given[2:]))
    _, _, _, expected = studied(_study, wide, double(view), torch.float64)
    alike(found, expected, 1e-2)  # an edge of alpha 1/255 may fall to either side


@pytest.mark.parametrize("name", ["offset", "rotation", "log_scale", "opacity", "colour", *ATLASES])
def test_gradients_of_the_definition_are_what_a_small_move_changes(name, monkeypatch):
    """Where places pass gradients to all that they move: no surface is closed, and harmonics are
    there only for their own sake."""
    monkeypatch.setattr(twins._pool, "forked", True)
    riders, changes, *rest = scene(30, 1 if name == "harmonics" else 0, 9)
    riders = replace(double(riders), closed=torch.zeros(30, dtype=torch.bool))
    changes, rest, view = double(changes), [x.double() for x in rest], double(camera(20, 16))
    g = torch.Generator().manual_seed(2)
    wanted = torch.randn(16, 20, 3, generator=g, dtype=torch.float64)

    def loss(value):
        mine, theirs = (
            replace(x, **{name: value}) if hasattr(x, name) else x for x in (riders, changes)
        )
        picture, alpha = _study(mine, theirs, *rest, view, None)
        return (picture * wanted).sum() + alpha.square().sum()

    start = getattr(riders if hasattr(riders, name) else changes, name)
    leaf = start.clone().requires_grad_()
    loss(leaf).backward()
    way = torch.randn(start.shape, generator=g, dtype=torch.float64)
    step = 1e-7 * way
    moved = float(loss(start + step) - loss(start - step)) / 2e-7
    assert float((leaf.grad * way).sum()) == pytest.approx(moved, rel=1e-4)


def test_a_picture_is_the_one_that_is_portrayed():
    given, view = scene(400, 1, 8), camera(64, 48)
    studied, alpha = study(*given, view)
    portrayed, opaque = portray(*given, view)
    torch.testing.assert_close(studied.clamp(0, 1), portrayed, atol=1e-6, rtol=0)
    torch.testing.assert_close(alpha, opaque, atol=1e-6, rtol=0)


def test_the_number_of_threads_changes_nothing():
    given, view, before = scene(900, 1, 4), camera(64, 48), torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(studied(study, given, view))
    torch.set_num_threads(before)
    for one, other in zip(results[0][:3], results[1][:3], strict=True):
        assert torch.equal(one, other)
    for name, value in results[0][3].items():
        assert torch.equal(value, results[1][3][name]), name


def test_a_picture_that_nothing_is_in_pulls_at_nothing():
    given = scene(20, 1, 5)
    given[0].opacity[:] = -20
    picture, alpha, pull, found = studied(study, given, camera(16, 16))
    assert float(alpha.max()) == 0
    assert float(picture.abs().max()) == 0
    assert float(pull.max()) == 0
    assert all(float(x.abs().sum()) == 0 for x in found.values())
