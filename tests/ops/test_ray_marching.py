from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.errors import BadInput
from likeness.ops.march import (
    Stride,
    _march,
    is_occupied,
    march,
    updated_density,
    vertex_places,
)
from likeness.ops.rays import ray_box

PARITY = Path(__file__).parents[1] / "parity" / "nerfblendshape"
BOUND = 0.06
BOX = torch.tensor([[-BOUND] * 3, [BOUND] * 3], dtype=torch.float64)
STRIDE = Stride(2 * 1.73205080757 / 2048 * BOUND, 2 * BOUND / 128, 1 / 128, 2048)
CUBE = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])


def recorded(name: str) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(PARITY / name).items()}


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.Tensor]:
    data = recorded("raymarch_train_small.npz")
    data["density"] = data["density_grid_u8"].float() * float(data["density_grid_scale"])
    return data


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["mean_threshold", "threshold10", "initial", "perturbed"])
def test_rays_stop_where_those_of_nerfblendshape_do(trained, case, dtype):
    o, d = trained["rays_o"].to(dtype), trained["rays_d"].to(dtype)
    near, far = ray_box(o, d, BOX.to(dtype))
    density = torch.full((129, 129, 129), 1e-3) if case == "initial" else trained["density"]
    occupied = density > float(trained[f"{case}__threshold"])
    jitter = trained["noise_perturbed"] if case == "perturbed" else None
    samples = march(o, d, near.clamp(min=0.05), far, occupied, BOX.to(dtype), STRIDE, jitter)
    wanted = trained[f"{case}__rays"]
    assert torch.equal(samples.offsets.diff(), wanted[:, 2].long())
    assert torch.equal(samples.offsets[:-1], wanted[:, 1].long())
    if f"{case}__t" in trained:
        t = trained[f"{case}__t"]
        torch.testing.assert_close(samples.t.float(), t, atol=2e-6, rtol=0)


def test_rays_along_the_axes_stop_where_those_of_nerfblendshape_do(trained):
    data = recorded("raymarch_axis_aligned.npz")
    o, d = data["rays_o"], data["rays_d"]
    near, far = ray_box(o, d, BOX.float())
    occupied = trained["density"] > min(10, float(data["mean_density"]))
    samples = march(o, d, near.clamp(min=0.05), far, occupied, BOX.float(), STRIDE)
    assert torch.equal(samples.offsets.diff(), data["rays"][:, 2].long())
    torch.testing.assert_close(samples.t.double(), data["t"], atol=1e-6, rtol=0)


def test_an_occupancy_update_is_that_of_nerfblendshape():
    data = recorded("density_grid_update_small.npz")
    size, bound = int(data["grid_size"]), float(data["bound"])
    box = torch.tensor([[-bound] * 3, [bound] * 3])
    shape = (size, size, size)
    places = vertex_places(shape, box, data["uniform_noise"].reshape(*shape, 3))
    wanted = data["sample_points"].reshape(*shape, 3)
    torch.testing.assert_close(places, wanted, atol=1e-6, rtol=0)
    new = updated_density(data["grid_old"], data["sigma_max"])
    torch.testing.assert_close(new, data["grid_new"], atol=1e-6, rtol=0)
    assert torch.equal(is_occupied(new), data["occupied"])


