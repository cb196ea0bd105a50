import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.camera import pinhole
from likeness.core.errors import BadInput
from likeness.core.geometry import look_at
from likeness.ops.harmonics import splat_colour
from likeness.ops.splats import (
    Projected,
    _project_splats,
    _rasterise_splats,
    project_splats,
    rasterise_splats,
)


def camera(width=33, height=29, dtype=torch.float32):
    eye, up = torch.tensor([0.05, 0.1, 0.6]), torch.tensor([0.0, 1.0, 0.0])
    return pinhole(45.0, width, height, look_at(eye, torch.zeros(3), up).to(dtype))


def scene(count, seed=0, channels=3):
    g = torch.Generator().manual_seed(seed)
    means = 0.12 * torch.randn(count, 3, generator=g)
    rotation = torch.randn(count, 4, generator=g)
    scale = 0.015 * torch.exp(0.5 * torch.randn(count, 3, generator=g))
    opacity = torch.rand(count, generator=g)
    return means, rotation, scale, torch.rand(count, channels, generator=g), opacity


def project_with(function, inputs, view, dtype):
    inputs = [x.to(dtype).clone().requires_grad_() for x in inputs]
    k, pose = view.intrinsics.to(dtype), view.camera_from_world.to(dtype)
    out = function(*inputs, k, pose, view.width, view.height)
    g = torch.Generator().manual_seed(9)
    sum((x * torch.randn(x.shape, generator=g).to(dtype)).sum() for x in out).backward()
    return [*out, *[x.grad for x in inputs]]


def raster_with(function, projected, features, opacity, size, dtype):
    inputs = [x.detach().to(dtype).requires_grad_() for x in (projected.xy, projected.conic)]
    inputs += [x.to(dtype).clone().requires_grad_() for x in (features, opacity)]
    xy, conic, f, o = inputs
    picture, alpha = function(xy, projected.depth.detach().to(dtype), conic, f, o, *size)
    ramp = torch.linspace(-1, 2, picture.numel()).to(dtype).view_as(picture)
    ((picture * ramp).sum() + 2 * (alpha * ramp[..., 0]).sum()).backward()
    return [picture, alpha, *[x.grad for x in inputs]]


def assert_alike(truth, found, tolerance):
    for expected, actual in zip(truth, found, strict=True):
        scale = expected.abs().max().clamp(min=1e-6) if expected.numel() else 1.0
        torch.testing.assert_close(
            actual.double() / scale, expected.double() / scale, atol=tolerance, rtol=0
        )


@pytest.mark.parametrize("count", [0, 1, 7, 200])
def test_the_fast_projection_agrees_in_values_and_gradients(count):
    from likeness.ops import splats_cpu

    means, rotation, scale, _, _ = scene(count, count)
    if count > 5:
        means[3] = torch.tensor([0.0, 0.0, 2.0])  # behind the camera
        means[4] = float("nan")
    view = camera()
    truth = project_with(_project_splats, (means, rotation, scale), view, torch.float64)
    found = project_with(splats_cpu.project_splats, (means, rotation, scale), view, torch.float32)
    assert_alike(truth, found, 2e-4)
    if count > 5:
        assert found[1][3] == 0
        assert found[1][4] == 0
        assert torch.isfinite(found[4]).all()


def test_projection_gradients_are_those_of_finite_differences():
    view = camera(dtype=torch.float64)
    inputs = [x.double().requires_grad_() for x in scene(3, 5)[:3]]
    k = view.intrinsics.clone().requires_grad_()
    pose = view.camera_from_world.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *a: _project_splats(*a, view.width, view.height), (*inputs, k, pose)
    )


@pytest.mark.parametrize(
    ("count", "size", "channels"),
    [(0, (5, 4), 3), (1, (1, 1), 3), (7, (16, 16), 1), (150, (33, 29), 8), (400, (50, 17), 3)],
)
def test_the_fast_rasteriser_agrees_in_values_and_gradients(count, size, channels):
    from likeness.ops import splats_cpu

    means, rotation, scale, features, opacity = scene(count, count, channels)
    view = camera(*size)
    projected = project_splats(means, rotation, scale, view)
    truth = raster_with(_rasterise_splats, projected, features, opacity, size, torch.float64)
    fast = splats_cpu.rasterise_splats
    found = raster_with(fast, projected, features, opacity, size, torch.float32)
    assert_alike(truth, found, 2e-4)
    for expected, actual in zip(truth[2:], found[2:], strict=True):
        if expected.numel():  # a gradient wrongly zero would hide in the tolerance
            rows = expected.flatten(1).norm(dim=-1) if expected.dim() > 1 else expected.abs()
            other = actual.flatten(1).norm(dim=-1) if actual.dim() > 1 else actual.abs()
            loud = rows > 1e-2 * rows.max()
            torch.testing.assert_close(other[loud].double(), rows[loud], rtol=2e-2, atol=0)


