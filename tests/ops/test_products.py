import pytest
import torch

from likeness.ops.adam import _adam_step_of_product, adam_step_of_product
from likeness.ops.hash_grid import mixed
from likeness.ops.products import (
    _mixed_tables,
    forget_products,
    keep_products,
    mixed_tables,
    products_of,
    write_out,
)
from likeness.training.adam import Adam


def tables_and_blends(seed=0):
    g = torch.Generator().manual_seed(seed)
    tables = torch.randn(5, 300, 2, generator=g)
    neutral, blend = torch.randn(1, 300, 2, generator=g), torch.randn(3, 5, generator=g)
    upstream = torch.randn(3, 300, 2, generator=g)
    upstream[:, 40:200] = 0  # entries that no sample looked at
    return tables, neutral, blend, upstream


def test_products_written_out_are_the_gradient():
    tables, neutral, blend, upstream = tables_and_blends()
    plain, kept = (tables.clone().requires_grad_() for _ in range(2))
    inputs = [[x.clone().requires_grad_() for x in (neutral, blend)] for _ in range(2)]
    keep_products(kept)
    for t, (n, b) in zip((plain, kept), inputs, strict=True):
        for _ in range(2):  # two passes before a step add up
            mixed(t, b, n).backward(upstream)
    assert kept.grad is None
    assert len(products_of(kept)) == 2
    write_out(kept)
    torch.testing.assert_close(kept.grad, plain.grad)
    assert not products_of(kept)
    for ours, theirs in zip(inputs[1], inputs[0], strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("resting", [False, True])
@pytest.mark.parametrize("beside", [False, True])
def test_adam_moves_mixed_tables_as_if_their_gradient_were_written(resting, beside):
    tables, neutral, blend, upstream = tables_and_blends()
    found, first = [], tables
    for kept in (False, True):
        parameter = tables.clone().requires_grad_()
        optimizer = Adam([parameter], 1e-2, resting=resting, mixed=[parameter] if kept else ())
        for step in range(4):
            optimizer.zero_grad()
            looked = torch.ones_like(upstream) if step == 0 else upstream
            mixed(parameter, blend + step, neutral).backward(looked)
            if beside:
                (1e-3 * parameter.abs().sum()).backward()
            optimizer.step()
            first = parameter.detach().clone() if step == 0 else first
        found.append(parameter.detach())
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-5)
    assert torch.equal(found[1][:, 40:200], first[:, 40:200]) == (resting and not beside)


@pytest.mark.parametrize("kinds", [1, 2, 5])
@pytest.mark.parametrize("based", [False, True])
@pytest.mark.parametrize("count", [1, 1023, 3000])
def test_the_fast_mixture_is_its_definition(kinds, based, count):
    g = torch.Generator().manual_seed(2)
    tables, blend = torch.randn(kinds, count, generator=g), torch.randn(3, kinds, generator=g)
    base = torch.randn(1, count, generator=g) if based else None
    exact = _mixed_tables(tables.double(), blend.double(), None if base is None else base.double())
    torch.testing.assert_close(mixed_tables(tables, blend, base).double(), exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("resting", [False, True])
@pytest.mark.parametrize("count", [1, 130, 9000])
def test_the_fused_step_of_a_product_is_its_definition(count, resting):
    g = torch.Generator().manual_seed(1)
    fast = [torch.randn(3, count, generator=g) for _ in range(3)]
    fast[2] = fast[2].square()
    slow = [x.clone().double() for x in fast]
    for step in (1, 2):
        weights, parts = torch.randn(2, 3, generator=g), torch.randn(2, count, generator=g)
        parts[:, count // 3 : count // 2] = 0
        parts[0, 0] = torch.nan
        rest = (step, 1e-2, (0.9, 0.99), 1e-8, resting)
        adam_step_of_product(fast[0], weights, parts, *fast[1:], *rest)
        _adam_step_of_product(slow[0], weights.double(), parts.double(), *slow[1:], *rest)
    for ours, exact in zip(fast, slow, strict=True):
        torch.testing.assert_close(ours.double(), exact, atol=1e-5, rtol=1e-5)


def test_products_are_forgotten_with_gradients():
    tables, neutral, blend, upstream = tables_and_blends()
    parameter = tables.requires_grad_()
    optimizer = Adam([parameter], mixed=[parameter])
    mixed(parameter, blend, neutral).backward(upstream)
    optimizer.zero_grad()
    assert not products_of(parameter)
    mixed(parameter, blend, neutral).backward(upstream)
    forget_products(parameter)
    before = parameter.detach().clone()
    optimizer.step()
    assert torch.equal(parameter, before)
