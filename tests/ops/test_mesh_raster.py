"""Triangles on pixels: the twin against its definition, and the laws both must keep."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.camera import pinhole, project
from likeness.core.errors import BadInput
from likeness.ops import mesh
from likeness.ops.mesh import interpolate, rasterise
from likeness.ops.mesh_edges import antialias, edges


def _camera(width=33, height=27, focal=40.0, dtype=torch.float64):
    return pinhole(focal, width, height, torch.eye(4, dtype=dtype))


def _soup(count, seed, dtype=torch.float64):
    """Triangles before, behind and across the camera's plane, some without area."""
    g = torch.Generator().manual_seed(seed)
    centre = torch.randn(count, 1, 3, generator=g, dtype=dtype)
    centre[..., 2] = centre[..., 2].abs() * 2 + 0.3
    corners = centre + 0.7 * torch.randn(count, 3, 3, generator=g, dtype=dtype)
    corners[::7, 2] = corners[::7, 1]
    return corners.reshape(-1, 3), torch.arange(3 * count).reshape(-1, 3)


def sphere(rings=24, segments=32, radius=0.4, depth=2.0, dtype=torch.float64):
    """A closed ball before the camera, wound anticlockwise from outside."""
    theta = torch.linspace(0, math.pi, rings + 1, dtype=dtype)[1:-1]
    phi = torch.arange(segments, dtype=dtype) * (2 * math.pi / segments)
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    ring = torch.stack([t.sin() * p.sin(), -t.cos(), t.sin() * p.cos()], -1).reshape(-1, 3)
    poles = torch.tensor([[0.0, -1, 0], [0, 1, 0]], dtype=dtype)
    points = torch.cat([ring, poles]) * radius + torch.tensor([0.0, 0, depth], dtype=dtype)
    i, j = torch.meshgrid(torch.arange(rings - 2), torch.arange(segments), indexing="ij")
    a, b = i * segments + j, i * segments + (j + 1) % segments
    c, d = a + segments, b + segments
    body = torch.cat([torch.stack([a, b, d], -1), torch.stack([a, d, c], -1)]).reshape(-1, 3)
    j = torch.arange(segments)
    last, top = (rings - 2) * segments, len(ring)
    caps = [
        torch.stack([(j + 1) % segments, j, torch.full_like(j, top)], -1),
        torch.stack([last + j, last + (j + 1) % segments, torch.full_like(j, top + 1)], -1),
    ]
    return points, torch.cat([body, *caps])


def _defined(monkeypatch):
    monkeypatch.setattr(mesh, "pick", lambda definition, _: definition)


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize("size", [(0, 0), (1, 1), (33, 27)])
def test_the_twin_sees_and_locates_what_the_definition_does(count, cull, size, monkeypatch):
    vertices, triangles = _soup(count, 3)
    fast = rasterise(_camera(*size), vertices, triangles, cull)
    _defined(monkeypatch)
    slow = rasterise(_camera(*size), vertices, triangles, cull)
    assert (fast.seen == slow.seen).all()
    torch.testing.assert_close(fast.weights, slow.weights)
    torch.testing.assert_close(fast.depth, slow.depth)


