from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.camera import Camera, pixel_rays
from likeness.core.errors import BadInput
from likeness.ops.rays import importance, picture_rays, ray_box, refine, stratified

PARITY = Path(__file__).parents[1] / "parity"
CUBE = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])


def recorded(name: str) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(PARITY / name).items()}


def test_picture_rays_are_those_of_nerface_in_other_axes():
    data = recorded("nerface/rays.npz")
    height, width = int(data["H"]), int(data["W"])
    fx, fy, cx, cy = data["intrinsics"].tolist()
    flip = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))
    world_from_camera = data["pose"].double() @ flip  # from OpenGL camera axes
    intrinsics = torch.eye(3, dtype=torch.float64)
    intrinsics[0, 0], intrinsics[1, 1] = fx, fy
    # the original counts whole pixels, we count from their corners
    intrinsics[0, 2], intrinsics[1, 2] = cx * width + 0.5, cy * height + 0.5
    camera = Camera(intrinsics, torch.linalg.inv(world_from_camera), width, height)
    origins, directions = picture_rays(camera)
    torch.testing.assert_close(origins.float(), data["origins"], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(directions.float(), data["directions"], atol=1e-6, rtol=1e-5)


def test_a_batch_of_cameras_equals_its_loop():
    g = torch.Generator().manual_seed(0)
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[:, :3, :3] = torch.linalg.qr(torch.randn(3, 3, 3, generator=g)).Q
    poses[:, :3, 3] = torch.randn(3, 3, generator=g)
    intrinsics = torch.tensor([[50.0, 0, 4], [0, 60, 3], [0, 0, 1]]).expand(3, 3, 3)
    origins, directions = picture_rays(Camera(intrinsics, poses, 8, 6))
    assert directions.shape == (3, 6, 8, 3)
    for i in range(3):
        one = Camera(intrinsics[i], poses[i], 8, 6)
        o, d = pixel_rays(one, torch.tensor([[2.5, 4.5]]))
        torch.testing.assert_close(origins[i, 4, 2], o[0])
        torch.testing.assert_close(directions[i, 4, 2], d[0])


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_points_between_entry_and_exit_are_inside_and_others_are_not(seed):
    g = torch.Generator().manual_seed(seed)
    o = torch.randn(40, 3, generator=g, dtype=torch.float64)
    d = torch.randn(40, 3, generator=g, dtype=torch.float64)
    d = torch.where(torch.rand(40, 3, generator=g) < 0.2, 0.0, d)
    near, far = ray_box(o, d, CUBE.double())
    t = 6 * torch.randn(40, 200, generator=g, dtype=torch.float64)
    inside = ((o[:, None] + t[..., None] * d[:, None]).abs() <= 1).all(-1)
    between = (t >= near[:, None]) & (t <= far[:, None])
    close = (t - near[:, None]).abs().minimum((t - far[:, None]).abs()) < 1e-9
    assert ((inside == between) | close).all()


@pytest.mark.parametrize(
    ("origin", "direction", "hits"),
    [
        ([0.0, 0, -3], [0.0, 0, 1], True),
        ([1.0, 0, -3], [0.0, 0, 1], True),  # along a face
        ([1.1, 0, -3], [0.0, 0, 1], False),
        ([0.0, 0, 0], [0.0, 0, 0], True),  # no direction, inside: everywhere
        ([2.0, 0, 0], [0.0, 0, 0], False),
        ([0.0, 0, 0], [float("nan"), 0, 1], False),
        ([float("inf"), 0, 0], [1.0, 0, 0], False),
    ],
)
def test_degenerate_rays_hit_or_miss_a_box(origin, direction, hits):
    near, far = ray_box(torch.tensor([origin]), torch.tensor([direction]), CUBE)
    assert bool(far > near) is hits


def test_stratified_distances_are_those_recorded():
    data = recorded("nerface/stratified_and_noise.npz")
    rays = data["t_rand"].shape[0]
    near, far = data["near"].expand(rays), data["far"].expand(rays)
    even, moved = stratified(near, far, 64), stratified(near, far, 64, data["t_rand"])
    torch.testing.assert_close(even, data["z_coarse_uniform"], atol=1e-6, rtol=0)
    torch.testing.assert_close(moved, data["z_coarse_perturbed"], atol=1e-6, rtol=0)


@given(st.integers(0, 30), st.booleans(), st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_stratified_distances_rise_within_their_bounds(count, inverse, seed):
    g = torch.Generator().manual_seed(seed)
    near = 0.1 + torch.rand(7, generator=g, dtype=torch.float64)
    far = near + torch.rand(7, generator=g, dtype=torch.float64)
    t = stratified(near, far, count, g, inverse)
    assert t.shape == (7, count)
    assert (t.diff(dim=-1) >= 0).all()
    assert ((t >= near[:, None] - 1e-9) & (t <= far[:, None] + 1e-9)).all()


def test_even_inverse_distances_are_even_in_inverse_distance():
    t = stratified(torch.tensor([0.5]), torch.tensor([4.0]), 9, inverse=True)
    torch.testing.assert_close((1 / t).diff(), torch.full((1, 8), -1.75 / 8))


def test_importance_samples_are_those_recorded():
    data = recorded("nerface/sample_pdf.npz")
    for count in (17, 64):
        ours = importance(data["bins"], data["weights"], count)
        torch.testing.assert_close(ours, data[f"samples_{count}"], atol=2e-5, rtol=0)


def test_importance_samples_fall_where_the_weight_is():
    edges = torch.linspace(0, 1, 11).expand(1, 11)
    weights = torch.tensor([[0.0, 0, 0, 3, 0, 0, 0, 1, 0, 0]])
    t = importance(edges, weights, 4000, torch.Generator().manual_seed(0))
    first = ((t >= 0.3) & (t <= 0.4)).float().mean()
    second = ((t >= 0.7) & (t <= 0.8)).float().mean()
    assert first == pytest.approx(0.75, abs=0.03)
    assert second == pytest.approx(0.25, abs=0.03)


def test_the_same_seed_draws_the_same_samples():
    edges, weights = torch.linspace(0, 1, 6).expand(2, 6), torch.rand(2, 5)
    a = importance(edges, weights, 9, torch.Generator().manual_seed(3))
    b = importance(edges, weights, 9, torch.Generator().manual_seed(3))
    assert torch.equal(a, b)


def test_a_ray_that_saw_nothing_is_sampled_evenly():
    edges = torch.linspace(2, 3, 11).expand(1, 11)
    t = importance(edges, torch.zeros(1, 10), 11)
    torch.testing.assert_close(t[0, :-1], torch.linspace(2, 3, 11)[:-1], atol=1e-5, rtol=0)


def test_weights_that_do_not_fit_the_edges_are_refused():
    with pytest.raises(BadInput, match="4 edges bound 3 bins, but there are 4 weights"):
        importance(torch.rand(1, 4), torch.rand(1, 4), 8)


def test_refining_keeps_the_old_samples_and_the_order():
    g = torch.Generator().manual_seed(0)
    t = torch.rand(5, 16, generator=g).sort(dim=-1).values
    finer = refine(t, torch.rand(5, 16, generator=g), 8, g)
    assert finer.shape == (5, 24)
    assert (finer.diff(dim=-1) >= 0).all()
    assert all(set(a.tolist()) <= set(b.tolist()) for a, b in zip(t, finer))


def test_no_gradient_flows_into_where_to_look():
    t = torch.rand(2, 8).sort(-1).values
    weights = torch.rand(2, 8, requires_grad=True)
    assert not refine(t, weights, 4).requires_grad
