import pytest
import torch

from likeness.core.errors import BadInput
from likeness.nn.encodings import (
    BlendedHashGrid,
    Directions,
    Frequencies,
    GaussianFeatures,
    HashGrid,
)
from likeness.nn.mlp import MLP
from likeness.ops.hash_grid import HashLayout

LAYOUT = HashLayout(levels=3, features=2, coarsest=3, finest=9, log2_size=7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "module",
    [
        Frequencies(3, 5),
        GaussianFeatures(3, 8, 2.0, seeded()),
        Directions(3),
        HashGrid(LAYOUT, seeded()),
    ],
    ids=lambda m: type(m).__name__,
)
def test_an_encoding_makes_as_many_features_as_it_says(module):
    assert module(torch.rand(6, 3)).shape == (6, module.width)


def test_a_network_equals_linear_layers_with_relu_between():
    net = MLP([4, 8, 8, 2], slope=0.1)
    x = torch.rand(7, 4)
    expected = x
    for i, layer in enumerate(net.layers):
        expected = layer(expected)
        if i < 2:
            expected = torch.nn.functional.leaky_relu(expected, 0.1)
    torch.testing.assert_close(net(x), expected)


def test_the_same_seed_makes_the_same_network():
    one, other = (MLP([4, 8, 2], generator=seeded(3)) for _ in range(2))
    for a, b in zip(one.parameters(), other.parameters()):
        assert torch.equal(a, b)


def test_a_network_needs_two_widths():
    with pytest.raises(BadInput, match="two or more"):
        MLP([4])


def test_random_frequencies_survive_saving():
    features = GaussianFeatures(2, 8, 10.0, seeded(1))
    reloaded = GaussianFeatures(2, 8, 10.0, seeded(2))
    reloaded.load_state_dict(features.state_dict())
    x = torch.rand(3, 2)
    assert torch.equal(features(x), reloaded(x))


def test_a_blended_grid_is_linear_in_its_coefficients():
    grid = BlendedHashGrid(LAYOUT, 4, seeded(), spread=1.0)
    x, which = torch.rand(90, 3), torch.arange(90) % 3
    coefficients = torch.tensor([[0.0] * 4, [1.0, -1, 0.5, 0], [2.0, -2, 1, 0]])
    rows = [grid(x, coefficients[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(rows[2] - rows[0], 2 * (rows[1] - rows[0]), atol=1e-5, rtol=1e-4)
    together = grid(x, coefficients, which)
    for i in range(3):
        torch.testing.assert_close(together[which == i], rows[i][which == i])


def test_a_small_field_learns_a_ball():
    grid, net = HashGrid(LAYOUT, seeded(1)), MLP([LAYOUT.width, 16, 1], generator=seeded(2))
    optimizer = torch.optim.Adam([*grid.parameters(), *net.parameters()], lr=1e-2)
    g, losses = seeded(3), []
    for _ in range(60):
        x = torch.rand(256, 3, generator=g)
        inside = ((x - 0.5).norm(dim=-1) < 0.3).float()
        loss = (net(grid(x))[:, 0] - inside).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
