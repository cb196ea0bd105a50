from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.errors import BadInput
from likeness.ops.feature_grid import feature_grid
from likeness.ops.hash_grid import (
    HashLayout,
    _blended_hash_encode,
    _corners,
    _hash_encode,
    blended_hash_encode,
    hash_encode,
    mixed,
    mixing_first_is_cheaper,
)
from likeness.ops.twins import pick

PARITY = Path(__file__).parents[1] / "parity"
SMALL = HashLayout(levels=4, features=3, coarsest=3, finest=20, log2_size=8)


def recorded(name: str) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(PARITY / name).items()}


@pytest.fixture(scope="module")
def production() -> dict[str, torch.Tensor]:
    data = recorded("nerfblendshape/hashgrid_production.npz")
    numbers = np.arange(246456 * 4, dtype=np.uint64) * 2654435761 % 2**32
    data["table"] = torch.from_numpy(numbers / 2**32 - 0.5).reshape(1, -1, 4)
    return data


PRODUCTION = HashLayout(levels=16, features=4, coarsest=16, finest=1024, log2_size=14)


def test_the_layout_is_that_of_nerfblendshape(production):
    assert list(PRODUCTION.starts) == production["offsets"].tolist()
    assert list(PRODUCTION.resolutions) == production["level_resolution"].tolist()
    assert list(PRODUCTION.dense) == production["level_is_dense"].bool().tolist()
    assert torch.equal(torch.tensor(PRODUCTION.scales), production["level_scale"])
    assert PRODUCTION.entries == 246456


def test_every_vertex_has_the_entry_it_has_in_nerfblendshape(production):
    inside = ((production["x"] >= 0) & (production["x"] <= 1)).all(-1)
    for level in range(16):
        ours, _ = _corners(production["x"][inside], PRODUCTION, level)
        assert torch.equal(ours, production["corner_index"][inside, level].long())


def test_the_definition_is_nerfblendshape_to_nine_digits(production):
    x, table = (production[k].clone().double().requires_grad_() for k in ("x", "table"))
    features = _hash_encode(x, table, PRODUCTION, None)
    torch.testing.assert_close(features, production["features"], atol=1e-9, rtol=0)
    (features * production["grad_features"]).sum().backward()
    torch.testing.assert_close(x.grad, production["grad_x"], atol=1e-9, rtol=1e-9)
    sums = [part.sum() for part in table.grad[0].split(np.diff(PRODUCTION.starts).tolist())]
    torch.testing.assert_close(torch.stack(sums), production["grad_table_level_sum"])


def test_the_fast_grid_is_nerfblendshape_in_values_and_gradients(production):
    x, table = (production[k].clone().float().requires_grad_() for k in ("x", "table"))
    features = hash_encode(x, table, PRODUCTION)
    torch.testing.assert_close(features.double(), production["features"], atol=2e-4, rtol=0)
    (features * production["grad_features"]).sum().backward()
    error = (x.grad - production["grad_x"]).norm() / production["grad_x"].norm()
    assert float(error) < 2e-4
    levels = table.grad[0].double().split(np.diff(PRODUCTION.starts).tolist())
    sums = torch.stack([part.sum() for part in levels])
    absolute = torch.stack([part.abs().sum() for part in levels])
    torch.testing.assert_close(sums, production["grad_table_level_sum"], atol=1e-5, rtol=1e-6)
    wanted = production["grad_table_level_abs_sum"]
    torch.testing.assert_close(absolute, wanted, atol=1e-4, rtol=1e-5)


def away_from_edges(count: int, layout: HashLayout, seed: int) -> torch.Tensor:
    """Points whose cell is the same in float32 and float64."""
    g = torch.Generator().manual_seed(seed)
    points = torch.rand(4 * count + 8, 3, generator=g)
    scaled = points[:, None].double() * torch.tensor(layout.scales)[:, None] + 0.5
    clear = ((scaled % 1 - 0.5).abs() < 0.499).all(-1).all(-1)
    return points[clear][:count]


