"""The splat head on a tiny synthetic capture; and the laws of its parts."""

from dataclasses import replace

import pytest
import torch

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.core.errors import BadInput, Unsupported
from likeness.core.regions import REGION
from likeness.methods.splats.avatar import bilinear_cells, eye_of
from likeness.methods.splats.code import Regression, learn_code
from likeness.methods.splats.growth import recycle
from likeness.methods.splats.looks import look_at_frames
from likeness.methods.splats.method import RiggedSplats
from likeness.methods.splats.moment import _moment, moment
from likeness.methods.splats.placement import on_surface, undressed
from likeness.methods.splats.stance import _stance, stance
from likeness.methods.splats.surface import bake
from likeness.ops.harmonics import splat_colour
from likeness.ops.image import psnr
from likeness.rigs import RIGS
from likeness.training.frames import trainable_frames


@pytest.fixture(scope="module")
def pair():
    capture, truth = film(5, frames=8, size=64)
    return capture, truth


@pytest.fixture(scope="module")
def learned(pair):
    method = RiggedSplats(splats=1500, steps=60, code=3, atlas=16, recycle_every=20)
    avatar = method.build(*pair)
    optimizer = method.optimizer(avatar)
    views = method.batches(*pair, torch.Generator().manual_seed(0))
    first = None
    for step in range(60):
        optimizer.zero_grad(set_to_none=True)
        losses = method.losses(avatar, next(views), step)
        total = sum(losses.values())
        first = float(total.detach()) if first is None else first
        total.backward()
        optimizer.step()
        with torch.no_grad():
            method.after_step(avatar, optimizer, step)
    return method, avatar, first, float(total.detach())


def test_it_learns(learned, pair):
    _, avatar, first, last = learned
    assert last < 0.5 * first
    capture, truth = pair
    frame = 3
    picture = avatar.render(take(truth.cameras, frame), take(truth.expressions, frame))
    drawn = picture.over(avatar.backdrop.detach())
    assert float(psnr(drawn, capture[frame].rgb)) > 20


def test_it_comes_back_from_its_own_tensors_alone(learned, pair):
    method, avatar, _, _ = learned
    again = method.restore({k: v.clone() for k, v in avatar.state_dict().items()})
    camera, expression = take(pair[1].cameras, 2), take(pair[1].expressions, 2)
    assert torch.equal(again.render(camera, expression).rgb, avatar.render(camera, expression).rgb)
    assert again.rig == "clay"


@pytest.mark.parametrize("known", ["personal", "torso", "neither"])
def test_a_moment_is_that_of_its_definition(learned, pair, known):
    _, avatar, _, _ = learned
    g = torch.Generator().manual_seed(3)
    regression, bends = avatar.regression, avatar.bends
    taught = {name: x.clone() for name, x in regression.state_dict().items()}
    regression.weights.copy_(0.01 * torch.randn(regression.weights.shape, generator=g))
    regression.low.fill_(-0.02)
    regression.high.fill_(0.02)
    for frame in range(4):
        expression = take(pair[1].expressions, frame)
        expression = replace(
            expression,
            joints=0.3 * torch.randn(expression.joints.shape, generator=g),
            personal=torch.randn(avatar.surface.personal) if known == "personal" else None,
            torso=torch.randn(bends) if known == "torso" else None,
        )
        if known == "neither":
            expression = replace(expression, world_from_torso=None)
        for found, truth in zip(
            moment(avatar, expression), _moment(avatar, expression), strict=True
        ):
            torch.testing.assert_close(found, truth, atol=2e-6, rtol=2e-5)
    regression.load_state_dict(taught)


