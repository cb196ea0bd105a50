"""The photometric stage: it finds a wrong pose and expression, and is reported apart."""

from dataclasses import replace

import pytest
import torch

from analytic_head import CENTRE, RADIUS, analytic_head
from likeness.core.avatar import Picture
from likeness.core.batching import take
from likeness.core.errors import Unsupported
from likeness.core.geometry import se3_exp
from likeness.ops.rays import picture_rays
from likeness.verbs.evaluate import after_fitting, score
from likeness.verbs.loading import known_backdrop
from likeness.verbs.photometric import check, fit_frame


class Soft(torch.nn.Module):
    """A ball with a soft edge, as bright as its mouth is open: pose and expression both show."""

    rig = "clay"

    def __init__(self, jaw: int) -> None:
        super().__init__()
        self.jaw = jaw
        self.tint = torch.nn.Parameter(torch.tensor([0.6, 0.4, 0.3]))

    def drawn(self, camera, expression):
        head = expression.world_from_head
        origins, directions = picture_rays(camera)
        directions = torch.nn.functional.normalize(directions, dim=-1)
        centre = head[:3, :3] @ torch.tensor(CENTRE) + head[:3, 3]
        along = ((centre - origins) * directions).sum(-1, keepdim=True)
        away = (origins + along * directions - centre).norm(dim=-1)
        alpha = torch.sigmoid((RADIUS - away) / 0.006)
        shade = 0.6 + 0.4 * expression.coefficients[self.jaw]
        return Picture(alpha[..., None] * shade * self.tint, alpha)

    @torch.no_grad()
    def render(self, camera, expression):
        return self.drawn(camera, expression)


class Filmed:
    """What `Soft` draws, with the true track."""

    def __init__(self, avatar, capture, track) -> None:
        self.avatar, self.own, self.track = avatar, capture.pictures, track
        self.wall = torch.from_numpy(track.backdrop.copy()).float() / 255

    def rgb(self, index):
        camera, expression = take(self.track.cameras, index), take(self.track.expressions, index)
        picture = self.avatar.render(camera, expression).over(self.wall)
        return (picture.clamp(0, 1) * 255).round().to(torch.uint8).numpy()

    def alpha(self, index):
        return self.own.alpha(index)

    def regions(self, index):
        return self.own.regions(index)


@pytest.fixture(scope="module")
def wrong():
    """An avatar, its recording, and a track that is off by a few millimetres and a fifth of a
    jaw."""
    capture, track = analytic_head(20, 40)
    jaw = capture.pictures.jaw
    avatar = Soft(jaw)
    capture = replace(capture, pictures=Filmed(avatar, capture, track))
    off = se3_exp(torch.tensor([0.0, 0, 0, 0.004, -0.003, 0]))
    coefficients = track.expressions.coefficients.clone()
    coefficients[:, jaw] += 0.2
    expressions = replace(
        track.expressions,
        coefficients=coefficients,
        world_from_head=off @ track.expressions.world_from_head,
    )
    return avatar, capture, replace(track, expressions=expressions), track


def test_fitting_finds_the_pose_and_expression_that_were_recorded(wrong):
    avatar, capture, track, truth = wrong
    before = [p.clone() for p in avatar.parameters()]
    behind = known_backdrop(avatar, capture, track)
    found = fit_frame(avatar, capture, track, 16, behind, 60)
    assert found.loss[1] < 0.3 * found.loss[0]
    jaw, place = avatar.jaw, truth.expressions.world_from_head[16, :2, 3]
    error = abs(float(found.expression.coefficients[jaw] - truth.expressions.coefficients[16, jaw]))
    assert error < 0.07, "it was 0.2"
    away = (found.expression.world_from_head[:2, 3] - place).norm()
    assert float(away) < 0.003, "it was 0.005"
    assert all(torch.equal(a, b) for a, b in zip(before, avatar.parameters()))
    assert all(p.requires_grad and p.grad is None for p in avatar.parameters())


def test_figures_after_fitting_stand_apart_with_their_protocol(wrong, tmp_path):
    avatar, capture, track, _ = wrong
    metrics = score(avatar, capture, track, tmp_path)
    apart = after_fitting(avatar, capture, track, tmp_path, 20, metrics)
    assert [r["frame"] for r in apart["per_frame"]] == [15, 19]
    assert apart["psnr"] > apart["tracked_only"]["psnr"] + 3
    assert apart["tracked_only"]["psnr"] == pytest.approx(
        sum(r["psnr"] for r in metrics["per_frame"][::4]) / 2
    )
    assert apart["protocol"].startswith("FITTED TO THE FRAMES")
    assert "FITTED" not in metrics["protocol"]
    assert apart["seconds_per_frame"] > 0


def test_an_avatar_without_gradients_is_refused():
    with pytest.raises(Unsupported, match="photometric"):
        check(object(), 40)
