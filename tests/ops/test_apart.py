"""Comparing with a frame: the fast twin against the definition."""

import pytest
import torch

from likeness.core.errors import BadInput
from likeness.ops.apart import _apart, _fits, apart


def scene(height, width, dtype=torch.float32):
    g = torch.Generator().manual_seed(height)

    def some(*shape):
        return torch.rand(*shape, generator=g).to(dtype)

    alpha, matte = some(height, width), (1.5 * some(height, width) - 0.5).clamp(0, 1)
    person = some(height, width, 3) * alpha[..., None]
    return person, alpha, some(height, width, 3), some(height, width, 3), matte, some(height, width)


def gradients(function, given, pulls):
    leaves = [x.clone().requires_grad_() for x in given[:3]]
    found = function(*leaves, *given[3:], 0.2, 0.01)
    figures = found if isinstance(found, tuple) else tuple(vars(found).values())
    sum(pull * figure for pull, figure in zip(pulls, figures, strict=True)).backward()
    return [x.detach() for x in figures], [x.grad for x in leaves]


@pytest.mark.parametrize("size", [(1, 1), (5, 31), (33, 16), (40, 70)])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("pulls", [(1, 1, 0.1, 0), (2, 0, 0, 0.5), (0, 0, 1, 0)])
def test_the_fast_twin_agrees_in_figures_and_gradients(size, threads, pulls):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    figures, found = gradients(apart, scene(*size), pulls)
    torch.set_num_threads(before)
    truth, expected = gradients(_apart, scene(*size, dtype=torch.float64), pulls)
    for value, right in zip(figures, truth, strict=True):
        assert float(value) == pytest.approx(float(right), rel=1e-5, abs=1e-7)
    for value, right in zip(found, expected, strict=True):
        scale = right.abs().max().clamp(min=1e-9)
        torch.testing.assert_close(value / scale, (right / scale).float(), atol=2e-4, rtol=0)


def test_the_number_of_threads_changes_nothing():
    given, before = scene(50, 40), torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(gradients(apart, given, (1, 1, 1, 1)))
    torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)


def test_a_matte_of_another_size_is_refused():
    with pytest.raises(BadInput, match=r"The matte has \(8, 5\), its frame \(8, 9, 3\)"):
        _fits("matte", torch.zeros(8, 5), torch.zeros(8, 9, 3))