@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 257])
def test_the_fast_grid_equals_the_definition_in_values_and_gradients(device, count, features):
    layout = HashLayout(5, features, 4, 40, 9)
    g = torch.Generator().manual_seed(features)
    points = away_from_edges(count, layout, 1).to(device)
    tables = torch.randn(3, layout.entries, features, generator=g).to(device)
    which = torch.randint(0, 3, (count,), generator=g).to(device)
    upstream = torch.randn(count, layout.width, generator=g).to(device)
    results = []
    for dtype in (torch.float32, torch.float64):
        x, t = (v.clone().to(dtype).requires_grad_() for v in (points, tables))
        out = hash_encode(x, t, layout, which)
        (out * upstream).sum().backward()
        results.append((out.detach().double(), x.grad.double(), t.grad.double()))
    for ours, exact in zip(*results):
        scale = float(exact.abs().max()) if exact.numel() else 1.0
        torch.testing.assert_close(ours, exact, atol=2e-5 * scale, rtol=0)
        sizes = exact.flatten(0, -2).norm(dim=-1)
        big = sizes > 1e-2 * scale
        ratio = ours.flatten(0, -2).norm(dim=-1)[big] / sizes[big]
        torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-2, rtol=0)


def test_the_gradient_of_positions_is_the_slope():
    layout = HashLayout(3, 2, 4, 16, 12)
    g = torch.Generator().manual_seed(0)
    x = away_from_edges(5, layout, 2).double().requires_grad_()
    table = torch.randn(1, layout.entries, 2, generator=g, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: hash_encode(p, table, layout), x, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_outside_or_not_numbers_are_zero_and_pass_no_gradient(dtype):
    nan, inf = float("nan"), float("inf")
    x = torch.tensor(
        [[-1e-6, 0.5, 0.5], [0.5, 1.00001, 0.5], [nan, 0.5, 0.5], [0.5, 0.5, inf], [1e30, 0, 0]],
        dtype=dtype,
        requires_grad=True,
    )
    table = torch.ones(1, SMALL.entries, 3, dtype=dtype, requires_grad=True)
    out = hash_encode(x, table, SMALL)
    assert out.abs().max() == 0
    out.sum().backward()
    assert x.grad.abs().max() == 0
    assert table.grad.abs().max() == 0


def test_the_corners_of_the_cube_are_inside():
    corners = torch.tensor([[float(i >> k & 1) for k in range(3)] for i in range(8)])
    table = torch.ones(1, SMALL.entries, 3)
    out = hash_encode(corners, table, SMALL)
    torch.testing.assert_close(out, torch.ones(8, SMALL.width))


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=10)
def test_a_constant_table_is_constant_everywhere(seed):
    x = torch.rand(30, 3, generator=torch.Generator().manual_seed(seed))
    out = hash_encode(x, torch.full((1, SMALL.entries, 3), 2.5), SMALL)
    torch.testing.assert_close(out, torch.full((30, SMALL.width), 2.5))


def test_results_are_the_same_for_any_number_of_threads_and_run_to_run():
    g = torch.Generator().manual_seed(0)
    layout = HashLayout(6, 2, 8, 64, 10)
    points = torch.rand(5000, 3, generator=g)
    table = torch.randn(1, layout.entries, 2, generator=g)
    before, runs = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            x, t = points.clone().requires_grad_(), table.clone().requires_grad_()
            out = hash_encode(x, t, layout)
            out.square().sum().backward()
            runs.append((out, x.grad, t.grad))
    finally:
        torch.set_num_threads(before)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other))


def test_half_precision_and_strided_points_read_the_same_features():
    g = torch.Generator().manual_seed(0)
    points = torch.rand(3, 50, generator=g)
    table = torch.randn(1, SMALL.entries, 3, generator=g)
    whole = hash_encode(points.mT.contiguous(), table, SMALL)
    assert torch.equal(hash_encode(points.mT, table, SMALL), whole)
    half = hash_encode(points.mT, table.half(), SMALL)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), whole, atol=5e-3, rtol=0)


@pytest.mark.parametrize("count", [0, 7, 400])
@pytest.mark.parametrize("frames", [1, 3])
def test_mixing_before_or_at_each_vertex_is_the_same_with_the_same_gradients(count, frames):
    g = torch.Generator().manual_seed(0)
    points = away_from_edges(count, SMALL, 5)
    tables = torch.randn(6, SMALL.entries, 3, generator=g)
    blend = torch.randn(frames, 6, generator=g)
    blend[0, 2] = 0
    which = torch.randint(0, frames, (count,), generator=g) if frames > 1 else None
    upstream = torch.randn(count, SMALL.width, generator=g)
    results = []
    for dtype in (torch.float32, torch.float64):
        for way in ("public", "first", "vertex"):
            x, t, w = (v.clone().to(dtype).requires_grad_() for v in (points, tables, blend))
            if way == "public":
                out = blended_hash_encode(x, t, w, SMALL, which)
            elif way == "first":
                out = hash_encode(x, mixed(t, w), SMALL, which)
            else:
                out = _blended_hash_encode(x, t, w, SMALL, which)
            (out * upstream).sum().backward()
            results.append([v.detach().double() for v in (out, x.grad, t.grad, w.grad)])
    for found in results[:-1]:
        for ours, exact in zip(found, results[-1]):
            scale = float(exact.abs().max()) if exact.numel() else 1.0
            torch.testing.assert_close(ours, exact, atol=1e-5 * max(scale, 1e-3), rtol=0)