def test_gradients_of_the_twin_are_those_of_the_definition(monkeypatch):
    vertices, triangles = _soup(30, 5)
    values = torch.randn(len(vertices), 5, dtype=torch.float64)
    goal = torch.randn(27, 33, 5, dtype=torch.float64)

    def gradients():
        v, a = vertices.clone().requires_grad_(), values.clone().requires_grad_()
        camera = _camera()
        camera.intrinsics.requires_grad_()
        seen = rasterise(camera, v, triangles)
        loss = (interpolate(seen, a) * goal).sum() + seen.depth[seen.mask].sin().sum()
        return torch.autograd.grad(loss, (v, a, camera.intrinsics))

    fast = gradients()
    _defined(monkeypatch)
    for one, other in zip(fast, gradients(), strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_weights_are_barycentric_and_give_back_the_pixel(seed):
    vertices, triangles = _soup(25, seed)
    camera = _camera()
    seen = rasterise(camera, vertices, triangles)
    inside = seen.weights[seen.mask]
    assert (inside >= -1e-9).all()
    torch.testing.assert_close(inside.sum(-1), torch.ones(len(inside), dtype=torch.float64))
    where = project(camera, interpolate(seen, vertices)[seen.mask])
    y, x = seen.mask.nonzero().double().unbind(-1)
    torch.testing.assert_close(where, torch.stack([x, y], -1) + 0.5, rtol=0, atol=1e-6)


def test_a_closed_surface_has_no_cracks():
    vertices, triangles = sphere(dtype=torch.float32)
    camera = _camera(96, 96, 200.0, torch.float32)
    front = rasterise(camera, vertices, triangles, cull=True)
    y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    disc = (x - 48).hypot(y - 48) < 0.96 * 200 * 0.4 / math.sqrt(4 - 0.16)
    assert front.mask[disc].all()
    assert (front.seen == rasterise(camera, vertices, triangles).seen).float().mean() > 0.999


def test_many_threads_draw_what_one_draws():
    vertices, triangles = _soup(60, 9)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = rasterise(_camera(), vertices, triangles)
        torch.set_num_threads(2)
        two = rasterise(_camera(), vertices, triangles)
    finally:
        torch.set_num_threads(before)
    assert (one.seen == two.seen).all()
    assert (one.weights == two.weights).all()


def test_a_batch_of_views_equals_its_loop():
    points, triangles = _soup(20, 1)
    batch = torch.stack([points, points + 0.1])
    camera = pinhole(40.0, 33, 27, torch.eye(4, dtype=torch.float64).expand(2, 4, 4))
    both = interpolate(rasterise(camera, batch, triangles), batch)
    for picture, one in zip(both, batch, strict=True):
        alone = interpolate(rasterise(_camera(), one, triangles), one)
        torch.testing.assert_close(picture, alone)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_vertices_that_are_not_finite_hide_their_triangles_only(bad):
    vertices, triangles = _soup(10, 2)
    vertices[4] = bad
    seen = rasterise(_camera(), vertices, triangles).seen
    others = rasterise(_camera(), vertices, torch.cat([triangles[:1], triangles[2:]])).seen
    assert (seen != 1).all()
    assert ((seen >= 0) == (others >= 0)).all()


def test_indices_that_name_no_vertex_are_refused():
    with pytest.raises(BadInput, match="there are 3"):
        rasterise(_camera(), torch.zeros(3, 3, dtype=torch.float64), torch.tensor([[0, 1, 3]]))


def test_every_edge_of_a_closed_surface_has_two_triangles():
    _, triangles = sphere(6, 8)
    known = edges(triangles)
    assert len(known) * 2 == len(triangles) * 3
    assert (known[:, 3] >= 0).all()


def _silhouette(vertices, triangles, camera):
    seen = rasterise(camera, vertices, triangles)
    alpha = seen.mask[..., None].to(vertices.dtype)
    return antialias(seen, alpha)


def test_soft_silhouettes_measure_area_better_than_whole_pixels():
    radius = 200 * 0.4 / math.sqrt(4 - 0.16)
    vertices, triangles = sphere(96, 128)
    camera = _camera(96, 96, 200.0)
    soft = _silhouette(vertices, triangles, camera)
    assert soft.min() >= 0
    assert soft.max() <= 1
    assert ((soft > 0.02) & (soft < 0.98)).sum() > 100
    assert abs(soft.sum() / (math.pi * radius**2) - 1) < 2e-3


@pytest.mark.parametrize("rings", [12, 80])
def test_gradients_of_silhouettes_follow_the_area(rings):
    vertices, triangles = sphere(rings, rings)
    centre = torch.tensor([0.0, 0, 2], dtype=torch.float64)

    def area(scale):
        return _silhouette(
            centre + (vertices - centre) * scale, triangles, _camera(96, 96, 200.0)
        ).sum()

    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(area(scale), scale)
    measured = (area(1.05) - area(0.95)) / 0.1
    assert abs(slope / measured - 1) < 0.1


def test_moving_a_shape_by_its_outline_finds_where_it_was():
    vertices, triangles = sphere(24, 32)
    camera = _camera(64, 64, 100.0)
    goal = _silhouette(vertices + vertices.new_tensor([0.1, -0.06, 0]), triangles, camera)
    move = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.Adam([move], 0.01)
    for _ in range(60):
        loss = (_silhouette(vertices + move, triangles, camera) - goal).square().mean()
        descent.zero_grad()
        loss.backward()
        descent.step()
    assert (move.detach()[:2] - vertices.new_tensor([0.1, -0.06])).abs().max() < 5e-3
