"""Whatever is handed to a kernel, it ends: in defined results, or in an error that says what."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.camera import pinhole
from likeness.core.errors import BadInput
from likeness.ops import image
from likeness.ops.adam import adam_step
from likeness.ops.atlas import draw_cells
from likeness.ops.carry import carry
from likeness.ops.dense import dense_layers
from likeness.ops.harmonics import splat_colour
from likeness.ops.hash_grid import HashLayout, blended_hash_encode, hash_encode
from likeness.ops.image import l1_dssim
from likeness.ops.march import Stride, march
from likeness.ops.mesh import interpolate, rasterise
from likeness.ops.mesh_edges import antialias
from likeness.ops.splats import project_splats, rasterise_splats
from likeness.ops.volumes import composite_packed

LAYOUT = HashLayout(levels=3, features=2, coarsest=3, finest=12, log2_size=7)
WILD = (float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 1e-42, 0.0)


class Source:
    """Tensors of random numbers, some of them wild, strided or halved, as the seed has it."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float32) -> None:
        self.generator, self.dtype = torch.Generator().manual_seed(seed), dtype

    def chance(self, share: float) -> bool:
        return float(torch.rand((), generator=self.generator)) < share

    def __call__(self, *shape: int, wild: float = 0.3, low: float = -1.0, high: float = 1.0):
        x = low + (high - low) * torch.rand(shape, generator=self.generator)
        if x.numel() and self.chance(wild):
            flat = x.view(-1)
            for _ in range(3):
                at = torch.randint(flat.numel(), (), generator=self.generator)
                flat[at] = WILD[int(torch.randint(len(WILD), (), generator=self.generator))]
        if x.dim() > 1 and self.chance(0.3):
            x = x.transpose(0, 1).contiguous().transpose(0, 1)
        return x.to(self.dtype).requires_grad_()

    def whole(self, most: int, *shape: int):
        return torch.randint(max(most, 1), shape, generator=self.generator)


def untouched(*tensors):
    """Rows without a number that is not finite or is out of all bounds."""
    rows = [(x.detach().abs() < 1e6).flatten(1).all(-1) for x in tensors]
    return torch.stack(rows).all(0)


SEEDS = st.integers(0, 2**31)
SIZES = st.integers(0, 40)
KINDS = st.sampled_from([torch.float32, torch.float16])


@given(SEEDS, SIZES, KINDS)
@settings(max_examples=25)
def test_splats_of_any_numbers_give_a_finite_picture(seed, count, dtype):
    x = Source(seed, dtype)
    means, turn, scale = x(count, 3), x(count, 4), x(count, 3, low=0.0, high=0.5)
    colour, opacity = x(count, 2), x(count, low=0.0)
    height, width = (int(v) for v in x.whole(30, 2))
    pose = torch.eye(4)
    pose[2, 3] = float(x.whole(3)) - 1  # among the splats, behind them, before them
    camera = pinhole(20.0, max(width, 1), max(height, 1), pose)
    projected = project_splats(means, turn, scale, camera)
    picture, alpha = rasterise_splats(projected, colour, opacity, width, height)
    (picture.sum() + alpha.sum()).backward()
    assert picture.shape == (height, width, 2)
    assert picture.dtype == dtype
    assert torch.isfinite(alpha).all()
    if dtype == torch.float32 and bool(untouched(colour).all()):
        assert torch.isfinite(picture).all()
        assert torch.isfinite(colour.grad).all()
        assert float(picture.detach().abs().max() if picture.numel() else 0) <= 1.0001


@given(SEEDS, SIZES, KINDS)
@settings(max_examples=15)
def test_a_wild_point_spoils_no_other_points_features(seed, count, dtype):
    x = Source(seed, dtype)
    points = x(count, 3, low=-0.1, high=1.1).float().detach().requires_grad_()
    tables = x(2, LAYOUT.entries, 2, wild=0).detach().requires_grad_()
    which = x.whole(2, count)
    features = hash_encode(points, tables, LAYOUT, which)
    blended = blended_hash_encode(points.detach(), tables, x(1, 2, wild=0), LAYOUT)
    (features.sum() + blended.sum()).backward()
    assert features.dtype == dtype
    assert torch.isfinite(features).all()
    assert torch.isfinite(blended).all()
    assert torch.isfinite(points.grad).all()
    assert torch.isfinite(tables.grad).all()