@pytest.mark.parametrize("spread", [1e-5, 0.3, 50.0])
def test_splats_are_in_order_however_far_apart_they_are(spread):
    """Sorting takes as many passes as there are bits that differ."""
    g = torch.Generator().manual_seed(3)
    count, size = 60, (24, 20)
    depth = 0.02 + spread * torch.rand(count, generator=g)
    xy = torch.tensor([12.0, 10.0]) + 4 * torch.randn(count, 2, generator=g)
    conic = torch.tensor([0.05, 0.01, 0.08]).repeat(count, 1)
    projected = Projected(xy, depth, conic, torch.ones(count))
    features, opacity = torch.rand(count, 3, generator=g), torch.full((count,), 0.5)
    found = rasterise_splats(projected, features, opacity, *size)
    exact = [x.double() for x in (xy, depth, conic, features, opacity)]
    for actual, expected in zip(found, _rasterise_splats(*exact, *size), strict=True):
        torch.testing.assert_close(actual.double(), expected, atol=2e-5, rtol=0)


def test_thin_and_long_splats_are_lines_and_nothing_else():
    """Far from its axis a splat is too small for a number, and must not come back from there."""
    count, size = 90, (48, 40)
    g = torch.Generator().manual_seed(1)
    angle = torch.linspace(0, 3.14, count)
    along = torch.stack([angle.cos(), angle.sin()], -1)
    across = torch.stack([-angle.sin(), angle.cos()], -1)
    spread = (
        40.0**2 * along[:, :, None] * along[:, None] + 0.3 * across[:, :, None] * across[:, None]
    )
    inverse = torch.linalg.inv(spread)
    conic = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], -1)
    xy = torch.rand(count, 2, generator=g) * torch.tensor([48.0, 40.0])
    for i in range(count):
        one = (xy[i : i + 1], torch.ones(1), conic[i : i + 1], torch.ones(1, 3), torch.ones(1))
        picture, _ = rasterise_splats(Projected(*one[:3], torch.ones(1)), *one[3:], *size)
        truth, _ = _rasterise_splats(*(x.double() for x in one), *size)
        away = (picture.double() - truth).abs().max()
        assert float(away) < 1 / 250, i  # alpha of 1/255 may fall to either side


def test_a_splat_without_one_of_its_features_is_in_none_of_them():
    means, rotation, scale, features, opacity = scene(20, 3, 7)
    projected = project_splats(means, rotation, scale, camera())
    features[4, 5] = float("nan")
    picture, alpha = rasterise_splats(projected, features, opacity, 40, 32)
    opacity[4], features[4] = 0, 0
    without, thinner = rasterise_splats(projected, features, opacity, 40, 32)
    assert torch.equal(picture, without)
    assert torch.equal(alpha, thinner)


def test_results_are_the_same_bit_for_bit_on_one_thread_and_two():
    means, rotation, scale, features, opacity = scene(300, 3)
    view, outputs = camera(), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            inputs = [x.clone().requires_grad_() for x in (means, rotation, scale)]
            f = features.clone().requires_grad_()
            picture, alpha = rasterise_splats(
                project_splats(*inputs, view), f, opacity, view.width, view.height
            )
            (picture.square().sum() + alpha.sum()).backward()
            outputs.append([picture, alpha, f.grad, *[x.grad for x in inputs]])
    finally:
        torch.set_num_threads(before)
    for other in outputs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outputs[0], other, strict=True))


@given(st.integers(0, 2**31), st.sampled_from([0.0, 1e-8, 1e3, float("inf"), float("nan")]))
@settings(max_examples=25, deadline=None)
def test_wild_parameters_give_finite_pictures_and_gradients(seed, wild):
    g = torch.Generator().manual_seed(seed)
    means, rotation, scale, features, opacity = scene(20, seed)
    for x in (means, rotation, scale, features):
        x[torch.randint(20, (3,), generator=g)] = wild
    opacity[torch.randint(20, (3,), generator=g)] = wild
    inputs = [x.requires_grad_() for x in (means, rotation, scale, features, opacity)]
    view = camera(19, 23)
    picture, alpha = rasterise_splats(
        project_splats(*inputs[:3], view), inputs[3], inputs[4], view.width, view.height
    )
    (picture.sum() + alpha.sum()).backward()
    assert torch.isfinite(picture).all()
    assert torch.isfinite(alpha).all()
    assert alpha.min() >= -1e-6
    assert alpha.max() <= 1 + 1e-6


