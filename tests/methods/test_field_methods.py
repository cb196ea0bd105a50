"""NeRFace and NeRFBlendShape on a capture small enough for seconds."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from analytic_head import CENTRE, RADIUS, analytic_head
from likeness.core.avatar import HasDensity
from likeness.core.batching import take
from likeness.core.errors import BadInput
from likeness.core.regions import REGION
from likeness.methods.nerface.method import PUBLISHED, Nerface
from likeness.methods.nerfblendshape.method import NerfBlendShape
from likeness.ops.image import psnr
from likeness.rigs.clay import clay
from likeness.training.hull import hull
from likeness.training.loop import Plan, train

METHODS = {
    "nerface": Nerface(
        steps=400, rays=160, width=32, colour_width=16, octaves=4, ground_levels=6,
        ground_finest=64, ground_log2_size=12, cells=32, measure_every=100, codes=4,
    ),
    "nerface, as published": Nerface(
        steps=400, rays=128, coarse=12, fine=8, width=32, colour_width=16, octaves=5, rate=5e-3,
        carve=True, **{k: v for k, v in PUBLISHED.items() if k not in ("octaves", "carve")},
    ),
    "nerfblendshape": NerfBlendShape(
        steps=400, frames=2, rays=160, bases=3, levels=5, finest=32, log2_size=12, width=24,
        ground_levels=6, ground_finest=64, ground_log2_size=12, cells=32, measure_every=100,
        patches_from=1.0,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def recording():
    return analytic_head(20, 28)


@pytest.fixture(scope="module", params=list(METHODS))
def learned(request, recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return train(METHODS[request.param], request.param, *recording, folder, Plan())


def drawn(avatar, track, index):
    return avatar.render(take(track.cameras, index), take(track.expressions, index))


def test_held_out_frames_show_the_head_and_not_only_its_backdrop(learned, recording):
    capture, track = recording
    wall = torch.from_numpy(track.backdrop.copy()).float() / 255
    for index in (16, 18):
        picture = drawn(learned, track, index)
        found = psnr(picture.over(learned.backdrop.detach()), capture[index].rgb)
        assert float(found) > float(psnr(wall, capture[index].rgb)) + 3


def test_the_ball_is_in_front_of_its_backdrop_at_its_own_distance(learned, recording):
    capture, track = recording
    picture = drawn(learned, track, 16)
    truth = torch.from_numpy(capture.pictures.alpha(16)) > 0
    overlap = ((picture.alpha > 0.5) & truth).sum() / ((picture.alpha > 0.5) | truth).sum()
    assert float(overlap) > 0.6
    assert picture.depth is not None
    middle = float(picture.depth[truth & (picture.alpha > 0.5)].median())
    nearest = 0.8 - CENTRE[2] - RADIUS
    assert abs(middle - nearest) < 0.25


@pytest.mark.parametrize("learned", ["nerface", "nerfblendshape"], indirect=True)
def test_squares_of_errors_count_beside_their_sizes(learned, recording, request):
    method = METHODS[request.node.callspec.params["learned"]]
    view = next(method.batches(*recording, torch.Generator().manual_seed(0)))
    none, one, three = (
        float(replace(method, square=w).losses(learned, view, 400)["colour"]) for w in (0, 1, 3)
    )
    assert 0 < one - none < none  # squares of what is below 1
    assert three - none == pytest.approx(3 * (one - none), rel=1e-3)


def test_restored_from_its_state_it_draws_the_same(learned, recording, request):
    _, track = recording
    again = request.node.callspec.params["learned"]
    again = METHODS[again].restore(learned.state_dict())
    a, b = drawn(learned, track, 3), drawn(again, track, 3)
    assert torch.equal(a.rgb, b.rgb)
    assert again.identity.rig == again.rig == "clay"


def test_a_batch_is_its_pictures_one_by_one(learned, recording):
    _, track = recording
    both = learned.render(take(track.cameras, [2, 7]), take(track.expressions, [2, 7]))
    assert torch.equal(both.rgb[1], drawn(learned, track, 7).rgb)


def test_an_expression_beyond_training_is_held_at_its_edge(learned, recording):
    _, track = recording
    expression = take(track.expressions, 3)
    beyond = replace(expression, coefficients=expression.coefficients + 50)
    edge = replace(expression, coefficients=learned.subject.high[: learned.subject.coefficients])
    camera = take(track.cameras, 3)
    assert torch.equal(learned.render(camera, beyond).rgb, learned.render(camera, edge).rgb)


def test_density_lies_within_the_bounds(learned, recording):
    _, track = recording
    expression = take(track.expressions, 3)
    assert isinstance(learned, HasDensity)
    low, high = learned.bounds(expression)
    inside = low + (high - low) * torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    density, colour = learned.density(inside, expression)
    assert bool((density >= 0).all())
    assert float(density.max()) > 1
    assert 0 <= float(colour.min()) <= float(colour.max()) <= 1


# nerface parts expressions from the rest later than so few steps: its change is still everywhere
@pytest.mark.parametrize("learned", ["nerfblendshape"], indirect=True)
def test_a_sweep_of_the_jaw_changes_the_mouth_far_more_than_the_rest(learned, recording):
    _, track = recording
    jaw = clay().shape_names.index("jawOpen")
    camera, expression = take(track.cameras, 3), take(track.expressions, 3)
    shown, mouth = [], torch.zeros(28, 28)
    for strength in (0.0, 1.0):
        coefficients = track.expressions.coefficients.clone()
        coefficients[:, jaw] = strength
        swept = replace(track.expressions, coefficients=coefficients)
        ball = replace(track.maps, expressions=swept)
        mouth = mouth.maximum(torch.from_numpy(ball.regions(3) == REGION["mouth"]).float())
        moved = replace(expression, coefficients=coefficients[3])
        shown.append(learned.render(camera, moved).over(0.5))
    change = (shown[1] - shown[0]).square().sum(-1)
    around = F.max_pool2d(mouth[None], 3, 1, 1)[0] > 0
    inside, covered = float(change[around].sum() / change.sum()), float(around.float().mean())
    assert covered < 0.2
    assert inside > 2.5 * covered


@pytest.mark.parametrize("name", list(METHODS))
def test_the_same_seed_learns_the_same_bits(name, recording, tmp_path):
    method = replace(METHODS[name], steps=6)
    runs = [train(method, name, *recording, tmp_path / str(i), Plan()) for i in range(2)]
    states = [run.state_dict() for run in runs]
    assert all(torch.equal(v, states[1][k]) for k, v in states[0].items())


def test_a_hull_holds_the_ball_and_little_else(recording):
    capture, track = recording
    axis = torch.linspace(-0.3, 0.3, 25)
    places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    kept = hull(capture, track, list(capture.splits.train), places)
    ball = (places - torch.tensor(CENTRE)).norm(dim=-1) < RADIUS
    assert bool(kept[ball].all())
    assert float(kept.float().mean()) < 0.35


def test_settings_that_cannot_be_are_refused():
    for make in (
        lambda: Nerface(steps=0),
        lambda: Nerface(direction="sideways"),
        lambda: Nerface(near=0.2),
        lambda: Nerface(latent="best"),
        lambda: NerfBlendShape(rays=0),
        lambda: NerfBlendShape(patch_columns="random"),
    ):
        with pytest.raises(BadInput):
            make()


def test_a_recording_without_tracked_frames_or_mattes_is_refused(recording):
    capture, track = recording
    lost = replace(track, confidence=torch.zeros(20))
    with pytest.raises(BadInput, match="0 tracked"):
        METHODS["nerface"].build(capture, lost)

    class Bare:
        rgb = staticmethod(capture.pictures.rgb)

        def alpha(self, index):
            return None

        def regions(self, index):
            return None

    bare, unmapped = replace(capture, pictures=Bare()), replace(track, maps=None)
    for method in METHODS.values():
        with pytest.raises(BadInput, match="no matte"):
            next(method.batches(bare, unmapped, torch.Generator().manual_seed(0)))
