"""What can be wrong with what `fit` and `evaluate` are given, row by row: one clear line each."""

import logging
import shutil
from dataclasses import replace

import pytest
import torch

from analytic_head import analytic_head
from likeness.captures.native import write_native
from likeness.core.errors import LikenessError
from likeness.core.files import read_json, write_json
from likeness.core.track_files import read_track, write_track
from likeness.training.frames import trainable_frames
from likeness.verbs.evaluate import evaluate
from likeness.verbs.fit import fit
from likeness.verbs.loading import held_out, open_avatar, open_pair
from likeness.verbs.synth import synth

SMALL = {
    "nerface": ("rays=16 coarse=4 fine=2 width=8 colour_width=8 octaves=2 codes=2",),
    "nerfblendshape": ("rays=16 levels=2 finest=24 log2_size=6 bases=2 cells=8 width=8 depth=1",),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A capture, its track, and an avatar of each method after two steps."""
    folder = tmp_path_factory.mktemp("given")
    capture, track = analytic_head(10, 24)
    write_native(capture, folder / "capture")
    write_track(folder / "track", track)
    for name, settings in SMALL.items():
        where = (folder / "capture", folder / "track", folder / name)
        fit(*where, method=name, steps=2, settings=settings, live=0, device="cpu")
    return folder


def spoiled(folders, tmp_path, **changes):
    """A copy of the track with other tensors."""
    shutil.copytree(folders / "track", tmp_path / "track")
    write_track(tmp_path / "track", replace(read_track(folders / "track"), **changes))
    return tmp_path / "track"


def few_frames(folders, tmp_path):
    confidence = torch.zeros(10)
    confidence[1] = 1
    return folders / "capture", spoiled(folders, tmp_path, confidence=confidence), tmp_path / "a"


def no_matte(folders, tmp_path):
    for name in ("capture", "track"):
        shutil.copytree(folders / name, tmp_path / name)
        shutil.rmtree(tmp_path / name / "alpha", ignore_errors=True)
    return tmp_path / "capture", tmp_path / "track", tmp_path / "a"


def unwritable(folders, tmp_path):
    (tmp_path / "file").write_text("in the way")
    return folders / "capture", folders / "track", tmp_path / "file" / "a"


def another_length(folders, tmp_path):
    track = read_track(folders / "track")
    shutil.copytree(folders / "track", tmp_path / "track")
    shorter = replace(
        track,
        cameras=replace(
            track.cameras,
            intrinsics=track.cameras.intrinsics[:8],
            camera_from_world=track.cameras.camera_from_world[:8],
        ),
        expressions=replace(
            track.expressions,
            coefficients=track.expressions.coefficients[:8],
            joints=track.expressions.joints[:8],
            world_from_head=track.expressions.world_from_head[:8],
        ),
        confidence=track.confidence[:8],
    )
    write_track(tmp_path / "track", shorter)
    return folders / "capture", tmp_path / "track", tmp_path / "a"


BAD_FITS = {
    "too few frames": (few_frames, "1 tracked training frame"),
    "no matte": (no_matte, "has no matte"),
    "an unwritable folder": (unwritable, "cannot be written"),
    "a track of another length": (another_length, "tracks 8 frames"),
}


@pytest.mark.parametrize("method", list(SMALL))
@pytest.mark.parametrize("row", list(BAD_FITS))
def test_a_fit_that_cannot_be_is_one_line(row, method, folders, tmp_path):
    make, said = BAD_FITS[row]
    capture, track, out = make(folders, tmp_path)
    with pytest.raises(LikenessError, match=said) as found:
        fit(capture, track, out, method, steps=2, settings=SMALL[method], live=0, device="cpu")
    assert "\n" not in str(found.value)
    assert not (out / "avatar.json").exists()


def truncated(avatar):
    path = avatar / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-200])


def renamed(avatar):
    about = read_json(avatar / "avatar.json")
    other = {"nerface": "nerfblendshape", "nerfblendshape": "nerface"}[about["method"]]
    write_json(avatar / "avatar.json", {**about, "method": other, "settings": {}})


def from_the_future(avatar):
    write_json(avatar / "avatar.json", {**read_json(avatar / "avatar.json"), "format": 99})


def of_nobody(avatar):
    about = read_json(avatar / "avatar.json")
    write_json(avatar / "avatar.json", {**about, "method": "nerfish"})


def resized(avatar):
    about = read_json(avatar / "avatar.json")
    settings = {**about["settings"], "width": about["settings"]["width"] + 8}
    write_json(avatar / "avatar.json", {**about, "settings": settings})


def without_weights(avatar):
    (avatar / "weights.safetensors").unlink()


BAD_AVATARS = {
    "truncated": (truncated, "not a whole safetensors file"),
    "of another method": (renamed, "cannot read"),
    "of a newer version": (from_the_future, "of format 99"),
    "of no method we know": (of_nobody, "no method called 'nerfish'"),
    "of another size": (resized, "cannot read"),
    "without weights": (without_weights, "no file"),
}


@pytest.mark.parametrize("method", list(SMALL))
@pytest.mark.parametrize("row", list(BAD_AVATARS))
def test_an_avatar_that_is_not_whole_is_one_line(row, method, folders, tmp_path):
    spoil, said = BAD_AVATARS[row]
    shutil.copytree(folders / method, tmp_path / "a")
    spoil(tmp_path / "a")
    with pytest.raises(LikenessError, match=said) as found:
        open_avatar(tmp_path / "a")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("method", list(SMALL))
def test_expressions_of_another_width_are_refused_with_both_widths(method, folders, tmp_path):
    track = read_track(folders / "track")
    narrow = replace(track.expressions, coefficients=track.expressions.coefficients[:, :50])
    other = spoiled(folders, tmp_path, expressions=narrow)
    with pytest.raises(LikenessError, match="52 coefficients.*50"):
        evaluate(folders / method, folders / "capture", other, tmp_path / "e", openings=False)
    assert not (tmp_path / "e" / "metrics.json").exists()


@pytest.mark.parametrize("method", list(SMALL))
def test_a_frame_whose_pose_is_no_number_is_left_out_and_said(method, folders, tmp_path, caplog):
    track = read_track(folders / "track")
    heads = track.expressions.world_from_head.clone()
    heads[2, 0, 3], heads[9, 1, 1] = float("nan"), float("inf")
    moved = replace(track.expressions, world_from_head=heads)
    other = spoiled(folders, tmp_path, expressions=moved)
    where = (folders / "capture", other, tmp_path / "a")
    fit(*where, method=method, steps=3, settings=SMALL[method], live=0, device="cpu")
    assert "frame 2" in caplog.text
    assert 9 not in held_out(*open_pair(folders / "capture", other))
    evaluate(tmp_path / "a", folders / "capture", other, tmp_path / "e", openings=False)
    found = read_json(tmp_path / "e" / "metrics.json")
    assert 9 not in [row["frame"] for row in found["per_frame"]]
    assert found["psnr"] > 0


def test_a_recording_without_a_background_starts_grey_and_says_so(folders, tmp_path, caplog):
    for name in ("capture", "track"):
        shutil.copytree(folders / name, tmp_path / name)
    (tmp_path / "track" / "backdrop.png").unlink()
    (tmp_path / "capture" / "background.png").unlink(missing_ok=True)
    where = (tmp_path / "capture", tmp_path / "track", tmp_path / "a")
    fit(*where, method="nerface", steps=1, settings=SMALL["nerface"], live=0, device="cpu")
    assert "starts as even grey" in caplog.text
    assert "background.png" in caplog.text


@pytest.mark.parametrize("method", list(SMALL))
def test_an_expression_beyond_training_is_warned_of_once(method, folders, caplog):
    head = open_avatar(folders / method)
    rest = head.at_rest()
    with caplog.at_level(logging.WARNING):
        for strength in (0.0, 3.0, 4.0):
            condition = replace(rest, coefficients=rest.coefficients + strength)
            held = head.subject.condition(condition)
            assert bool((held <= head.subject.high).all())
    assert caplog.text.count("held at its edge") == 1


def test_a_budget_of_splats_is_for_methods_made_of_them(folders, tmp_path):
    with pytest.raises(LikenessError, match="no setting of nerface called 'splats'"):
        fit(folders / "capture", folders / "track", tmp_path / "a", "nerface", splats=200, live=0)
    synth(tmp_path / "s", frames=10, size=64)
    pair = (tmp_path / "s" / "capture", tmp_path / "s" / "truth")
    fit(*pair, tmp_path / "b", steps=2, splats=200, live=0, device="cpu")
    assert open_avatar(tmp_path / "b").count == 200


def test_where_no_held_out_frame_shows_a_face_the_last_of_the_others_are_held_out(
    folders, tmp_path, caplog
):
    seen = torch.ones(10)
    seen[6:] = 0  # another scene, say
    other = spoiled(folders, tmp_path, confidence=seen)
    pair = open_pair(folders / "capture", other)
    assert held_out(*pair) == [5]
    assert trainable_frames(*pair) == [0, 1, 2, 3, 4]
    assert "held out instead" in caplog.text
    caplog.clear()
    open_pair(folders / "capture", folders / "track")
    assert "held out instead" not in caplog.text