def test_a_nearer_opaque_splat_hides_the_one_behind_it():
    depth = torch.tensor([2.0, 1.0])
    projected = Projected(
        torch.full((2, 2), 8.0), depth, torch.tensor([[0.01, 0.0, 0.01]] * 2), torch.ones(2)
    )
    colours = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    picture, _ = rasterise_splats(projected, colours, torch.tensor([0.99, 0.99]), 16, 16)
    assert picture[8, 8, 1] > 0.95
    assert picture[8, 8, 0] < 0.02


def test_an_isotropic_splat_is_round_whatever_its_rotation():
    means, scale = torch.zeros(1, 3), torch.full((1, 3), 0.02)
    view = camera()
    conics = [project_splats(means, torch.randn(1, 4), scale, view).conic for _ in range(4)]
    for conic in conics[1:]:
        torch.testing.assert_close(conic, conics[0])


def test_half_precision_inputs_are_drawn_in_float32_and_come_back_as_given():
    means, rotation, scale, features, opacity = scene(30)
    view = camera()
    projected = project_splats(means, rotation, scale, view)
    whole, _ = rasterise_splats(projected, features, opacity, 33, 29)
    half, alpha = rasterise_splats(projected, features.half(), opacity.half(), 33, 29)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), whole, atol=5e-3, rtol=0)


def test_a_batch_of_views_is_each_view_by_itself():
    means, rotation, scale, features, opacity = scene(40)
    poses = torch.stack(
        [
            look_at(torch.tensor([x, 0.1, 0.6]), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
            for x in (-0.2, 0.0, 0.3)
        ]
    )
    one = camera(21, 17)
    many = type(one)(one.intrinsics.expand(3, 3, 3), poses, 21, 17)
    f = features.clone().requires_grad_()
    projected = project_splats(means, rotation, scale, many)
    own = opacity * torch.tensor([1.0, 0.5, 0.25])[:, None]
    picture, alpha = rasterise_splats(projected, f, own, 21, 17)
    assert picture.shape == (3, 17, 21, 3)
    picture.sum().backward()
    total = 0
    for i in range(3):
        g = features.clone().requires_grad_()
        single = type(one)(one.intrinsics, poses[i], 21, 17)
        alone = rasterise_splats(project_splats(means, rotation, scale, single), g, own[i], 21, 17)
        assert torch.equal(picture[i], alone[0])
        assert torch.equal(alpha[i], alone[1])
        alone[0].sum().backward()
        total = total + g.grad
    torch.testing.assert_close(f.grad, total)


@pytest.mark.parametrize(("count", "degree"), [(0, 3), (1, 0), (33, 1), (7, 4), (50, 3)])
def test_fast_harmonic_colour_agrees_in_values_and_gradients(count, degree):
    g = torch.Generator().manual_seed(degree)
    harmonics = torch.randn(count, (degree + 1) ** 2, 3, generator=g)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=-1)
    results = []
    for dtype in (torch.float64, torch.float32):
        h, d = (x.to(dtype).clone().requires_grad_() for x in (harmonics, directions))
        colour = splat_colour(h, d)
        (colour * torch.linspace(-1, 2, colour.numel()).view_as(colour).to(dtype)).sum().backward()
        results.append([colour, h.grad, d.grad])
    assert_alike(*results, 1e-5)
    assert count < 5 or (results[1][0] == 0).any()  # some colours are cut off at black


def test_harmonics_of_no_whole_degree_are_refused():
    with pytest.raises(BadInput, match="no whole degree"):
        splat_colour(torch.zeros(2, 5, 3), torch.zeros(2, 3))


def test_constant_harmonics_have_one_colour_from_everywhere():
    harmonics = torch.zeros(5, 16, 3)
    harmonics[:, 0] = torch.rand(5, 3)  # at degree 3 the other rows are zero
    directions = torch.nn.functional.normalize(torch.randn(5, 3), dim=-1)
    first = splat_colour(harmonics, directions)
    torch.testing.assert_close(first, 0.5 + 0.28209479177387814 * harmonics[:, 0])
    harmonics[:, 0] = -100
    assert (splat_colour(harmonics, directions) == 0).all()
