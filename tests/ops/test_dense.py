from itertools import pairwise

import pytest
import torch

from likeness.core.errors import BadInput
from likeness.ops import dense_cpu
from likeness.ops.dense import _dense_layers, dense_layers, in_chunks


def network(widths: list[int], bias: bool, seed: int = 0) -> tuple[list, list | None]:
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(o, i, generator=g) / i**0.5 for i, o in pairwise(widths)]
    return weights, [torch.randn(o, generator=g) for o in widths[1:]] if bias else None


@pytest.mark.parametrize("rows", [0, 1, 31, 33, 100])
@pytest.mark.parametrize(("bias", "slope"), [(False, 0.0), (True, 0.01)])
@pytest.mark.parametrize("widths", [[5, 3], [5, 8, 7, 2]])
def test_chunks_equal_the_definition_in_values_and_gradients(
    monkeypatch, rows, bias, slope, widths
):
    monkeypatch.setattr(dense_cpu, "ROWS", 32)
    weights, biases = network(widths, bias)
    x = torch.randn(rows, widths[0], generator=torch.Generator().manual_seed(1))
    results = []
    for dtype in (torch.float32, torch.float64):
        leaves = [v.clone().to(dtype).requires_grad_() for v in (x, *weights, *(biases or []))]
        w, b = leaves[1 : len(weights) + 1], leaves[len(weights) + 1 :]
        run = dense_layers if dtype == torch.float32 else _dense_layers
        out = run(leaves[0], w, b or None, slope)
        out.square().sum().backward()
        results.append([out.detach().double(), *(v.grad.double() for v in leaves)])
    for ours, exact in zip(*results):
        torch.testing.assert_close(ours, exact, atol=1e-4, rtol=1e-4)
        if ours.numel():
            assert ours.norm().item() == pytest.approx(exact.norm().item(), rel=1e-4, abs=1e-6)


def test_leading_dimensions_and_strides_make_no_difference():
    weights, biases = network([4, 6, 3], True)
    x = torch.randn(4, 10, generator=torch.Generator().manual_seed(1)).mT
    out = dense_layers(x, weights, biases)
    folded = dense_layers(x.reshape(2, 5, 4), weights, biases)
    torch.testing.assert_close(folded.reshape(10, 3), out)
    torch.testing.assert_close(out, _dense_layers(x, weights, biases, 0.0))


def test_a_row_that_is_not_a_number_spoils_no_other_row():
    weights, _ = network([4, 6, 3], False)
    x = torch.rand(5, 4)
    clean = dense_layers(x, weights)
    x[2, 1] = float("nan")
    spoiled = dense_layers(x, weights)
    others = [0, 1, 3, 4]
    torch.testing.assert_close(spoiled[others], clean[others])
    assert spoiled[2].isnan().all()


def test_weights_that_need_no_gradient_get_none():
    weights, _ = network([4, 6, 3], False)
    x = torch.rand(5, 4, requires_grad=True)
    dense_layers(x, weights).sum().backward()
    assert x.grad is not None
    assert all(w.grad is None for w in weights)


def test_any_network_may_go_in_chunks():
    layer = torch.nn.Linear(3, 2)
    x = torch.rand(10, 3)
    torch.testing.assert_close(in_chunks(layer, x, rows=4), layer(x))
    assert in_chunks(layer, x[:0], rows=4).shape == (0, 2)


def test_what_does_not_fit_is_refused():
    weights, _ = network([4, 3], False)
    with pytest.raises(BadInput, match="takes 4 numbers per row; the input has 5"):
        dense_layers(torch.rand(2, 5), weights)
    with pytest.raises(BadInput, match="at least one weight matrix"):
        dense_layers(torch.rand(2, 5), [])
    with pytest.raises(BadInput, match="Convert one"):
        dense_layers(torch.rand(2, 4).half(), weights)