@pytest.mark.parametrize("count", [0, 1, 300])
def test_the_fast_sum_at_each_vertex_equals_the_definition(device, count):
    layout = HashLayout(levels=3, features=4, coarsest=3, finest=12, log2_size=8)
    g = torch.Generator().manual_seed(0)
    points = away_from_edges(count, layout, 5).to(device)
    tables = torch.randn(6, layout.entries, 4, generator=g).to(device)
    blend = torch.randn(2, 6, generator=g).to(device)
    which = torch.randint(0, 2, (count,), generator=g).to(device)
    upstream = torch.randn(count, layout.width, generator=g).to(device)
    results = []
    for dtype in (torch.float32, torch.float64):
        t, w = (v.clone().to(dtype).requires_grad_() for v in (tables, blend))
        twin = pick(_blended_hash_encode, points.device.type)
        out = twin(points.to(dtype), t, w, layout, which)
        (out * upstream).sum().backward()
        results.append([v.detach().double() for v in (out, t.grad, w.grad)])
    for ours, exact in zip(*results):
        scale = max(float(exact.abs().max()) if exact.numel() else 0.0, 1e-3)
        torch.testing.assert_close(ours, exact, atol=1e-5 * scale, rtol=0)
        assert ours.norm().item() == pytest.approx(exact.norm().item(), rel=1e-4)


def test_few_points_are_summed_at_their_vertices_and_many_are_not():
    assert not mixing_first_is_cheaper(64, 1, PRODUCTION)
    assert mixing_first_is_cheaper(4096, 1, PRODUCTION)


def test_a_neutral_table_is_where_every_sum_starts():
    g = torch.Generator().manual_seed(0)
    tables = torch.randn(4, SMALL.entries, 3, generator=g)
    blend = torch.tensor([[1.0, 0.3, -0.2, 0.7]])
    for count in (2, 500):
        points = torch.rand(count, 3, generator=g)
        apart = blended_hash_encode(points, tables[1:], blend[:, 1:], SMALL, None, tables[:1])
        together = blended_hash_encode(points, tables, blend, SMALL)
        torch.testing.assert_close(apart, together)


def test_tables_of_another_layout_are_refused():
    with pytest.raises(BadInput, match="Make tables for the layout"):
        hash_encode(torch.rand(2, 3), torch.rand(1, 10, 3), SMALL)
    with pytest.raises(BadInput, match="6 tables need as many weights"):
        blended_hash_encode(
            torch.rand(2, 3), torch.rand(6, SMALL.entries, 3), torch.rand(1, 5), SMALL
        )


@pytest.mark.parametrize("which", [[0, 2], [-1, 0]])
def test_a_table_that_does_not_exist_is_refused(which):
    table = torch.rand(2, SMALL.entries, 3)
    with pytest.raises(BadInput, match="there are 2 tables"):
        hash_encode(torch.rand(2, 3), table, SMALL, torch.tensor(which))


@pytest.mark.parametrize(
    "sizes", [{"levels": 0}, {"features": 0}, {"coarsest": 40, "finest": 20}, {"log2_size": 40}]
)
def test_a_layout_without_sense_is_refused(sizes):
    with pytest.raises(BadInput):
        HashLayout(**sizes)


def test_a_dense_grid_reads_as_in_sahs():
    data = recorded("sahs/feature_grid.npz")
    i = torch.arange(32)
    where = 331 * i[:, None, None, None] + 97 * i[:, None, None] + 13 * i[:, None] + i
    ours = feature_grid(data["grid_coords"], data["grid_base"][where])
    torch.testing.assert_close(ours, data["grid_features"], atol=1e-6, rtol=0)


def test_a_dense_grid_is_zero_where_there_is_none():
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([[nan, 0, 0], [0, inf, 0], [5, 0, 0], [0, 0, -1e30]], requires_grad=True)
    out = feature_grid(x, torch.ones(2, 4, 5, 6))
    assert out.abs().max() == 0
    out.sum().backward()
    assert x.grad.abs().max() == 0
    assert feature_grid(torch.zeros(0, 3), torch.ones(2, 4, 5, 6)).shape == (0, 2)
