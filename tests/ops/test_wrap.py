"""Laying the clay head onto surfaces that a formula gives."""

import numpy as np
import pytest
import torch

from analytic_head import CENTRE, RADIUS
from likeness.core.regions import REGION
from likeness.core.rig import Mesh
from likeness.ops.surfaces import surface_at
from likeness.ops.wrap import Wrapping, wrap
from likeness.rigs.clay import clay

LOW, HIGH, CELLS = torch.tensor([-0.2, -0.25, -0.3]), torch.tensor([0.2, 0.2, 0.15]), 90
FEW = Wrapping(stiffness=(100.0, 3.0, 0.2), rounds=3)


@pytest.fixture(scope="module")
def head():
    rig = clay()
    return Mesh(rig.template, rig.triangles)


@pytest.fixture(scope="module")
def reach():
    regions = clay().regions
    still = torch.tensor([REGION[n] for n in ("eyes", "irises", "mouth", "teeth", "tongue")])
    return torch.where(torch.isin(regions, still), 0.0, 0.1)


def inside(points):
    """Metres below the surface of the ball."""
    return RADIUS - (points - torch.tensor(CENTRE)).norm(dim=-1)


@pytest.fixture(scope="module")
def ball():
    axes = [torch.linspace(float(a), float(b), CELLS) for a, b in zip(LOW, HIGH)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    return surface_at(400 * torch.sigmoid(inside(grid) / 0.004), 200.0, LOW, HIGH)


@pytest.fixture(scope="module")
def laid(head, ball, reach):
    return wrap(head, ball, reach, FEW)


def crosses(vertices, triangles):
    a, b, c = vertices.double()[triangles].unbind(1)
    return torch.linalg.cross(b - a, c - a)


def test_wrapped_vertices_lie_on_the_surface(head, laid):
    off = inside(laid.vertices)[laid.drawn].abs()
    before = inside(head.vertices)[laid.drawn].abs()
    assert int(laid.drawn.sum()) > 1500
    assert float(before.median()) > 0.008
    assert float(off.median()) < 0.0007
    assert float(off.quantile(0.9)) < 0.002


def test_no_triangle_is_turned_over(head, laid):
    way = (crosses(head.vertices, head.triangles) * crosses(laid.vertices, head.triangles)).sum(-1)
    assert float(way.min()) >= -1e-16


def test_vertices_without_reach_stay_where_they_are(head, laid, reach):
    assert torch.equal(laid.vertices[reach == 0], head.vertices[reach == 0])
    assert not bool(laid.drawn[reach == 0].any())


def test_what_lies_beyond_half_a_surface_is_not_gathered_at_its_edge(head, ball, reach):
    front = ball.vertices[ball.triangles].mean(1)[:, 2] > CENTRE[2]
    laid = wrap(head, Mesh(ball.vertices, ball.triangles[front]), reach, FEW)
    back = (head.vertices[:, 2] < CENTRE[2] - 0.04) & (reach > 0)
    assert int(laid.drawn[back].sum()) == 0
    assert float(laid.vertices[back, 2].max()) < CENTRE[2] - 0.01
    assert float(inside(laid.vertices)[laid.drawn].abs().median()) < 0.001


def test_a_surface_that_is_all_noise_moves_nothing_far(head, reach):
    generator = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.randn(head.vertices.shape, generator=generator)
    laid = wrap(head, Mesh(head.vertices + noise, head.triangles), reach, FEW)
    away = (laid.vertices - head.vertices).norm(dim=-1)
    assert float(away.median()) < 0.0005
    assert float(away.quantile(0.9)) < 0.003


def test_a_head_laid_onto_itself_stays(head, reach):
    laid = wrap(head, head, reach, FEW)
    away = (laid.vertices - head.vertices).norm(dim=-1).numpy()
    assert np.quantile(away, 0.99) < 1e-4