@given(st.integers(0, 20), st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_the_fast_march_stops_exactly_where_the_definition_does(rays, seed):
    g = torch.Generator().manual_seed(seed)
    o = 2 * torch.randn(rays, 3, generator=g, dtype=torch.float64)
    d = torch.randn(rays, 3, generator=g, dtype=torch.float64) - o
    d = torch.where(torch.rand(rays, 3, generator=g) < 0.1, 0.0, d)
    occupied = torch.rand(5, 9, 4, generator=g) < 0.3
    stride = Stride(0.01, 0.05, 0.02, 40)
    jitter = torch.rand(rays, 7, generator=g, dtype=torch.float64)
    near, far = ray_box(o, d, CUBE.double())
    near = near.clamp(min=0.1)
    for numbers in (None, jitter):
        fast = march(o, d, near, far, occupied, CUBE.double(), stride, numbers)
        bounded = torch.where(torch.isfinite(far), far, -torch.inf)
        slow = _march(o, d, near, bounded, occupied, CUBE.double(), stride, numbers)
        assert torch.equal(fast.offsets.diff(), slow[2])
        torch.testing.assert_close(fast.t, slow[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(fast.step, slow[1], atol=1e-12, rtol=0)
        torch.testing.assert_close(fast.end, slow[3], atol=1e-12, rtol=0)


def test_samples_lie_in_occupied_places_and_belong_to_their_ray():
    g = torch.Generator().manual_seed(0)
    o = 3 * torch.nn.functional.normalize(torch.randn(50, 3, generator=g), dim=-1)
    d = torch.nn.functional.normalize(torch.randn(50, 3, generator=g) / 4 - o, dim=-1)
    near, far = ray_box(o, d, CUBE)
    occupied = torch.rand(9, 9, 9, generator=g) < 0.5
    samples = march(o, d, near, far, occupied, CUBE, Stride(0.02, 0.02))
    places = o[samples.ray] + samples.t[:, None] * d[samples.ray]
    vertex = ((places + 1) / 2 * 8 + 0.5).floor().long().clamp(0, 8)
    edge = (((places + 1) / 2 * 8 + 0.5) % 1 - 0.5).abs().amax(-1) > 0.499  # rounding may decide
    assert (occupied[tuple(vertex.unbind(-1))] | edge).all()
    lengths = samples.offsets.diff()
    assert torch.equal(torch.bincount(samples.ray, minlength=50), lengths)
    assert (samples.t.diff()[samples.ray.diff() == 0] > 0).all()


def test_walking_on_from_the_end_gives_the_samples_that_were_left():
    o, d = torch.tensor([[0.1, 0.2, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    near, far = ray_box(o, d, CUBE)
    occupied = torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.6
    whole = march(o, d, near, far, occupied, CUBE, Stride(0.03, 0.03))
    first = march(o, d, near, far, occupied, CUBE, Stride(0.03, 0.03, limit=5))
    second = march(o, d, first.end, far, occupied, CUBE, Stride(0.03, 0.03))
    torch.testing.assert_close(torch.cat([first.t, second.t]), whole.t, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("origin", "direction", "near", "far"),
    [
        ([0.0, 0, 0], [0.0, 0, 0], float("-inf"), float("inf")),
        ([0.0, 0, 0], [float("nan"), 0, 1], 0.0, float("nan")),
        ([float("nan")] * 3, [0.0, 0, 1], float("nan"), float("nan")),
        ([0.0, 0, -3], [0.0, 0, 1], 4.0, 2.0),
    ],
)
def test_rays_without_a_finite_stretch_have_no_samples(origin, direction, near, far):
    samples = march(
        torch.tensor([origin]),
        torch.tensor([direction]),
        torch.tensor([near]),
        torch.tensor([far]),
        torch.ones(4, 4, 4, dtype=torch.bool),
        CUBE,
        Stride(0.1, 0.1),
    )
    assert samples.t.shape == (0,)
    assert samples.offsets.tolist() == [0, 0]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("direction", [[0.0, 0, 1], [float("nan"), 0, 1]])
def test_no_ray_walks_forever(full, direction):
    samples = march(
        torch.zeros(1, 3),
        torch.tensor([direction]),
        torch.tensor([1e20]),
        torch.tensor([1e21]),
        torch.full((4, 4, 4), full),
        CUBE,
        Stride(0.1, 0.1),
        torch.zeros(1, 3),  # steps of no length
    )
    assert samples.t.shape[0] <= 1024


def test_an_empty_box_has_no_samples_and_no_rays_are_no_rays():
    none = march(
        torch.zeros(0, 3),
        torch.zeros(0, 3),
        torch.zeros(0),
        torch.zeros(0),
        torch.ones(2, 2, 2, dtype=torch.bool),
        CUBE,
        Stride(0.1, 0.1),
    )
    assert none.offsets.tolist() == [0]


def test_a_stride_that_cannot_walk_is_refused():
    with pytest.raises(BadInput, match="0 < least <= most"):
        Stride(0.2, 0.1)
    with pytest.raises(BadInput, match="0 < least <= most"):
        Stride(0.0, 0.1)
