"""Driving an avatar: every kind of driver into a film, and what no driver can do."""

import json
import shutil
from dataclasses import replace

import av
import pytest
import torch

from likeness.core.camera import pinhole
from likeness.core.errors import LikenessError
from likeness.core.files import read_json
from likeness.core.rig import Identity
from likeness.core.track import Track
from likeness.core.track_files import write_track
from likeness.drivers.placing import turned
from likeness.exporters.motion import Motion
from likeness.exporters.motion_csv import write_motion_csv
from likeness.exporters.motion_json import write_motion_json
from likeness.exporters.motion_npz import write_motion_npz
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.verbs.loading import open_avatar
from likeness.verbs.motions import open_motion
from likeness.verbs.reenact import reenact
from likeness.verbs.targets import target_of
from likeness.verbs.verify import verify

JAW, BROW = ARKIT.index("jawOpen"), ARKIT.index("browInnerUp")
FRAMES = 12


def talking():
    """A dozen frames of somebody whose brows rest half up: still at first, then the mouth opens."""
    values = torch.zeros(FRAMES, 52)
    values[:, BROW] = 0.4
    values[6:, JAW] = 0.5
    turn = torch.zeros(FRAMES, 3)
    turn[6:, 1] = 0.2
    return replace(clay().neutral(FRAMES), coefficients=values, world_from_head=turned(turn))


def write_driver(path, moments=None, seen=None):
    """A track of another person, as a folder."""
    moments = talking() if moments is None else moments
    seen = torch.ones(len(moments.coefficients)) if seen is None else seen
    g = torch.Generator().manual_seed(3)
    likeness = Identity(moments.rig, torch.randn(len(clay().rest().directions), generator=g))
    camera = pinhole(60.0, 32, 32, torch.eye(4))
    cameras = replace(
        camera,
        intrinsics=camera.intrinsics.expand(len(seen), 3, 3),
        camera_from_world=camera.camera_from_world.expand(len(seen), 4, 4),
    )
    write_track(path, Track(cameras, moments, likeness, seen))
    return path


def frames_of(path):
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def test_gestures_make_a_film_that_moves_and_says_what_it_is(folder, tmp_path):
    out = tmp_path / "ä.mp4"
    said = reenact(folder, "gestures", out, gestures="jawOpen@0-0.6", size=32, view="portrait")
    assert "by gestures" in said
    pictures = frames_of(out)
    assert len(pictures) == read_json(f"{out}.json")["frames"] == 23
    assert abs(pictures[0].astype(int) - pictures[8]).max() > 3
    assert "synthetic" in verify(out)
    assert "synthetic" in verify(tmp_path / "ä.mp4.json")


@pytest.mark.parametrize("kind", ["csv", "json", "npz", "track"])
def test_every_kind_of_driver_moves_the_avatar(folder, tmp_path, kind):
    driver = tmp_path / f"driver.{kind}"
    motion = Motion(talking(), 25.0)
    if kind == "csv":
        write_motion_csv(driver, motion)
    elif kind == "json":
        write_motion_json(driver, motion)
    elif kind == "npz":
        write_motion_npz(driver, motion)
    else:
        write_driver(driver)
    out = tmp_path / "a.webm"
    reenact(folder, str(driver), out, size=32, view="portrait")
    about = read_json(f"{out}.json")
    assert about["driver"] == ("retarget" if kind == "track" else "table")
    assert about["frames"] == len(frames_of(out)) == FRAMES
    assert (about["identity_leak"] is not None) == (kind == "track")


def test_neutral_calibration_keeps_the_drivers_brows_out(folder, tmp_path):
    driver = write_driver(tmp_path / "driver")
    leaks = []
    for neutral in (0.1, 0.0):
        out = tmp_path / f"{neutral}.mp4"
        reenact(folder, str(driver), out, size=32, frames=2, neutral=neutral)
        leaks.append(read_json(f"{out}.json")["identity_leak"]["neutral_moved_mm"])
    assert leaks[0] < 1e-3
    assert leaks[1] > 0.2


def test_strength_reaches_the_film_and_a_still_driver_draws_the_rest(folder, tmp_path):
    calm = {f"strength_{part}": 0.0 for part in ("mouth", "eyes", "brows", "head")}
    driver = write_driver(tmp_path / "driver")
    reenact(folder, str(driver), tmp_path / "a.mp4", size=32, view="portrait", **calm)
    pictures = frames_of(tmp_path / "a.mp4")
    assert all(abs(p.astype(int) - pictures[0]).max() <= 2 for p in pictures)


def test_an_avatar_that_remembers_nothing_has_the_range_of_coefficients():
    class Plain:
        rig = "clay"

    whom = target_of(Plain())
    assert whom.low.max() == 0
    assert whom.high.min() == 1


def test_reach_of_training_is_what_the_avatar_was_shown(folder):
    head = open_avatar(folder)
    whom = target_of(head, 0.25)
    seen = head.seen_features[:, :52]
    assert (whom.high <= seen.amax(0) + 1e-6).all()
    assert (whom.low >= seen.amin(0) - 1e-6).all()
    torch.testing.assert_close(whom.rest.coefficients, seen.quantile(0.25, dim=0))


