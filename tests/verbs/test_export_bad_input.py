"""What can be wrong with what `likeness export` is given: one clear line each, and nothing lost."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from likeness.core.errors import LikenessError
from likeness.verbs import export as module
from likeness.verbs.export import export

pytestmark = pytest.mark.usefixtures("few_looks")


@dataclass(frozen=True)
class Painted:
    """An avatar that can only be named."""

    name: str = "painted"


def painted(_folder, _place, monkeypatch):
    monkeypatch.setattr(module, "open_avatar", lambda *_: Painted())


def full_disk(_folder, _place, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)


def no_number(folder, _place, monkeypatch):
    head = module.open_avatar(folder)
    with torch.no_grad():
        head.offset[:] = torch.nan
    monkeypatch.setattr(module, "open_avatar", lambda *_: head)


def holding(text):
    return lambda _folder, place, _: (place / "ü.csv").write_text(text)


def npz_with(change):
    def write(folder, place, _):
        export(folder, "npz", place / "whole.npz")
        with np.load(place / "whole.npz") as arrays:
            held = {name: arrays[name] for name in arrays.files}
        (place / "whole.npz").unlink()
        np.savez(place / "ü.npz", **{**held, **change(held)})

    return write


@pytest.mark.parametrize(
    ("before", "to", "out", "motion", "says"),
    [
        (painted, "ply", "a.ply", None, "ply needs splats, and Painted has none"),
        (painted, "glb", "a.glb", None, "glb needs a rig, and Painted has none"),
        (painted, "mp4", "a.mp4", None, "mp4 needs a picture of itself, and Painted has none"),
        (None, "ply", "taken/a.ply", None, "cannot be written.*--out"),
        (None, "ply", "folder.ply", None, "cannot be written.*--out"),
        (full_disk, "ply", "a.ply", None, "disk is full"),
        (full_disk, "page", "a.html", None, "disk is full"),
        (full_disk, "mp4", "a.mp4", None, "disk is full"),
        (no_number, "ply", "a.ply", None, "None of the avatar's splats is finite"),
        (no_number, "page", "a.html", None, "offset holds numbers that are not finite"),
        (holding("JawOpen,Grin\n0,0\n"), "mp4", "ä.mp4", "ü.csv", "Grin"),
        (holding("JawOpen\n0.1\ninf\n"), "mp4", "ä.mp4", "ü.csv", "line 3: JawOpen is 'inf'"),
        (holding("JawOpen,JawLeft\n0.1\n"), "mp4", "ä.mp4", "ü.csv", "1 of 2 columns"),
        (
            npz_with(lambda held: {"coefficients": held["coefficients"][:, :7]}),
            "mp4", "ä.mp4", "ü.npz", "holds 7 coefficients",
        ),
        (
            npz_with(lambda held: {"joints": held["joints"].repeat(3, 0)}),
            "mp4", "ä.mp4", "ü.npz", "joints is of shape",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line_and_nothing_is_lost(
    folder, tmp_path, monkeypatch, before, to, out, motion, says
):
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "folder.ply").mkdir()
    if before is not None:
        before(folder, tmp_path, monkeypatch)
    there = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    small = {"mp4": ("size=32",), "glb": ("texture=16",)}.get(to, ())
    source = None if motion is None else tmp_path / motion
    with pytest.raises(LikenessError, match=says) as told:
        export(folder, to, tmp_path / out, source, options=small)
    assert "\n" not in str(told.value)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == there


@pytest.mark.parametrize("to", ["mp4", "gif", "ply", "page", "glb"])
def test_an_export_stopped_half_way_leaves_what_was_there_before(folder, tmp_path, monkeypatch, to):
    target = tmp_path / f"a.{'html' if to == 'page' else to}"
    target.write_text("an older export")

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stopped)
    small = {"mp4": "size=32", "gif": "size=32", "glb": "texture=16"}
    with pytest.raises(KeyboardInterrupt):
        export(folder, to, target, options=(small[to],) if to in small else ())
    assert target.read_text() == "an older export"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_motion_that_lacks_coefficients_leaves_them_at_rest(folder, tmp_path):
    (tmp_path / "m.csv").write_text("JawOpen\n0.25\n0.5\n")
    export(folder, "json", tmp_path / "m.json", tmp_path / "m.csv")
    told = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    jaw = told["shape_names"].index("jawOpen")
    assert [row[jaw] for row in told["coefficients"]] == [0.25, 0.5]
    assert sum(map(sum, told["coefficients"])) == 0.75


def test_a_splat_that_is_not_finite_is_left_out_of_the_file(folder, tmp_path, monkeypatch, caplog):
    head = module.open_avatar(folder)
    with torch.no_grad():
        head.offset[3] = torch.nan
    monkeypatch.setattr(module, "open_avatar", lambda *_: head)
    for to in ("ply", "spz", "splat", "gltf-splats"):
        suffix = "glb" if to == "gltf-splats" else to
        export(folder, to, tmp_path / f"a.{suffix}")
        assert "1 splats are not finite" in caplog.text
        caplog.clear()
