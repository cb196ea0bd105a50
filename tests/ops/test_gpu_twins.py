"""Triton kernels against the definitions: on a CPU in Triton's interpreter, on CUDA as they are."""

import os
import sys
import types
from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch

from likeness.core.batching import move
from likeness.core.camera import pinhole
from likeness.core.errors import Missing
from likeness.core.geometry import look_at
from likeness.ops.adam import _adam_step
from likeness.ops.atlas import _draw_cells
from likeness.ops.hash_grid import HashLayout, _blended_hash_encode, _hash_encode
from likeness.ops.image import _l1_dssim
from likeness.ops.mesh import _see
from likeness.ops.splats import _project_splats, _rasterise_splats, project_splats
from likeness.ops.volumes import _composite_packed

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
PLACE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed (it comes with torch for CUDA)"
)


def differentiated(function, inputs, dtype, weights_seed=9):
    """Outputs of `function` and gradients of its inputs, in float64."""
    inputs = [x.to(PLACE, dtype).clone().requires_grad_() for x in inputs]
    outputs = [x for x in function(*inputs) if x is not None]
    g = torch.Generator().manual_seed(weights_seed)
    sum((x * torch.randn(x.shape, generator=g).to(x)).sum() for x in outputs).backward()
    found = [*outputs, *(x.grad for x in inputs)]
    return [x.detach().double().cpu() for x in found]


