"""What is known of a person before training: shape, collar, and where light ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from analytic_head import analytic_head
from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.errors import BadInput
from likeness.core.geometry import transform
from likeness.core.regions import REGION
from likeness.nn.encodings import HashGrid
from likeness.nn.mlp import MLP
from likeness.ops.bend import BORDER
from likeness.ops.hash_grid import HashLayout
from likeness.rigs.rest import rest_skin
from likeness.training.collar import border
from likeness.training.frames import person_pixels
from likeness.training.hull import in_any_bend
from likeness.training.occupancy import measured, some
from likeness.training.solid import depth_inside, shape_density

AXIS = torch.linspace(-0.2, 0.2, 33)
GRID = torch.stack(torch.meshgrid(AXIS, AXIS, AXIS, indexing="ij"), -1)
EVERYWHERE = torch.ones(33, 33, 33, dtype=torch.bool)


def ball(radius=0.1, count=4000):
    """Points of a ball's surface, evenly, and which way they face."""
    steps = torch.arange(count) + 0.5
    turn, height = torch.pi * (1 + 5**0.5) * steps, 1 - 2 * steps / count
    wide = (1 - height.square()).sqrt()
    normals = torch.stack([wide * turn.cos(), height, wide * turn.sin()], -1)
    return radius * normals, normals


def test_places_lie_as_deep_in_a_ball_as_the_distance_to_its_skin():
    deep = depth_inside(GRID, EVERYWHERE, *ball())
    truth = 0.1 - GRID.norm(dim=-1)
    before = (GRID[..., 2] > 0.02) & (GRID[..., :2].norm(dim=-1) < 0.08) & (truth.abs() < 0.02)
    assert int(before.sum()) > 100
    assert float((deep - truth)[before].abs().max()) < 0.004


def test_hair_may_stand_beside_a_head_but_not_far_from_it_and_not_outside_of_the_hull():
    deep = depth_inside(GRID, EVERYWHERE, *ball())
    beside = (GRID[..., 1].abs() < 0.05) & (GRID[..., 2].abs() < 0.1)
    away = GRID.norm(dim=-1)
    assert bool((deep[beside & (away > 0.13)] < 0).all())
    assert bool((deep[beside & (away > 0.105) & (GRID[..., 2] < -0.045)] > 0).any())
    half = EVERYWHERE & (GRID[..., 0] > 0)
    cut = depth_inside(GRID, half, *ball())
    assert bool((cut[GRID[..., 0] <= 0] < 0).all())


def test_without_a_surface_the_hull_alone_says_what_is_inside():
    half = EVERYWHERE & (GRID[..., 0] > 0)
    deep = depth_inside(GRID, half, None, None)
    assert bool((deep[GRID[..., 0] <= 0] < 0).all())
    assert bool((deep[GRID[..., 0] > 0.03] > 0).all())


def test_a_field_taught_a_shape_is_dense_inside_and_thin_outside():
    generator = Generator().manual_seed(0)
    grid = HashGrid(HashLayout(4, 2, 8, 32, 12), generator)
    net = MLP([grid.width, 16, 1], generator=generator)
    deep = depth_inside(GRID, EVERYWHERE, *ball())
    parameters = [*grid.parameters(), *net.parameters()]
    shape_density(
        lambda p: net(grid(p))[:, 0], parameters, deep, EVERYWHERE, (0.0, 4.0), generator, 60
    )
    raw = net(grid(GRID.view(-1, 3) / 0.4 + 0.5))[:, 0].detach().view(deep.shape)
    assert float(raw[GRID.norm(dim=-1) < 0.08].mean()) > 3
    assert float(raw[GRID.norm(dim=-1) > 0.15].mean()) < 0.5


def test_a_person_without_any_place_cannot_be_shaped():
    with pytest.raises(BadInput, match="no place"):
        shape_density(
            lambda p: p[:, 0], [], torch.zeros(3, 3, 3), torch.zeros(3, 3, 3, dtype=torch.bool),
            (0.0, 1.0), Generator(), 1,
        )  # fmt: skip


class Dressed:
    """Clothes below a height of the torso, skin above, whatever the head does."""

    def __init__(self, track, height):
        self.track, self.height = track, height

    def alpha(self, index):
        return None

    def regions(self, index):
        track = self.track
        camera, torso = take(track.cameras, index), track.expressions.world_from_torso[index]
        edge = project(camera, transform(torso, torch.tensor([[0.0, self.height, -0.03]])))
        rows = np.arange(camera.height)[:, None] + np.zeros((1, camera.width), np.int64)
        clothes = rows > float(edge[0, 1])
        return np.where(clothes, REGION["clothes"], REGION["skin"]).astype(np.uint8)


@pytest.mark.parametrize("height", [-0.13, -0.16])
def test_the_torso_begins_where_clothes_do(height):
    _, track = analytic_head(12, 128)
    rest = torch.eye(4)
    still = replace(track.expressions, world_from_torso=rest.expand(12, 4, 4))
    track = replace(track, expressions=still)
    track = replace(track, maps=Dressed(track, height))
    surface, _ = rest_skin(track.identity)
    _, bottom, slope = border(track, range(12), rest, surface)
    assert abs(bottom - height) < 0.02
    assert slope < BORDER[2]


def test_without_labels_the_torso_begins_where_it_usually_does():
    _, track = analytic_head(4, 32)
    surface, _ = rest_skin(track.identity)
    assert border(replace(track, maps=None), range(4), torch.eye(4), surface) == BORDER
    assert border(track, range(4), torch.eye(4), surface) == BORDER  # a ball wears nothing


def test_a_torso_that_rests_adds_nothing_and_one_that_moves_does():
    still = (GRID[..., 1] < -0.18) & (GRID[..., 0].abs() < 0.05)
    none = torch.eye(4)[None]
    assert torch.equal(in_any_bend(still, GRID, none, BORDER), still)
    aside = torch.eye(4)[None].clone()
    aside[0, 0, 3] = 0.05
    both = in_any_bend(still, GRID, aside, BORDER)
    assert bool((both | ~still).all())
    assert int(both.sum()) > 1.3 * int(still.sum())


def test_a_grid_finds_what_any_of_the_probed_moments_holds():
    box = torch.tensor([[0.0] * 3, [1.0] * 3])

    def density(places, probe):
        return 5.0 * (places[:, 0] > (0.5 if probe == 0 else 0.8))

    generator = Generator().manual_seed(0)
    found = measured(torch.zeros(9, 9, 9), box, None, [1, 0], density, generator)
    assert bool((found[6:] == 5).all())
    assert bool((found[:3] == 0).all())
    kept = torch.zeros(9, 9, 9, dtype=torch.bool)
    assert float(measured(torch.zeros(9, 9, 9), box, kept, [0], density, generator).max()) == 0


def test_probes_begin_with_rest_and_repeat_none():
    assert some(4, 0, Generator()) == [0, 1, 2, 3]
    drawn = some(9, 3, Generator().manual_seed(1))
    assert drawn[0] == 0
    assert len(set(drawn)) == 4


def test_pixels_are_drawn_from_the_person_in_the_share_asked_for():
    capture, track = analytic_head(3, 64)
    there = torch.from_numpy(track.maps.alpha(1) > 0).flatten()
    generator = Generator().manual_seed(0)
    assert float(there.float().mean()) < 0.4
    most = person_pixels(capture, track, 1, 400, 0.9, generator)
    few = person_pixels(capture, track, 1, 400, 0.0, generator)
    assert float(there[most].float().mean()) > 0.85
    assert float(there[few].float().mean()) < 0.45
