"""Skinning: the fast twin against the definition."""

import pytest
import torch

from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.ops.skin import _skinned, alive, skinned


@pytest.mark.parametrize(("vertices", "some"), [(3, 0), (64, 10), (201, 150)])
def test_a_fast_twin_agrees_in_values_and_gradients(vertices, some):
    g = torch.Generator().manual_seed(vertices)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    shapes = normal(5, vertices, 3)
    shapes[1, :64] = 0  # a run that rests
    shapes[2] = 0
    moved = torch.randperm(vertices, generator=g)[:some].sort().values
    motions = rigid(axis_angle_to_matrix(normal(4, 3)), normal(4, 3))
    given = [normal(vertices, 3), shapes, alive(shapes), normal(5), moved, normal(some, 4).abs()]
    weight = normal(vertices, 3)
    found = []
    for function, kind in ((_skinned, torch.float64), (skinned, torch.float32)):
        cast = [x.to(kind) if x.is_floating_point() else x for x in (*given, motions)]
        leaves = [cast[i].detach().clone().requires_grad_() for i in (3, 6)]
        cast[3], cast[6] = leaves
        out = function(*cast)
        (out * weight.to(kind)).sum().backward()
        found.append([out.detach(), *(x.grad for x in leaves)])
    for truth, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast.double(), truth, atol=2e-5, rtol=2e-5)
    assert alive(shapes)[2].sum() == 0