@given(SEEDS, st.lists(st.integers(0, 9), max_size=6), KINDS)
@settings(max_examples=15)
def test_a_wild_sample_spoils_its_own_ray_alone(seed, lengths, dtype):
    x, count = Source(seed, dtype), sum(lengths)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    density, step, values = x(count, low=0.0), x(count, low=0.0), x(count, 3)
    found = composite_packed(density, step, values, offsets)
    (found.values.sum() + found.opacity.sum()).backward()
    fine = untouched(density[:, None], step[:, None], values)
    for ray, (first, last) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist())):
        if bool(fine[first:last].all()):
            assert torch.isfinite(found.values[ray]).all()
            assert 0 <= float(found.opacity[ray]) <= 1.0001
            assert torch.isfinite(density.grad[first:last]).all()


@given(SEEDS, st.integers(3, 12), st.integers(0, 25))
@settings(max_examples=25)
def test_triangles_of_any_shape_are_drawn_or_left_out(seed, vertices, triangles):
    x = Source(seed)
    points = x(vertices, 3, low=-1, high=2)
    faces = x.whole(vertices, triangles, 3)  # corners repeat: many are degenerate
    height, width = (int(v) for v in x.whole(24, 2))
    camera = pinhole(20.0, max(width, 1), max(height, 1), torch.eye(4))
    raster = rasterise(camera, points, faces)
    colours = x(vertices, 2, wild=0)
    picture = antialias(raster, interpolate(raster, colours))
    picture.sum().backward()
    assert raster.seen.min() >= -1
    assert raster.seen.max() < max(triangles, 1)
    assert torch.isfinite(raster.weights).all()
    assert torch.isfinite(picture).all()
    seen = raster.depth[raster.mask]
    assert not len(seen) or float(seen.min()) > 0


@given(SEEDS, SIZES)
@settings(max_examples=25)
def test_rays_of_any_kind_come_to_an_end(seed, count):
    x = Source(seed)
    origins, directions = x(count, 3), x(count, 3)
    near, far = x(count), x(count, high=3.0)
    occupied = x(3, 4, 5, wild=0) > 0
    found = march(
        *(origins, directions, near, far, occupied),
        *(torch.tensor([[-1.0] * 3, [1.0] * 3]), Stride(0.05, 0.2, 0.1, limit=50)),
    )
    assert found.offsets[-1] == len(found.t)
    assert (found.offsets.diff() >= 0).all()
    assert (found.offsets.diff() <= 50).all()
    assert torch.isfinite(found.t).all()


@given(SEEDS, SIZES, KINDS)
@settings(max_examples=15)
def test_a_wild_row_of_a_network_or_a_harmonic_spoils_itself_alone(seed, count, dtype):
    x = Source(seed, dtype)
    rows = x(count, 5)
    weights = [x(7, 5, wild=0), x(3, 7, wild=0)]
    out = dense_layers(rows, weights)
    out.sum().backward()
    fine = untouched(rows)
    assert torch.isfinite(out[fine]).all()
    assert out.dtype == dtype
    harmonics, along = x(count, 9, 3), x(count, 3)
    colour = splat_colour(harmonics, along)
    colour.sum().backward()
    fine = untouched(harmonics, along)
    assert torch.isfinite(colour[fine]).all()
    assert (colour[fine] >= 0).all()
    assert torch.isfinite(harmonics.grad[fine]).all()


