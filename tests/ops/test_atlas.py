"""Atlases of a code: the fast twin against the definition."""

import pytest
import torch

from likeness.ops.atlas import _draw_coded, draw_coded

CELLS, OWN = 18, 3


@pytest.mark.parametrize("channels", [3, 5])
def test_drawing_by_a_code_agrees_in_values_and_gradients(channels):
    g = torch.Generator().manual_seed(channels)
    code, atlas = torch.randn(5, generator=g), torch.randn(5, channels * CELLS, generator=g)
    atlas[OWN:, : atlas.shape[1] // 2] = 7.0  # read by nothing
    cells = torch.randint(CELLS, (50, 4), generator=g)
    weights = torch.rand(50, 4, generator=g)
    weight = torch.randn(50, channels, generator=g)
    found = []
    for function in (draw_coded, _draw_coded):
        leaf = atlas.clone().requires_grad_()
        out = function(code, leaf, OWN, channels, cells, weights)
        (out * weight).sum().backward()
        found.append((out.detach(), leaf.grad))
    for fast, truth in zip(*found, strict=True):
        torch.testing.assert_close(fast, truth, atol=1e-6, rtol=1e-5)
