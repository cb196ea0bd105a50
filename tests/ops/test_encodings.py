import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.errors import BadInput
from likeness.ops.encodings import (
    fourier_features,
    frequency_encoding,
    frequency_width,
    octave_window,
)
from likeness.ops.harmonics import spherical_harmonics

PARITY = Path(__file__).parents[1] / "parity"


def recorded(name: str) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(PARITY / name).items()}


@pytest.mark.parametrize(
    ("name", "settings_"),
    [
        ("xyz_L10_input_log", {"octaves": 10}),
        ("dir_L4_noinput_log", {"octaves": 4, "include_input": False}),
        ("L4_input_linear", {"octaves": 4, "log_spaced": False}),
        ("L6_input_log", {"octaves": 6}),
    ],
)
def test_frequencies_are_those_of_nerface(name, settings_):
    data = recorded("nerface/posenc.npz")
    ours = frequency_encoding(data["x"], **settings_)
    torch.testing.assert_close(ours, data[name], atol=1e-6, rtol=0)


def test_a_base_frequency_scales_all_octaves():
    data = recorded("ncg/posenc.npz")
    ours = frequency_encoding(data["x"], 6, base=1.5)
    torch.testing.assert_close(ours, data["out"], atol=1e-5, rtol=0)


@given(st.integers(0, 4), st.integers(0, 7), st.booleans())
@settings(deadline=None, max_examples=20)
def test_the_promised_width_is_the_width(dimensions, octaves, include_input):
    x = torch.rand(2, dimensions)
    width = frequency_encoding(x, octaves, include_input).shape[-1]
    assert width == frequency_width(dimensions, octaves, include_input)


def test_octaves_open_one_after_another():
    assert octave_window(4, 0.0).tolist() == [0, 0, 0, 0]
    assert octave_window(4, 1.0).tolist() == [1, 1, 1, 1]
    half = octave_window(4, 0.625)
    torch.testing.assert_close(half, torch.tensor([1.0, 1, 0.5, 0], dtype=torch.float64))
    x = torch.rand(3, 2)
    closed = frequency_encoding(x, 4, progress=0.0)
    torch.testing.assert_close(closed[:, :2], x)
    assert closed[:, 2:].abs().max() == 0


def test_a_negative_number_of_octaves_is_refused():
    with pytest.raises(BadInput, match="-1 octaves"):
        frequency_encoding(torch.rand(1, 3), -1)


def test_fourier_features_are_those_recorded_and_have_length_one():
    data = recorded("ncg/fourier_features.npz")
    ours = fourier_features(data["cam_id"].float()[:, None], data["B"], data["a"])
    torch.testing.assert_close(ours, data["features"], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.norm(dim=-1), torch.ones(ours.shape[0]))


def test_harmonics_up_to_the_third_are_those_recorded():
    data = recorded("nerfblendshape/sh_degree4.npz")
    ours = spherical_harmonics(data["direction"], 3)
    torch.testing.assert_close(ours.double(), data["sh"], atol=1e-6, rtol=0)


def test_harmonics_have_the_recorded_gradient():
    data = recorded("nerfblendshape/sh_degree4.npz")
    direction = data["direction"].double().requires_grad_()
    (spherical_harmonics(direction, 3) * data["grad_sh"]).sum().backward()
    expected = data["grad_encoder_input"] / 2  # the encoder there takes (d + 1) / 2
    torch.testing.assert_close(direction.grad, expected, atol=1e-6, rtol=1e-6)


def test_harmonics_of_all_degrees_are_orthonormal():
    nodes, weights = np.polynomial.legendre.leggauss(12)
    angle = torch.arange(24, dtype=torch.float64) * 2 * math.pi / 24
    z = torch.from_numpy(nodes)[:, None].expand(12, 24)
    r = (1 - z**2).sqrt()
    directions = torch.stack([r * angle.cos(), r * angle.sin(), z], dim=-1).reshape(-1, 3)
    area = torch.from_numpy(weights)[:, None].expand(12, 24).reshape(-1) * 2 * math.pi / 24
    basis = spherical_harmonics(directions, 4)
    gram = basis.mT @ (area[:, None] * basis)
    torch.testing.assert_close(gram, torch.eye(25, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("degree", range(5))
def test_a_lower_degree_is_the_beginning_of_a_higher_one(degree):
    directions = torch.nn.functional.normalize(torch.randn(7, 3), dim=-1)
    low, high = spherical_harmonics(directions, degree), spherical_harmonics(directions, 4)
    torch.testing.assert_close(low, high[:, : (degree + 1) ** 2])


def test_a_degree_of_five_is_refused():
    with pytest.raises(BadInput, match="degree 5"):
        spherical_harmonics(torch.rand(1, 3), 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_encodings_keep_the_dtype_and_take_no_rows(dtype):
    x = torch.rand(0, 3).to(dtype)
    assert frequency_encoding(x, 3).dtype == dtype
    assert frequency_encoding(x, 3).shape == (0, 21)
    assert spherical_harmonics(x, 2).shape == (0, 9)
    assert spherical_harmonics(x, 2).dtype == dtype