@given(SEEDS, SIZES, KINDS)
@settings(max_examples=15)
def test_a_wild_passenger_or_cell_spoils_itself_alone(seed, count, dtype):
    x = Source(seed, dtype)
    vertices, corners = x(6, 3, wild=0), x.whole(6, count, 3)
    weights, offsets, turns = x(count, 3), x(count, 3), x(count, 4)
    means, rotation = carry(vertices, corners, weights, offsets, turns)
    fine = untouched(weights, offsets, turns)
    assert torch.isfinite(means[fine]).all()
    assert torch.isfinite(rotation[fine]).all()
    cells, shares = x.whole(8, count, 4), x(count, 4).detach()
    drawn = draw_cells(x(8, 3, wild=0), cells, shares)
    assert torch.isfinite(drawn[untouched(shares)]).all()


@given(SEEDS, st.integers(1, 20), st.integers(1, 20), KINDS)
@settings(max_examples=10)
def test_pictures_of_any_layout_have_the_loss_of_their_numbers(seed, height, width, dtype):
    x = Source(seed, dtype)
    a, b, weight = x(height, width, 3, wild=0), x(height, width, 3, wild=0), x(height, width)
    loss = l1_dssim(a, b, weight=weight.detach().clamp(0, 1).nan_to_num())
    loss.backward()
    same = l1_dssim(
        a.detach().contiguous(), b.contiguous(), weight=weight.detach().clamp(0, 1).nan_to_num()
    )
    assert float(loss.detach()) == pytest.approx(float(same), rel=1e-3, abs=1e-6)
    assert torch.isfinite(a.grad).all()
    assert torch.isnan(l1_dssim(a.detach() * float("nan"), b.detach()))


def test_strided_and_half_parameters_take_a_step_too():
    for parameter in (torch.ones(4, 6).T, torch.ones(6, 4).half()):
        mean, square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        gradient = torch.ones_like(parameter)
        gradient[0, 0] = float("nan")
        adam_step(parameter, gradient, mean, square, 1, 0.1, (0.9, 0.99), 1e-4)
        assert float(parameter[0, 0]) == 1
        assert float(parameter[1, 1]) < 0.95


def elsewhere(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")  # a device every machine has beside its CPU


@pytest.mark.parametrize(
    "call",
    [
        lambda: hash_encode(torch.rand(2, 3), elsewhere(1, LAYOUT.entries, 2), LAYOUT),
        lambda: splat_colour(torch.rand(2, 4, 3), elsewhere(2, 3)),
        lambda: dense_layers(torch.rand(2, 3), [elsewhere(4, 3)]),
        lambda: l1_dssim(torch.rand(4, 4, 3), elsewhere(4, 4, 3)),
        lambda: draw_cells(torch.rand(4, 2), elsewhere(3, 4).long(), torch.rand(3, 4)),
        lambda: composite_packed(
            torch.rand(2), torch.rand(2), elsewhere(2, 3), torch.tensor([0, 2])
        ),
        lambda: project_splats(
            torch.rand(2, 3), torch.rand(2, 4), elsewhere(2, 3), pinhole(9.0, 4, 4, torch.eye(4))
        ),
        lambda: rasterise(
            pinhole(9.0, 4, 4, torch.eye(4)), torch.rand(3, 3), elsewhere(1, 3).long()
        ),
    ],
)
def test_tensors_on_two_devices_are_refused(call):
    with pytest.raises(BadInput, match="meta"):
        call()


def test_indices_of_what_is_not_there_are_refused():
    for cell in (-1, 4):
        with pytest.raises(BadInput, match="but there are 4"):
            draw_cells(torch.rand(4, 2), torch.tensor([[0, 1, 2, cell]]), torch.rand(1, 4))
        with pytest.raises(BadInput, match="but there are 4"):
            carry(
                *(torch.rand(4, 3), torch.tensor([[0, 1, cell]]), torch.rand(1, 3)),
                *(torch.rand(1, 3), torch.rand(1, 4)),
            )


def test_weights_of_another_size_than_the_picture_are_refused():
    with pytest.raises(BadInput, match="do not fit"):
        image._fits(torch.rand(5, 4), torch.rand(4, 5, 3))