def assert_alike(found, truth, tolerance=1e-4):
    for ours, exact in zip(found, truth, strict=True):
        assert ours.shape == exact.shape
        if not exact.numel():
            continue
        scale = max(float(exact.abs().max()), 1e-6)
        torch.testing.assert_close(ours / scale, exact / scale, atol=tolerance, rtol=0)
        assert float(ours.norm()) == pytest.approx(float(exact.norm()), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(
    ("count", "size", "channels"), [(0, (5, 4), 3), (1, (1, 1), 3), (60, (33, 18), 5)]
)
def test_splats_in_triton_blend_as_the_definition(count, size, channels):
    from likeness.ops import splats_gpu

    g = torch.Generator().manual_seed(count)
    view = pinhole(
        45.0, *size, look_at(torch.tensor([0.05, 0.1, 0.6]), torch.zeros(3), torch.eye(3)[1])
    )
    spread = 0.02 * torch.exp(0.5 * torch.randn(count, 3, generator=g))
    means, turn = 0.12 * torch.randn(count, 3, generator=g), torch.randn(count, 4, generator=g)
    opacity = 1.3 * torch.rand(count, generator=g)
    if count > 9:
        means[3, 2], means[4] = 2.0, float("nan")
        opacity[5], opacity[6] = float("nan"), 0.001
    on_screen = project_splats(means, turn, spread, view)
    if count > 9:
        on_screen.conic[7] = torch.tensor([1.0, 2.0, 1.0])  # no ellipse: its box is not finite
    features = torch.rand(count, channels, generator=g)
    inputs = (on_screen.xy, on_screen.conic, features, opacity)
    depth = on_screen.depth.to(PLACE)

    def drawn(rasterise, fine):
        def draw(xy, conic, f, o):
            near = torch.where(fine, depth, 0).to(xy)
            return rasterise(xy, near, conic, f, torch.where(fine, o, 0), *size)

        return draw

    fine = torch.ones(count, dtype=torch.bool, device=PLACE)
    if count > 9:
        fine[5], fine[7] = False, False
    truth = differentiated(drawn(_rasterise_splats, fine), inputs, torch.float64)
    assert_alike(
        differentiated(drawn(splats_gpu.rasterise_splats, fine), inputs, torch.float32), truth
    )
    if count > 9:  # what was masked out above must be left out by the kernel itself
        whole = splats_gpu.rasterise_splats(
            *(x.to(PLACE) for x in (on_screen.xy, on_screen.depth, *inputs[1:])), *size
        )
        torch.testing.assert_close(whole[0].double().cpu(), truth[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 150])
def test_splats_in_triton_project_as_the_definition(count):
    from likeness.ops import splats_project_gpu

    g = torch.Generator().manual_seed(count)
    pose = look_at(torch.tensor([0.05, 0.1, 0.4]), torch.zeros(3), torch.eye(3)[1])
    view = pinhole(60.0, 33, 18, pose)
    means, turn = 0.15 * torch.randn(count, 3, generator=g), torch.randn(count, 4, generator=g)
    scale = 0.02 * torch.exp(0.5 * torch.randn(count, 3, generator=g))
    inputs = (means, turn, scale)

    def places(project):
        def place(means, turn, scale):
            k, pose = (x.to(means) for x in (view.intrinsics, view.camera_from_world))
            return project(means, turn, scale, k, pose, 33, 18)

        return place

    truth = differentiated(places(_project_splats), inputs, torch.float64)
    found = differentiated(places(splats_project_gpu.project_splats), inputs, torch.float32)
    assert_alike(found, truth)
    if count < 9:
        return
    means[3], turn[4], scale[5, 1], means[6, 2] = float("nan"), 0.0, float("inf"), 2.0
    found = differentiated(places(splats_project_gpu.project_splats), inputs, torch.float32)
    assert all(bool(x.isfinite().all()) for x in found)
    assert found[1][3:7].tolist() == [0.0] * 4  # of no depth: not to be drawn


@pytest.mark.parametrize(("count", "channels"), [(0, 3), (1, 1), (300, 5)])
def test_atlases_in_triton_are_drawn_from_as_the_definition(count, channels):
    from likeness.ops import atlas_gpu

    g = torch.Generator().manual_seed(count)
    cells = torch.randint(0, 20, (count, 4), generator=g).to(PLACE)
    weights = torch.rand(count, 4, generator=g).to(PLACE)
    inputs = (torch.randn(20, channels, generator=g),)

    def drawing(draw):
        return lambda table: [draw(table, cells, weights.to(table))]

    truth = differentiated(drawing(_draw_cells), inputs, torch.float64)
    assert_alike(differentiated(drawing(atlas_gpu.draw_cells), inputs, torch.float32), truth)


def test_adam_in_triton_steps_as_the_definition():
    from likeness.ops import adam_gpu

    g = torch.Generator().manual_seed(6)
    ours = [torch.randn(40, 37, generator=g).to(PLACE) for _ in range(3)]
    ours[2] = ours[2].square()
    exact = [x.double() for x in ours]
    for step in (1, 2, 3):
        gradient = torch.randn(40, 37, generator=g).to(PLACE)
        gradient[step] = torch.tensor([float("nan"), *[float("inf")] * 36])
        rest = (step, 1e-2, (0.9, 0.99), 1e-8)
        adam_gpu.adam_step(ours[0], gradient, *ours[1:], *rest)
        _adam_step(exact[0], gradient.double(), *exact[1:], *rest)
    for found, truth in zip(ours, exact, strict=True):
        torch.testing.assert_close(found.double(), truth, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("count", "features"), [(0, 2), (1, 2), (130, 3)])
def test_the_hash_grid_in_triton_reads_as_the_definition(count, features):
    from likeness.ops import hash_grid_gpu

    layout = HashLayout(4, features, 4, 40, 8)
    g = torch.Generator().manual_seed(1)
    points = torch.rand(count, 3, generator=g)
    scaled = points[:, None].double() * torch.tensor(layout.scales)[:, None] + 0.5
    points[((scaled % 1 - 0.5).abs() > 0.499).flatten(1).any(-1)] = 0.41  # no cell in doubt
    if count > 9:
        points[3], points[4, 1] = -0.1, float("nan")
    which = torch.randint(0, 3, (count,), generator=g).to(PLACE)
    inputs = (points, torch.randn(3, layout.entries, features, generator=g))

    def reading(encode):
        return lambda x, t: [encode(x, t, layout, which)]

    truth = differentiated(reading(_hash_encode), inputs, torch.float64)
    assert_alike(
        differentiated(reading(hash_grid_gpu.hash_encode), inputs, torch.float32), truth, 2e-5
    )


def test_blended_tables_in_triton_are_the_weighted_sum():
    from likeness.ops import hash_grid_gpu

    layout = HashLayout(3, 2, 4, 20, 8)
    g = torch.Generator().manual_seed(2)
    points = torch.rand(40, 3, generator=g).to(PLACE)
    inputs = (torch.randn(3, layout.entries, 2, generator=g), torch.randn(2, 3, generator=g))
    which = torch.randint(0, 2, (40,), generator=g).to(PLACE)

    def reading(encode):
        return lambda t, w: [encode(points.to(t), t, w, layout, which)]

    truth = differentiated(reading(_blended_hash_encode), inputs, torch.float64)
    twin = hash_grid_gpu.blended_hash_encode
    assert_alike(differentiated(reading(twin), inputs, torch.float32), truth, 2e-5)


@pytest.mark.parametrize("lengths", [[], [0, 0], [1], [5, 0, 40, 3, 17]])
def test_packed_rays_in_triton_composite_as_the_definition(lengths):
    from likeness.ops import volumes_gpu

    g = torch.Generator().manual_seed(3)
    offsets = torch.tensor([0, *lengths]).cumsum(0).to(PLACE)
    count = sum(lengths)
    density, step = 30 * torch.rand(count, generator=g), 0.03 * torch.rand(count, generator=g)
    t = torch.rand(count, generator=g).to(PLACE)
    inputs = (density, step, torch.rand(count, 3, generator=g))

    def blending(composite):
        def blend(density, step, values):
            found = composite(density, step, values, offsets, t.to(values), 1e-2)
            return [found.values, found.opacity, found.depth, found.weights]

        return blend

    truth = differentiated(blending(_composite_packed), inputs, torch.float64)
    assert_alike(
        differentiated(blending(volumes_gpu.composite_packed), inputs, torch.float32), truth
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 14), (23, 12)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_picture_loss_in_triton_is_the_definition(size, weighted):
    from likeness.ops import image_gpu

    g = torch.Generator().manual_seed(4)
    drawn, truth = torch.rand(*size, 3, generator=g), torch.rand(*size, 3, generator=g)
    weight = torch.rand(*size, generator=g).to(PLACE) if weighted else None

    def loss(function):
        return lambda x: [function(x, truth.to(x), 0.2, None if weight is None else weight.to(x))]

    exact = differentiated(loss(_l1_dssim), (drawn,), torch.float64)
    assert_alike(differentiated(loss(image_gpu.l1_dssim), (drawn,), torch.float32), exact)


def test_gsplat_gets_the_splats_it_is_asked_to_blend(monkeypatch):
    from likeness.ops import splats_gpu

    def rasterize_to_pixels(xy, conic, colour, opacity, width, height, tile, offsets, ids):
        """What gsplat does with its arguments, by the definition, tile by tile."""
        columns, ends = offsets.shape[2], [*offsets.flatten().tolist(), len(ids)]
        picture, alpha = xy.new_zeros(1, height, width, 3), xy.new_zeros(1, height, width, 1)
        for t, (first, last) in enumerate(pairwise(ends)):
            mine, corner = ids[first:last].long(), xy.new_tensor([t % columns, t // columns]) * tile
            near = torch.arange(1, len(mine) + 1, device=xy.device).float()
            each = (xy[0, mine] - corner, near, conic[0, mine], colour[0, mine], opacity[0, mine])
            c, a = _rasterise_splats(*each, tile, tile)
            x, y = (int(k) for k in corner)
            rows, across = min(tile, height - y), min(tile, width - x)
            picture[0, y : y + rows, x : x + across] = c[:rows, :across]
            alpha[0, y : y + rows, x : x + across, 0] = a[:rows, :across]
        return picture, alpha

    fake = types.ModuleType("gsplat")
    fake.rasterize_to_pixels = rasterize_to_pixels
    monkeypatch.setitem(sys.modules, "gsplat", fake)
    monkeypatch.setenv("LIKENESS_GSPLAT", "1")
    g = torch.Generator().manual_seed(0)
    xy = 40 * torch.rand(30, 2, generator=g)
    depth = torch.rand(30, generator=g) - 0.1
    conic = torch.tensor([0.05, 0.01, 0.08]).expand(30, 3)
    f, o = torch.rand(30, 3, generator=g), torch.rand(30, generator=g)
    xy, depth, conic, f, o = move([xy, depth, conic, f, o], PLACE)
    found = splats_gpu.rasterise_splats(xy, depth, conic, f, o, 37, 22)
    truth = _rasterise_splats(xy, depth, conic, f, o, 37, 22)
    for ours, exact in zip(found, truth, strict=True):
        torch.testing.assert_close(ours, exact, atol=1e-5, rtol=0)


def test_asking_for_gsplat_without_having_it_says_what_to_do(monkeypatch):
    from likeness.ops import splats_gpu

    monkeypatch.setitem(sys.modules, "gsplat", None)
    monkeypatch.setenv("LIKENESS_GSPLAT", "1")
    one = torch.ones(1)
    parts = [torch.ones(1, 2), one, torch.tensor([[1.0, 0, 1]]), torch.ones(1, 3), one]
    with pytest.raises(Missing, match="pip install gsplat"):
        splats_gpu.rasterise_splats(*move(parts, PLACE), 4, 4)


@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize(("count", "size"), [(0, (4, 4)), (1, (1, 1)), (40, (37, 21))])
def test_triton_sees_the_triangles_that_the_definition_sees(count, size, cull):
    from likeness.ops import mesh_gpu

    g = torch.Generator().manual_seed(count)
    points = torch.rand(12, 3, generator=g) * torch.tensor([40.0, 30.0, 2.0])
    points[:, :2] *= points[:, 2:] * 1.2
    points[1, 2], points[2, 0] = -0.4, float("nan")  # behind the camera; nowhere
    faces = torch.randint(0, 12, (count, 3), generator=g)
    width, height = size
    truth = _see(points, faces, height, width, cull)
    found = mesh_gpu.see(points.to(PLACE), faces.to(PLACE), height, width, cull)
    assert torch.equal(found.cpu(), truth)
    assert count < 40 or (truth >= 0).any()
