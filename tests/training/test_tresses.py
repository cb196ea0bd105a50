"""Hair that hangs beside a head, as labels and ears say."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from analytic_head import analytic_head
from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.geometry import transform
from likeness.core.regions import REGION
from likeness.core.track import Track
from likeness.rigs.clay import clay
from likeness.training.solid import depth_inside, enclosed
from likeness.training.tresses import tresses

AXIS = torch.linspace(-0.15, 0.15, 41)
GRID = torch.stack(torch.meshgrid(AXIS, AXIS, AXIS - 0.05, indexing="ij"), -1)
EVERYWHERE = torch.ones(41, 41, 41, dtype=torch.bool)
BESIDE = (0.085, 0.115)  # metres from the middle in which the hair shows
RIG = clay()
REST = RIG.pose(RIG.rest(), RIG.neutral()).vertices
EARS = REST[RIG.regions == REGION["ears"]]


@dataclass(frozen=True)
class Painted:
    """Labels of a head with hair on its left, from the ears down, and bare ears or none."""

    track: Track
    bare: bool

    def alpha(self, index):
        return None

    def regions(self, index):
        size = self.track.cameras.height
        labels = np.zeros((size, size), np.uint8)
        self._paint(labels, index, EARS, REGION["ears"] if self.bare else REGION["skin"])
        x, y = torch.meshgrid(
            torch.linspace(*BESIDE, 60), torch.linspace(-0.11, 0.0, 200), indexing="ij"
        )
        z = torch.full_like(x, -0.1)
        self._paint(labels, index, torch.stack([x, y, z], -1).view(-1, 3), REGION["hair"])
        return labels

    def _paint(self, labels, index, points, label):
        camera = take(self.track.cameras, index)
        world = transform(self.track.expressions.world_from_head[index], points)
        at = project(camera, world).long().clamp(0, labels.shape[0] - 1)
        labels[at[:, 1], at[:, 0]] = label


def hair_of(bare):
    _, track = analytic_head(8, 128)
    track = replace(track, maps=Painted(track, bare))
    return tresses(track, range(8), GRID, EVERYWHERE, RIG)


@pytest.mark.parametrize("bare", [True, False])
def test_hair_hangs_on_the_side_that_shows_it_and_nowhere_else(bare):
    deep = hair_of(bare)
    inside = deep.nan_to_num(-1) > 0
    assert int(inside.sum()) > 200
    assert not bool(inside[GRID[..., 0] < 0].any())
    assert not bool(inside[GRID[..., 1] > EARS[:, 1].amax()].any())
    assert not bool(inside[GRID[..., 1] < -0.13].any())
    assert not bool(inside[GRID[..., 0] > BESIDE[1]].any())


def test_hair_lies_behind_an_ear_that_shows_and_beside_one_that_does_not():
    fronts = [float(GRID[hair_of(bare).nan_to_num(-1) > 0][:, 2].amax()) for bare in (True, False)]
    low, middle, high = (float(EARS[:, 2].quantile(q)) for q in (0, 0.5, 1))
    assert low < fronts[0] <= middle
    assert high - 0.01 < fronts[1] <= high


def test_hanging_hair_is_part_of_the_guess_and_a_head_without_labels_has_none():
    hair = hair_of(True)
    surface = REST[~torch.isin(RIG.regions, torch.tensor([REGION["mouth"], REGION["teeth"]]))]
    normals = torch.nn.functional.normalize(surface - surface.mean(0), dim=-1)
    there = (hair.nan_to_num(-1) > 0.004) & (GRID[..., 0].abs() < 0.13)
    with_hair = depth_inside(GRID, EVERYWHERE, surface, normals, hair)
    without = depth_inside(GRID, EVERYWHERE, surface, normals)
    assert bool((with_hair[there][:, None] > 0).all())
    assert int((with_hair > 0).sum()) > int((without > 0).sum()) + 100
    _, track = analytic_head(4, 32)
    assert tresses(replace(track, maps=None), range(4), GRID, EVERYWHERE, RIG) is None
    assert tresses(track, range(4), GRID, EVERYWHERE, None) is None


def test_a_hollow_thing_is_filled_between_its_walls_and_not_beyond_them():
    walls = torch.zeros(1, 1, 9, dtype=torch.bool)
    walls[..., [2, 5]] = True
    assert enclosed(walls)[0, 0].tolist() == [False, False, *[True] * 4, *[False] * 3]
    assert not bool(enclosed(torch.zeros(2, 2, 5, dtype=torch.bool)).any())