def test_missing_coefficients_are_said_and_stay_at_rest(folder, tmp_path, caplog):
    (tmp_path / "m.csv").write_text("JawOpen,EyeBlinkLeft\n0.1,0\n0.5,0\n")
    reenact(folder, str(tmp_path / "m.csv"), tmp_path / "a.mp4", size=32)
    assert "no column for 50 of the 52" in caplog.text


def broken_avatar(folder, tmp_path, how):
    """A copy of the avatar, cut off half-way or from the future."""
    copy = shutil.copytree(folder, tmp_path / "person")
    if how == "half":
        tensors = next(copy.glob("*.safetensors"))
        tensors.write_bytes(tensors.read_bytes()[:1000])
    elif how == "absent":
        next(copy.glob("*.safetensors")).unlink()
    else:
        about = json.loads((copy / "avatar.json").read_text(encoding="utf-8"))
        (copy / "avatar.json").write_text(json.dumps({**about, "format": 99}))
    return copy


@pytest.mark.parametrize(
    ("how", "says"),
    [("half", "not a whole"), ("absent", "no file"), ("newer", "format 99.*Upgrade")],
)
def test_an_avatar_half_written_or_of_a_newer_format_is_one_line(folder, tmp_path, how, says):
    person = broken_avatar(folder, tmp_path, how)
    with pytest.raises(LikenessError, match=says) as told:
        reenact(person, "gestures", tmp_path / "a.mp4", size=32)
    assert "\n" not in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["person"]


def bad_sources(tmp_path):
    """Drivers that cannot drive, and what is said of each."""
    nan = talking()
    nan.coefficients[3, 2] = torch.nan
    (tmp_path / "nan.csv").write_text("JawOpen\n0.1\nnan\n")
    (tmp_path / "half.json").write_text('{"format": 1, "rig": "clay", ')
    (tmp_path / "song.mp3").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    write_driver(tmp_path / "faceless", seen=torch.zeros(FRAMES))
    write_driver(tmp_path / "nan", nan)
    write_driver(tmp_path / "flame", replace(talking(), rig="flame"))
    write_driver(tmp_path / "other", replace(talking(), coefficients=torch.zeros(FRAMES, 7)))
    return {
        "nan.csv": "line 3: JawOpen is 'nan'",
        "half.json": "not readable JSON",
        "song.mp3": "is none of",
        "empty": "no finished track",
        "absent": "no file or folder",
        "faceless": "no frame with a face",
        "nan": "Frame 3 of the driver",
        "flame": "share no names",
        "other": "has 7 coefficients",
    }


def test_a_driver_that_cannot_drive_is_one_line_and_nothing_is_written(folder, tmp_path):
    for name, says in bad_sources(tmp_path).items():
        before = {path.name for path in tmp_path.iterdir()}
        with pytest.raises(LikenessError, match=says) as told:
            reenact(folder, str(tmp_path / name), tmp_path / "a.mp4", size=32)
        assert "\n" not in str(told.value)
        assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"out": None}, "--out is needed"),
        ({"out": "a.avi"}, "should end in .mp4"),
        ({"view": "side"}, "none of own, portrait"),
        ({"background": "pink"}, "none of own"),
        ({"beyond": 2.0}, "outside 0 to 1"),
        ({"neutral": 0.9}, "low quantile"),
        ({"size": 4}, "16 to 4096"),
        ({"frames": 0}, "not above 0"),
        ({"driver": "retarget"}, "Leave --driver out"),
        ({"driver": "puppets"}, "no driver called"),
        ({"strength_mouth": 9.0}, "outside 0 to 3"),
        ({"gestures": "nood@1"}, "Did you mean 'nod'"),
        ({"view": "portrait", "background": "own"}, "fits only --view own"),
    ],
)
def test_a_wrong_option_is_one_line_and_nothing_is_written(folder, tmp_path, asked, says):
    asked = {"out": "a.mp4", **asked}
    asked["out"] = None if asked["out"] is None else tmp_path / asked["out"]
    with pytest.raises(LikenessError, match=says):
        reenact(folder, "gestures", **asked)
    assert not list(tmp_path.iterdir())


def test_a_film_that_fails_half_way_leaves_nothing(folder, tmp_path, monkeypatch):
    kind = type(open_avatar(folder))
    drawn, count = kind.render, iter(range(3))

    def breaks(self, camera, expression):
        if next(count) == 2:
            raise KeyboardInterrupt
        return drawn(self, camera, expression)

    monkeypatch.setattr(kind, "render", breaks)
    with pytest.raises(KeyboardInterrupt):
        reenact(folder, "gestures", tmp_path / "a.mp4", size=32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["csv", "json", "npz", "bvh"])
def test_a_performance_is_written_as_motion_that_drives_again(tmp_path, folder, suffix):
    out = tmp_path / f"m.{suffix}"
    reenact(folder, "gestures", out, gestures="smile@0-0.4", fps=10, frames=4)
    found = open_motion(out, open_avatar(folder))
    assert (len(found), round(found.fps)) == (4, 10)
    assert found.expressions.coefficients.any() == (suffix != "bvh")
    assert not list(tmp_path.glob("*.mp4"))
