"""End to end on a small synthetic person: film, track, learn, judge, report."""

import json

import numpy as np
import pytest
import torch

from likeness.captures import open_capture
from likeness.captures.synthetic import film
from likeness.core.geometry import matrix_to_axis_angle
from likeness.core.track_files import read_track
from likeness.ops.image import psnr
from likeness.verbs.build import build
from likeness.verbs.loading import open_avatar
from likeness.verbs.synth import synth


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    synth(folder / "person", seed=2, frames=20, size=128)
    build(
        folder / "person" / "subject.mp4",
        folder / "out",
        steps=90,
        size=96,
        tracker="landmarks",
        consent="Synthetic person, seed 2; no consent is needed.",
    )
    return folder


def test_a_build_leaves_everything_it_promises(built):
    out = built / "out"
    for name in (
        "preview.mp4",
        "report.html",
        "avatar.html",
        "metrics.json",
        "avatar/weights.safetensors",
    ):
        assert (out / name).stat().st_size > 500, name
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["frames"] == 4
    assert "last fifth" in metrics["protocol"] or "test" in metrics["protocol"]
    for name in ("psnr", "ssim", "l1", "perceptual"):
        assert np.isfinite(metrics[name])
        assert np.isfinite(metrics["head"][name])
    about = json.loads((out / "avatar" / "avatar.json").read_text())
    assert "seed 2" in about["consent"]
    page = (out / "report.html").read_text()
    assert "seed 2" in page
    assert 'href="avatar.html"' in page
    assert "http" not in page.split("</style>")[1]


def test_the_avatar_beats_the_mean_picture_on_frames_it_never_saw(built):
    capture = open_capture(built / "out" / "capture")
    train, test = capture.splits.train, capture.splits.test
    mean = torch.stack([capture[i].rgb for i in train]).mean(0)
    floor = np.mean([float(psnr(mean, capture[i].rgb)) for i in test])
    metrics = json.loads((built / "out" / "metrics.json").read_text())
    assert metrics["psnr"] > floor + 1.0


def test_the_tracker_recovers_how_the_head_turns(built):
    track = read_track(built / "out" / "track")
    _, truth = film(2, frames=20, size=128)
    assert float((track.confidence > 0).float().mean()) == 1

    def turns(poses):
        return matrix_to_axis_angle(poses[0, :3, :3].T @ poses[:, :3, :3])

    found, true = turns(track.expressions.world_from_head), turns(truth.expressions.world_from_head)
    yaw = np.corrcoef(found[:, 1], true[:, 1])[0, 1]
    assert yaw > 0.95
    error = torch.rad2deg((found - true).norm(dim=-1)).median()
    assert float(error) < 4


def test_the_same_build_again_keeps_what_is_finished(built):
    weights = built / "out" / "avatar" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    build(
        built / "person" / "subject.mp4",
        built / "out",
        steps=90,
        size=96,
        tracker="landmarks",
        consent="Synthetic person, seed 2; no consent is needed.",
    )
    assert weights.stat().st_mtime_ns == before


def test_a_reloaded_avatar_draws_what_it_is_asked_and_remembers_nothing(built):
    avatar = open_avatar(built / "out" / "avatar")
    track = read_track(built / "out" / "track")
    from likeness.core.batching import take

    camera, first = take(track.cameras, 0), take(track.expressions, 0)
    once = avatar.render(camera, first)
    avatar.render(camera, take(track.expressions, 9))
    again = avatar.render(camera, first)
    assert torch.equal(once.rgb, again.rgb)
    assert float(once.alpha.max()) > 0.9
    opened = first.coefficients.clone()
    opened[17] = 0.6
    from dataclasses import replace

    changed = avatar.render(camera, replace(first, coefficients=opened))
    assert float((changed.rgb - once.rgb).abs().max()) > 0.05
