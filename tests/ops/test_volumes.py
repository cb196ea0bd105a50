from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.core.errors import BadInput
from likeness.ops.volumes import (
    Progress,
    backdrop_last,
    composite,
    composite_packed,
    composite_round,
    composite_weights,
    intervals,
    ray_of_sample,
)

PARITY = Path(__file__).parents[1] / "parity"


def recorded(name: str) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(PARITY / name).items()}


def ragged(seed: int, rays: int = 9, channels: int = 3, longest: int = 12) -> tuple:
    """Packed samples in float64, some rays empty, some opaque."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, longest + 1, (rays,), generator=g)
    lengths[: rays // 4] = 0
    count = int(lengths.sum())
    density = 8 * torch.rand(count, generator=g, dtype=torch.float64) ** 4 * 20
    step = torch.rand(count, generator=g, dtype=torch.float64) / 5
    values = torch.randn(count, channels, generator=g, dtype=torch.float64)
    t = torch.rand(count, generator=g, dtype=torch.float64)
    return density, step, values, torch.nn.functional.pad(lengths.cumsum(0), (1, 0)), t


@pytest.mark.parametrize("case", ["bg", "nobg"])
def test_the_backdrop_as_last_sample_is_that_of_nerface(case):
    data = recorded("nerface/volume_render.npz")
    raw, backdrop = data["raw"], data["background"] if case == "bg" else None
    density, values = backdrop_last(raw[..., 3].relu(), raw[..., :3].sigmoid(), backdrop)
    step = intervals(data["z_vals"], data["ray_directions"])
    ours = composite(density, step, values, data["z_vals"])
    close = {"atol": 1e-6, "rtol": 0}
    torch.testing.assert_close(ours.values, data[f"{case}_rgb"], **close)
    torch.testing.assert_close(ours.weights, data[f"{case}_weights"], **close)
    torch.testing.assert_close(ours.opacity, data[f"{case}_acc"], **close)
    torch.testing.assert_close(ours.depth, data[f"{case}_depth"], **close)


def test_classes_composite_like_colour_as_in_sahs():
    data = recorded("sahs/volume_render.npz")
    raw = data["raw"]
    values = torch.cat([raw[..., :3].sigmoid(), raw[..., 3:15].softmax(-1)], dim=-1)
    density, values = backdrop_last(raw[..., 15].relu(), values, data["background"])
    ours = composite(density, intervals(data["z_vals"], data["rays_d"]), values, data["z_vals"])
    torch.testing.assert_close(ours.values, data["rgb_map"], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.weights, data["weights"], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.depth, data["depth_map"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("part", ["", "2"])
def test_an_endless_last_interval_is_that_of_neural_character_generation(part):
    data = recorded("ncg/volume_rendering.npz")
    raw, t = data["rgb_density" + part], data["t" + part]
    along = torch.tensor([0.0, 0, 1]).expand(*t.shape[:-1], 3)
    ours = composite(raw[..., 3].relu(), intervals(t, along), raw[..., :3].sigmoid(), t)
    torch.testing.assert_close(ours.values, data["rgb" + part], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.weights, data["weight" + part], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.depth, data["depth" + part], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_packed_compositing_is_that_of_nerfblendshape_with_its_gradients(dtype):
    data = recorded("nerfblendshape/composite_train.npz")
    ids, lengths = data["rays"][:, 0].long(), data["rays"][:, 2].long()
    rows = torch.cat([torch.arange(a, a + n) for _, a, n in data["rays"].tolist()])
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    density = data["sigmas"][rows].to(dtype).requires_grad_()
    colour = data["rgbs"][rows].to(dtype).requires_grad_()
    step = data["deltas"][rows].to(dtype)
    ours = composite_packed(density, step, colour, offsets, stop=1e-4)
    cut_short = data["steps_used"][ids] < lengths  # such rays show no background there
    behind = torch.where(cut_short, 0, 1 - ours.opacity)[:, None] * data["bg_color"][ids].to(dtype)
    picture = ours.values + behind
    torch.testing.assert_close(picture.double(), data["image"][ids], atol=1e-6, rtol=0)
    wanted = data["weights_sum"][ids, 0]
    torch.testing.assert_close(ours.opacity.double(), wanted, atol=1e-6, rtol=0)
    loss = (picture * data["grad_image"][ids]).sum()
    (loss + (ours.opacity * data["grad_weights_sum"][ids, 0]).sum()).backward()
    for found, expected in ((density.grad, "grad_sigmas"), (colour.grad, "grad_rgbs")):
        expected = data[expected][rows]
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.double(), expected, atol=1e-5 * scale, rtol=1e-5)


def test_a_round_of_compositing_is_that_of_nerfblendshape():
    data = recorded("nerfblendshape/composite_infer_round.npz")
    ids, slots = data["rays_alive"].long(), int(data["n_step"])
    rays = ids.shape[0]
    lengths = data["deltas"].reshape(rays, slots, 2)
    before = Progress(
        data["image_in"][ids],
        data["weights_sum_in"][ids],
        data["depth_in"][ids],
        torch.ones(rays, dtype=torch.bool),
    )
    after = composite_round(
        before,
        data["sigmas"].reshape(rays, slots),
        lengths[..., 0],
        data["rgbs"].reshape(rays, slots, 3),
        data["rays_t_in"][:, None] + lengths[..., 1].cumsum(1),
        stop=1e-2,
    )
    torch.testing.assert_close(after.values, data["image_out"][ids], atol=1e-6, rtol=0)
    torch.testing.assert_close(after.opacity, data["weights_sum_out"][ids], atol=1e-6, rtol=0)
    torch.testing.assert_close(after.depth, data["depth_out"][ids], atol=1e-6, rtol=0)
    assert torch.equal(after.alive, data["rays_t_out"] >= 0)


@given(st.integers(1, 7), st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_how_samples_fall_into_rounds_changes_nothing(size, seed):
    g = torch.Generator().manual_seed(seed)
    density, step = (torch.rand(6, 12, generator=g, dtype=torch.float64) for _ in range(2))
    values = torch.rand(6, 12, 3, generator=g, dtype=torch.float64)
    t = torch.rand(6, 12, generator=g, dtype=torch.float64)
    step[torch.arange(6), torch.randint(0, 12, (6,), generator=g)] = 0

    def render(slots: int) -> Progress:
        nothing = torch.zeros(6, dtype=torch.float64)
        so_far = Progress(nothing[:, None].expand(6, 3), nothing, nothing, nothing == 0)
        for i in range(0, 12, slots):
            part = slice(i, i + slots)
            so_far = composite_round(
                so_far, 9 * density[:, part], step[:, part], values[:, part], t[:, part], 1e-2
            )
        return so_far

    torch.testing.assert_close(render(size).values, render(12).values)
    torch.testing.assert_close(render(size).depth, render(12).depth)


@given(st.integers(1, 40), st.floats(0, 50), st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_splitting_a_step_in_two_changes_nothing(samples, scale, seed):
    g = torch.Generator().manual_seed(seed)
    density = scale * torch.rand(5, samples, generator=g, dtype=torch.float64)
    step = torch.rand(5, samples, generator=g, dtype=torch.float64)
    whole = composite_weights(density, step)
    twice = density.repeat_interleave(2, -1), step.repeat_interleave(2, -1) / 2
    halves = composite_weights(*twice)
    torch.testing.assert_close(halves.unflatten(-1, (samples, 2)).sum(-1), whole)


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_weights_are_never_negative_and_sum_to_at_most_one(seed):
    density, step, values, offsets, _ = ragged(seed)
    ours = composite_packed(density.float(), step.float(), values.float(), offsets)
    assert (ours.weights >= 0).all()
    assert (ours.opacity <= 1 + 1e-6).all()


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_packed_rays_equal_each_ray_alone(seed):
    density, step, values, offsets, t = ragged(seed)
    packed = composite_packed(density, step, values, offsets, t)
    for ray in range(offsets.shape[0] - 1):
        own = slice(int(offsets[ray]), int(offsets[ray + 1]))
        alone = composite(density[own], step[own], values[own], t[own])
        torch.testing.assert_close(packed.values[ray], alone.values)
        torch.testing.assert_close(packed.opacity[ray], alone.opacity)
        torch.testing.assert_close(packed.depth[ray], alone.depth)


def gradients(dtype: torch.dtype, inputs: tuple, stop: float) -> tuple:
    density, step, values, offsets, t = inputs
    leaves = [x.to(dtype).requires_grad_() for x in (density, step, values, t)]
    ours = composite_packed(*leaves[:3], offsets, leaves[3], stop)
    g = torch.Generator().manual_seed(5)
    loss = sum(
        (x * torch.randn(x.shape, generator=g, dtype=torch.float64).to(dtype)).sum()
        for x in (ours.values, ours.opacity, ours.depth, ours.weights)
    )
    loss.backward()
    return (ours.values, ours.opacity, ours.depth, ours.weights), [x.grad for x in leaves]


@pytest.mark.parametrize("stop", [0.0, 1e-2])
@pytest.mark.parametrize("rays", [0, 1, 33])
def test_the_fast_packed_form_equals_the_definition_in_values_and_gradients(device, rays, stop):
    inputs = tuple(x.to(device) for x in ragged(3, rays=rays, channels=5, longest=40))
    fast, slow = (gradients(d, inputs, stop) for d in (torch.float32, torch.float64))
    for ours, exact in zip(fast[0], slow[0]):
        torch.testing.assert_close(ours.double(), exact, atol=3e-6, rtol=1e-5)
    for ours, exact in zip(fast[1], slow[1]):
        scale = float(exact.abs().max()) if exact.numel() else 1.0
        torch.testing.assert_close(ours.double(), exact, atol=1e-5 * scale, rtol=1e-4)
        # a gradient wrongly zero hides inside any tolerance: compare magnitudes row by row
        size, found = (x.double().flatten(1).norm(dim=1) for x in (rows(exact), rows(ours)))
        big = size > 1e-4 * scale
        torch.testing.assert_close(
            (found / size)[big], torch.ones_like(size[big]), atol=2e-2, rtol=0
        )


def rows(x: torch.Tensor) -> torch.Tensor:
    return x if x.ndim > 1 else x[:, None]


def test_results_are_the_same_for_any_number_of_threads():
    inputs = ragged(8, rays=300, longest=60)
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            runs.append(gradients(torch.float32, inputs, 1e-4))
    finally:
        torch.set_num_threads(before)
    for a, b in zip([*runs[0][0], *runs[0][1]], [*runs[1][0], *runs[1][1]]):
        assert torch.equal(a, b)


def test_rays_of_equal_length_composite_alike_packed_and_dense():
    g = torch.Generator().manual_seed(0)
    density, step, t = (torch.rand(2, 3, 8, generator=g) for _ in range(3))
    values = torch.rand(2, 3, 8, 4, generator=g)
    dense = composite(density, step, values, t)
    assert dense.values.shape == (2, 3, 4)
    assert dense.weights.shape == (2, 3, 8)
    packed = composite_packed(
        density.reshape(-1), step.reshape(-1), values.reshape(-1, 4), torch.arange(7) * 8
    )
    torch.testing.assert_close(dense.values.reshape(6, 4), packed.values)
    weights = composite_weights(density, step)
    torch.testing.assert_close(dense.weights, weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_density_spoils_no_other_ray(dtype, bad):
    density, step, values, offsets, t = (
        x.to(dtype) if x.is_floating_point() else x for x in ragged(1, rays=8)
    )
    clean = composite_packed(density, step, values, offsets, t)
    spoiled = density.clone()
    ray = int(ray_of_sample(offsets, density.shape[0])[-1])
    spoiled[offsets[ray]] = bad
    ours = composite_packed(spoiled.requires_grad_(), step, values, offsets, t)
    others = torch.arange(8) != ray
    torch.testing.assert_close(ours.values[others], clean.values[others])
    if bad == float("inf"):  # a wall
        assert ours.opacity[ray].item() == pytest.approx(1)
        ours.values.sum().backward()
        assert spoiled.grad[offsets[ray] + 1 :].isfinite().all()


def test_half_precision_and_strided_samples_composite_to_the_same_dtype():
    density, step, values, offsets, t = ragged(2)
    exact = composite_packed(density, step, values, offsets, t)
    half = composite_packed(
        density.half().repeat_interleave(2)[::2],
        step.half(),
        values.half().mT.contiguous().mT,
        offsets,
        t.half(),
    )
    assert half.values.dtype == torch.float16
    torch.testing.assert_close(half.values.double(), exact.values, atol=2e-2, rtol=0)


@pytest.mark.parametrize("offsets", [[0, 3, 2, 5], [1, 5], [0, 4], [0, 6], []])
def test_offsets_that_do_not_cut_the_samples_are_refused(offsets):
    x = torch.rand(5)
    with pytest.raises(BadInput, match="rise from 0 to the 5 samples"):
        composite_packed(x, x, x[:, None], torch.tensor(offsets, dtype=torch.long))


def test_samples_on_two_devices_are_refused():
    x = torch.rand(5)
    with pytest.raises(BadInput, match="one device"):
        composite(x, x.to("meta"), x[:, None])