@pytest.mark.parametrize("size", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize("torso", [True, False])
def test_a_stance_and_its_gradients_are_those_of_the_definition(learned, pair, size, torso):
    _, avatar, _, _ = learned
    g = torch.Generator().manual_seed(4)
    for frame in range(3):
        expression = take(pair[1].expressions, frame)
        expression = replace(
            expression, joints=size * torch.randn(expression.joints.shape, generator=g)
        )
        if not torso:
            expression = replace(expression, world_from_torso=None)
        start = size * torch.randn(avatar.corrections.shape[1], generator=g)
        results, gradients = [], []
        for function in (stance, _stance):
            correction = start.clone().requires_grad_()
            found = function(avatar, expression, correction)
            h = torch.Generator().manual_seed(5)
            pulls = [torch.randn(x.shape, generator=h) for x in found]
            pulls[1][3], pulls[2][3] = 0, 0
            sum((x * pull).sum() for x, pull in zip(found, pulls, strict=True)).backward()
            results.append(found)
            gradients.append(correction.grad)
        for found, truth in zip(*results, strict=True):
            torch.testing.assert_close(found, truth, atol=2e-6, rtol=2e-5)
        away = (gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max()
        assert float(away) < 1e-4
        assert torch.equal(gradients[0] != 0, gradients[1] != 0)


def test_the_picture_without_gradients_is_the_one_with_them(learned, pair):
    _, avatar, _, _ = learned
    camera, expression = take(pair[1].cameras, 4), take(pair[1].expressions, 4)
    with torch.no_grad():
        truth = avatar.drawn(camera, expression)
    found = avatar.render(camera, expression)
    assert float((found.rgb - truth.rgb).abs().mean()) < 1e-5
    assert float((found.alpha - truth.alpha).abs().max()) < 0.02  # splats at 1/255 come and go


def test_an_avatar_with_other_corrections_is_refused_with_advice(learned):
    method, avatar, _, _ = learned
    state = {k: v.clone() for k, v in avatar.state_dict().items()}
    state["corrections"] = state["corrections"][:, :-3]
    with pytest.raises(BadInput, match=r"earlier version wrote this avatar.*again with"):
        method.restore(state)


def test_sides_are_remembered_across_a_stop_and_felt(learned, pair):
    method, avatar, _, _ = learned
    again = method.restore({k: v.clone() for k, v in avatar.state_dict().items()})
    every = range(0, 4 * len(avatar.sides), 4)
    kept = [float(method.seen_from_side(again, step).detach()) for step in every]
    assert kept == [float(method.seen_from_side(avatar, step).detach()) for step in every]
    assert max(kept) < 0.1
    with torch.no_grad():
        again.colour += 0.5
    spoilt = [float(method.seen_from_side(again, step).detach()) for step in every]
    assert min(s - k for s, k in zip(spoilt, kept, strict=True)) > 0.03


def test_a_batch_of_moments_is_the_moments_one_by_one(learned, pair):
    _, avatar, _, _ = learned
    index = torch.tensor([1, 4])
    cameras, expressions = take(pair[1].cameras, index), take(pair[1].expressions, index)
    whole = avatar.render(cameras, expressions)
    for k in range(2):
        one = avatar.render(take(cameras, k), take(expressions, k))
        assert torch.equal(whole.rgb[k], one.rgb)


def test_moving_head_and_torso_moves_every_splat(learned, pair):
    _, avatar, _, _ = learned
    expression = take(pair[1].expressions, 0)
    shift = torch.eye(4)
    shift[:3, 3] = torch.tensor([0.01, 0.02, -0.03])
    moved = replace(
        expression,
        world_from_head=shift @ expression.world_from_head,
        world_from_torso=shift @ expression.world_from_torso,
    )
    a, b = avatar.splats(expression), avatar.splats(moved)
    torch.testing.assert_close(
        b.means - a.means, shift[:3, 3].expand_as(a.means), atol=1e-4, rtol=0
    )


def test_colours_depend_on_where_they_are_seen_from_as_exported_harmonics_say(learned, pair):
    head, (_, track) = learned[1], pair
    camera, moment = take(track.cameras, 0), take(track.expressions, 0)
    assert head.gleam.shape[1:] == (3, 3)
    assert head.gleam.abs().max() > 1e-3
    eye = eye_of(camera)
    posed, sent = head._seen(moment, eye), head.splats(moment)
    along = torch.nn.functional.normalize(sent.means - eye, dim=-1)
    expected = splat_colour(sent.harmonics, along)[posed.shown]
    torch.testing.assert_close(posed.colour.clamp(min=0), expected, rtol=0, atol=1e-4)


def test_an_expression_of_another_width_is_refused(learned, pair):
    _, avatar, _, _ = learned
    expression = take(pair[1].expressions, 0)
    narrow = replace(expression, coefficients=expression.coefficients[:46])
    with pytest.raises((Unsupported, RuntimeError)):
        avatar.render(take(pair[1].cameras, 0), narrow)


def test_recycling_keeps_the_number_of_splats_and_moves_faint_ones(learned):
    method, avatar, _, _ = learned
    again = method.restore({k: v.clone() for k, v in avatar.state_dict().items()})
    optimizer = method.optimizer(again)
    with torch.no_grad():
        again.opacity[:50] = -9.0
    pull = torch.zeros(again.count)
    pull[700:720] = 1.0
    before = again.count
    moved = recycle(again, optimizer, pull, 0.05)
    assert again.count == before
    assert moved > 0
    assert float(again.opacity[:50].detach().max()) > -9.0


def test_a_code_is_zero_on_average_and_stays_at_the_edge_of_what_it_saw():
    values = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    code = learn_code(values, 3)
    assert float(code(values).mean(0).abs().max()) < 0.3
    far = code(100 * values)
    assert (far <= code.high + 1e-6).all()
    assert (far >= code.low - 1e-6).all()


def test_regression_predicts_what_features_explain_and_not_noise():
    g = torch.Generator().manual_seed(0)
    features = torch.randn(120, 5, generator=g)
    weights = torch.randn(5, 3, generator=g)
    model = Regression(5, 3)
    model.fit(features[:100], features[:100] @ weights)
    error = (model(features[100:]) - features[100:] @ weights).abs().mean()
    assert float(error) < 0.4
    noise = torch.randn(100, 3, generator=g)
    model.fit(features[:100], noise)
    assert float(model(features[100:]).abs().mean()) < 0.35


def test_weights_of_atlas_cells_sum_to_one_in_both_tiles():
    uv = torch.tensor([[0.0, 0.0], [0.3, 0.9], [1.0, 1.0], [0.5, 1.5], [0.99, 1.999]])
    cells, weights = bilinear_cells(uv, 8)
    torch.testing.assert_close(weights.sum(-1), torch.ones(5))
    assert (cells[:2] < 64).all()
    assert (cells[3:] >= 64).all()
    assert cells.max() < 128


def test_a_capture_with_one_tracked_frame_is_refused_with_advice(pair):
    capture, truth = pair
    alone = replace(truth, confidence=torch.tensor([1.0] + 7 * [0.0]))
    with pytest.raises(BadInput, match="1 tracked training frame"):
        trainable_frames(capture, alone)


def test_a_matte_of_another_size_is_refused_by_frame(pair):
    capture, truth = pair

    class Small:
        def alpha(self, index):
            return truth.maps.alpha(index)[:32, :32]

        def regions(self, index):
            return None

    with pytest.raises(BadInput, match=r"Frame \d+ has a 32x32 matte but a 64x64 picture"):
        RiggedSplats(splats=200, steps=5).build(capture, replace(truth, maps=Small()))


def test_settings_that_make_no_head_are_refused():
    with pytest.raises(BadInput, match="at least 100 splats, not 7"):
        RiggedSplats(splats=7)


@pytest.mark.parametrize("dressed", [True, False])
def test_a_collar_takes_the_splats_of_the_neck_it_covers(pair, dressed):
    capture, truth = pair
    surface = bake(RIGS.load("clay")(), truth.identity)
    looks = [
        replace(look, clothes=torch.full_like(look.clothes, float(dressed)))
        for look in look_at_frames(capture, truth, surface, [0, 4])
    ]
    start = on_surface(surface, 2000, torch.Generator().manual_seed(0))
    kept = undressed(start, looks, surface, torch.eye(4))
    neck = REGION["neck"]
    assert int((start.region == neck).sum()) > 50
    assert int((kept.region == neck).sum()) == (0 if dressed else int((start.region == neck).sum()))
    assert int((kept.region != neck).sum()) == int((start.region != neck).sum())


def test_places_of_the_backdrop_that_are_hardly_seen_hardly_move(pair):
    method = RiggedSplats(splats=500, steps=10)
    avatar = method.build(*pair)
    optimizer, before = method.optimizer(avatar), avatar.backdrop.detach().clone()
    for _ in range(50):
        avatar.backdrop.grad = torch.zeros_like(avatar.backdrop)
        avatar.backdrop.grad[0, 0] = 1 / avatar.backdrop.numel()  # seen whole
        avatar.backdrop.grad[0, 1] = 0.01 / avatar.backdrop.numel()  # at the edge of a pixel
        optimizer.step()
    moved = (avatar.backdrop.detach() - before).abs().mean(-1)
    assert float(moved[0, 0]) > 0.01
    assert float(moved[0, 1]) < 0.05 * float(moved[0, 0])
    assert float(moved[1:].max()) == 0
