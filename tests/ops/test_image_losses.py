import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.errors import BadInput
from likeness.ops import image
from likeness.ops.adam import Update, _adam_step, adam_step, adam_steps
from likeness.ops.atlas import _draw_cells, draw_cells
from likeness.ops.image import _l1_dssim, l1_dssim, perceptual, psnr, ssim


def pair(height, width, seed=0, noise=0.2):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(height, width, 3, generator=g)
    b = (a + noise * torch.randn(height, width, 3, generator=g)).clamp(0, 1)
    return a, b, torch.rand(height, width, generator=g)


@pytest.mark.parametrize("size", [(3, 2), (5, 31), (33, 20)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_fused_loss_agrees_in_value_and_gradient(size, weighted):
    a, b, weight = pair(*size)
    weight = weight if weighted else None
    slow = a.double().requires_grad_()
    truth = _l1_dssim(slow, b.double(), 0.2, None if weight is None else weight.double())
    truth.backward()
    fast = a.clone().requires_grad_()
    found = l1_dssim(fast, b, 0.2, weight)
    found.backward()
    assert float(found.detach()) == pytest.approx(float(truth.detach()), rel=1e-5)
    scale = slow.grad.abs().max()
    torch.testing.assert_close(fast.grad / scale, (slow.grad / scale).float(), atol=1e-4, rtol=0)


def test_equal_pictures_have_no_loss_and_full_similarity():
    a, _, _ = pair(20, 24)
    assert float(l1_dssim(a, a)) == pytest.approx(0, abs=1e-6)
    assert float(ssim(a, a)) == pytest.approx(1, abs=1e-6)
    assert float(psnr(a, a)) == 100
    assert float(perceptual(a, a)) == 0


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_the_perceptual_distance_grows_with_noise_blur_and_shift(seed):
    smooth = torch.rand(1, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    up = torch.nn.functional.interpolate(smooth, (64, 64), mode="bicubic", align_corners=False)
    a = up[0].permute(1, 2, 0).clamp(0, 1)
    g = torch.Generator().manual_seed(seed + 1)
    noise = torch.randn(a.shape, generator=g)
    by_noise = [float(perceptual(a, a + s * noise)) for s in (0.01, 0.05, 0.2)]
    by_shift = [float(perceptual(a, a.roll(s, 1))) for s in (1, 3, 8)]
    planes = a.permute(2, 0, 1)[None]
    blurs = [torch.nn.functional.avg_pool2d(planes, k, 1, k // 2) for k in (3, 7, 15)]
    by_blur = [float(perceptual(a, x[0].permute(1, 2, 0))) for x in blurs]
    for row in (by_noise, by_shift, by_blur):
        assert 0 < row[0] < row[1] < row[2] < 1.5


def test_the_perceptual_distance_has_finite_gradients_at_equality():
    a, b, _ = pair(16, 16)
    x = a.clone().requires_grad_()
    (perceptual(x, a) + perceptual(x, b)).backward()
    assert torch.isfinite(x.grad).all()


def test_psnr_counts_only_pixels_of_the_mask():
    a = torch.zeros(4, 4, 3)
    b = a.clone()
    b[0] = 1.0
    mask = torch.ones(4, 4)
    mask[0] = 0
    assert float(psnr(a, b, mask)) == 100
    assert float(psnr(a, b)) == pytest.approx(6.0206, abs=1e-3)


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(BadInput, match="cannot be compared"):
        image._alike(torch.zeros(2, 2, 3), torch.zeros(3, 2, 3))
    with pytest.raises(BadInput, match="without pixels"):
        l1_dssim(torch.zeros(0, 2, 3), torch.zeros(0, 2, 3))


@pytest.mark.parametrize("resting", [False, True])
@pytest.mark.parametrize("count", [0, 1, 40_001])
def test_the_fused_adam_steps_as_its_definition(count, resting):
    g = torch.Generator().manual_seed(count)
    state = [torch.randn(count, generator=g) for _ in range(2)] + [torch.zeros(count)] * 2
    state[1][count // 3 : count // 2] = 0
    slow, fast = [x.double() for x in state], [x.clone() for x in state]
    slow[2], slow[3] = slow[2].clone(), slow[3].clone()
    for step in (1, 2, 3):
        _adam_step(*slow, step, 1e-2, (0.9, 0.99), 1e-8, resting)
        adam_step(*fast, step, 1e-2, (0.9, 0.99), 1e-8, resting)
    torch.testing.assert_close(fast[0].double(), slow[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("step", [_adam_step, adam_step])
def test_resting_entries_keep_still_where_others_drift_on_old_gradients(step):
    moved = []
    for resting in (False, True):
        state = [torch.zeros(2), torch.ones(2), torch.zeros(2), torch.zeros(2)]
        step(*state, 1, 0.1, (0.9, 0.99), 1e-8, resting)
        state[1][0] = 0
        before = state[0].clone()
        step(*state, 2, 0.1, (0.9, 0.99), 1e-8, resting)
        moved.append((state[0] - before).abs())
    assert float(moved[0][0]) > 0.01
    assert float(moved[1][0]) == 0
    assert torch.equal(moved[0][1], moved[1][1])


def test_a_gradient_that_is_not_finite_changes_nothing():
    parameter, mean, square = torch.ones(3), torch.zeros(3), torch.zeros(3)
    gradient = torch.tensor([float("nan"), float("inf"), 1.0])
    adam_step(parameter, gradient, mean, square, 1, 0.1, (0.9, 0.99), 1e-8)
    assert parameter[:2].tolist() == [1, 1]
    assert parameter[2] < 1


@pytest.mark.parametrize("count", [0, 1, 57])
def test_drawing_from_an_atlas_agrees_in_values_and_gradients(count):
    g = torch.Generator().manual_seed(count)
    cells = torch.randint(30, (count, 4), generator=g)
    weights = torch.rand(count, 4, generator=g)
    slow = torch.randn(30, 5, generator=g, dtype=torch.float64).requires_grad_()
    fast = slow.detach().float().requires_grad_()
    truth, found = _draw_cells(slow, cells, weights.double()), draw_cells(fast, cells, weights)
    torch.testing.assert_close(found.double(), truth, atol=1e-5, rtol=1e-5)
    truth.square().sum().backward()
    found.square().sum().backward()
    torch.testing.assert_close(fast.grad.double(), slow.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_many_tensors_are_updated_as_one_by_one(threads):
    g, before = torch.Generator().manual_seed(1), torch.get_num_threads()
    shapes = [(n, 3) for n in range(0, 18)] + [(40_000,), (7, 5000)]
    updates, expected = [], []
    for n, shape in enumerate(shapes):
        parameter, gradient, mean = (torch.randn(shape, generator=g) for _ in range(3))
        rest = (n + 1, 0.1 / (n + 1), (0.9, 0.99), 1e-8, n % 2 == 1)
        gradient = gradient * (torch.rand(shape, generator=g) > 0.5)
        kept = [parameter.clone(), mean, mean.square()]
        twin = [x.double() for x in kept]
        updates.append(Update(kept[0], gradient, *kept[1:], *rest))
        _adam_step(twin[0], gradient.double(), *twin[1:], *rest)
        expected.append(twin)
    torch.set_num_threads(threads)
    adam_steps(updates)
    torch.set_num_threads(before)
    for u, truth in zip(updates, expected, strict=True):
        for found, right in zip((u.parameter, u.mean, u.square), truth, strict=True):
            torch.testing.assert_close(found.double(), right, atol=1e-6, rtol=1e-5)
