"""Portraying: the fast twin against the definition."""

from dataclasses import replace

import pytest
import torch

from likeness.core.camera import Camera
from likeness.ops.lanes import LANES
from likeness.ops.portray import _portray, portray
from likeness.ops.portray_stage_cpu import eight_at, eights_of
from likeness.ops.splats_pack_cpu import BLOCK
from sitter import camera, double, scene


@pytest.mark.parametrize("count", [3, 8, 13, 700])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_a_picture_is_that_of_the_definition(count, degree):
    riders, changes, *rest = scene(count, degree, count)
    if count > 8:
        riders.colour[2, 1] = float("nan")
        riders.rotation[4] = 0
        riders.opacity[5] = -20
        riders.corners[6] = 7  # a triangle without an area
        riders.offset[7] = torch.tensor([0.0, 0.0, 5.0])  # behind the camera, or beside the picture
    view = camera(50, 37)
    found = portray(riders, changes, *rest, view)
    exact = double(view)
    truth = _portray(double(riders), double(changes), *(x.double() for x in rest), exact)
    for value, expected in zip(found, truth, strict=True):
        away = (value.double() - expected).abs()
        assert value.isfinite().all()
        assert float(away.max()) < 1 / 255  # an edge of alpha 1/255 may fall to either side
        assert float(away.mean()) < 1e-5
    assert float(found[1].max()) > 0.1


@pytest.mark.parametrize("size", [(0, 5), (7, 0), (1, 1)])
def test_a_picture_may_be_empty(size):
    view = camera(50, 37)
    small = Camera(view.intrinsics, view.camera_from_world, *size)
    picture, alpha = portray(*scene(20, 1, 2), small)
    assert picture.shape == (size[1], size[0], 3)
    assert alpha.shape == (size[1], size[0])


def test_depths_of_all_sizes_are_in_order():
    """Sorting takes as many passes as there are bits that differ: here three."""
    riders, changes, *rest = scene(120, 0, 5)
    away = torch.linspace(0, 1, 120)[:, None] ** 2 * torch.tensor([[4.0, 2.0, -32.0]])
    riders = replace(riders, offset=riders.offset + away, closed=torch.zeros(120, dtype=torch.bool))
    found = portray(riders, changes, *rest, camera(50, 37))
    truth = _portray(riders, changes, *rest, camera(50, 37))
    for value, expected in zip(found, truth, strict=True):
        assert float((value - expected).abs().mean()) < 1e-5


def test_the_number_of_threads_does_not_change_a_picture():
    given = (*scene(900, 1, 4), camera(64, 48))
    before = torch.get_num_threads()
    pictures = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        pictures.append(portray(*given))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*pictures, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(pictures[0], portray(*given), strict=True))


def test_a_smaller_picture_after_a_larger_one_is_clean():
    given = scene(200, 1, 6)
    small = portray(*given, camera(20, 20))
    portray(*scene(2000, 1, 7), camera(90, 90))
    assert torch.equal(portray(*given, camera(20, 20))[0], small[0])


@pytest.mark.parametrize("count", [8, 9, 13, 255, 256, 257, 264, 700])
def test_eights_are_of_splats_that_are_there_and_each_is_done_once(count):
    done = []
    for begin in range(0, count, BLOCK):
        last = min(begin + BLOCK, count)
        first, eights = eights_of(begin, last)
        for n in range(eights):
            i, skip = eight_at(n, first, begin, last)
            assert i >= first >= 0
            assert i + LANES <= last
            done += range(i + skip, i + LANES)
    assert done == list(range(count))
