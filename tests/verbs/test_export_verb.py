import json
import shutil
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec

import av
import numpy as np
import pytest
import torch
from PIL import Image

from likeness.core.errors import BadInput, LikenessError
from likeness.core.files import load_tensors, save_tensors
from likeness.core.media import VideoWriter, save_png
from likeness.core.watermark import payload_of
from likeness.exporters.motion import Motion, moment
from likeness.exporters.motion_csv import write_motion_csv
from likeness.exporters.motion_npz import write_motion_npz
from likeness.exporters.notes import Note
from likeness.rigs.clay import clay
from likeness.verbs import export as module
from likeness.verbs.export import export, more_help, note_of
from likeness.verbs.formats import fitting
from likeness.verbs.show import show
from likeness.verbs.verify import mark, verify

pytestmark = pytest.mark.usefixtures("few_looks")

needs_usd = pytest.mark.skipif(
    find_spec("pxr") is None, reason="usd-core is not installed (likeness[usd])"
)


@dataclass(frozen=True)
class Painted:
    """An avatar that can only be looked at."""

    name: str = "painted"


def test_every_format_is_listed_with_what_an_avatar_lacks_for_it(folder):
    text = export(folder)
    there = len(module.EXPORTERS.names()) - (find_spec("pxr") is None)
    assert text.count("ok  ") == there
    lines = fitting(Painted())
    assert all(line.startswith("--") for line in lines)
    assert any("needs splats" in line for line in lines)


def test_a_format_whose_library_is_missing_does_not_count_as_fitting(folder, monkeypatch):
    from likeness.exporters import usd

    monkeypatch.setattr(usd, "find_spec", lambda _: None)
    line = next(one for one in export(folder).splitlines() if " usd " in one)
    assert line.startswith("--")
    assert "likeness[usd]" in line
    with pytest.raises(LikenessError, match=r"likeness\[usd\]"):
        export(folder, "usd", folder / "a.usdc", options=("texture=16",))


def test_help_tells_what_fits_the_avatar_before_it(folder, tmp_path):
    write_motion_csv(tmp_path / "m.csv", moment(clay().neutral()))
    assert more_help([str(folder), "--help"]) == f"Formats for {folder}:\n{export(folder)}"
    assert "ok  csv" in more_help(["--to", "csv", str(tmp_path / "m.csv"), "-h"])
    told = more_help(["--help"])
    for name in module.EXPORTERS.names():
        assert f"    {name} " in told
    assert "Needs splats. Options: version=3" in told


def test_a_motion_on_its_own_goes_from_format_to_format_and_nowhere_else(tmp_path):
    what = replace(clay().neutral(4), coefficients=torch.rand(4, 52))
    write_motion_npz(tmp_path / "a.npz", Motion(what, 24.0))
    export(tmp_path / "a.npz", "json", tmp_path / "b.json")
    export(tmp_path / "b.json", "npz", tmp_path / "c.npz")
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "c.npz") as last:
        for name in ("coefficients", "joints", "world_from_head", "fps"):
            assert (first[name] == last[name]).all()
    export(tmp_path / "c.npz", "csv")
    assert (tmp_path / "c.csv").is_file()
    before = sorted(tmp_path.iterdir())
    for asked, says in (
        ({"to": "glb"}, "glb needs a rig, and a motion on its own has none"),
        ({"to": "csv", "motion": tmp_path / "b.json"}, "is a motion itself"),
        ({"to": "csv", "out": tmp_path / "b.json"}, "should end in .csv"),
        ({"to": "json", "out": tmp_path / "b.json"}, "file that is read"),
    ):
        with pytest.raises(LikenessError, match=says):
            export(tmp_path / "b.json", **asked)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("to", "name", "options"),
    [
        ("ply", "a.ply", ()),
        ("splat", "a.splat", ()),
        ("spz", "ä.spz", ("version=2",)),
        ("gltf-splats", "s.glb", ()),
        ("glb", "a.glb", ("texture=16",)),
        ("obj", "a.obj", ("texture=16",)),
        pytest.param("usd", "ä.usdc", ("texture=16",), marks=needs_usd),
        ("mesh-ply", "m.ply", ()),
        ("json", "a.json", ()),
        ("csv", "a.csv", ()),
        ("npz", "a.npz", ()),
        ("bvh", "a.bvh", ()),
        ("splat-rig", "a.safetensors", ()),
        ("page", "a.html", ()),
        ("mp4", "a.mp4", ("size=32",)),
        ("webm", "a.webm", ("size=32", "background=none")),
        ("gif", "a.gif", ("size=32", "background=none")),
        ("webp", "ä.webp", ("size=32", "label=true")),
        ("png", "a.png", ("size=32", "background=none")),
    ],
)
def test_what_is_exported_says_that_it_is_synthetic_and_of_whom(
    folder, tmp_path, to, name, options
):
    export(folder, to, tmp_path / name, expression=("jawOpen=0.5",), options=options)
    found = mark(tmp_path / name)
    assert found is not None
    assert found["consent"] == "Zoë, today, tests"
    assert "marked as synthetic media" in verify(tmp_path / name)
    assert not list(tmp_path.glob(".*"))


def test_a_motion_moves_from_one_export_to_the_next(folder, tmp_path):
    export(folder, "csv", tmp_path / "a.csv", expression=("jawOpen=0.5",))
    export(folder, "json", tmp_path / "b.json", motion=tmp_path / "a.csv")
    about = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert about["coefficients"][0][about["shape_names"].index("jawOpen")] == 0.5


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"to": "plyy"}, "Did you mean 'ply'"),
        ({"to": "ply", "out": "a.obj"}, "should end in .ply"),
        ({"to": "glb", "options": ("texure=4",)}, "texture"),
        ({"to": "glb", "options": ("texture=big",)}, "of type int"),
        ({"to": "ply", "motion": "nowhere.csv"}, "no file"),
        ({"to": "ply", "motion": "a.mp3"}, "no motion"),
        ({"to": "ply", "expression": ("jawAjar=1",)}, "jaw"),
        ({"to": "ply", "label": True}, "only pictures"),
        ({"to": "mp4", "options": ("background=none",)}, "cannot be transparent"),
        ({"to": "png", "options": ("size=4",)}, "16 to 4096"),
        ({"to": "png", "options": ("size=100",), "watermark": True}, "at least 160"),
        ({"to": "gif", "options": ("background=pink",)}, "none of grey"),
    ],
)
def test_a_wrong_request_is_one_clear_line_and_writes_nothing(folder, tmp_path, asked, says):
    asked = {"out": f"a.{asked['to'][:4]}", **asked}
    asked["out"] = tmp_path / asked["out"]
    with pytest.raises(LikenessError, match=says):
        export(folder, **asked)
    assert not list(tmp_path.iterdir())


def test_pictures_and_videos_carry_the_mark(tmp_path):
    picture = torch.rand(16, 16, 3)
    save_png(tmp_path / "a.png", picture, Note("Zoë").line())
    assert mark(tmp_path / "a.png")["subject"] == "Zoë"
    for name in ("a.mp4", "a.webm"):
        with VideoWriter(tmp_path / name, 25) as video:
            video.write(picture)
        assert "marked as synthetic media" in verify(tmp_path / name)


def test_a_watermark_stays_when_what_is_written_in_the_file_is_stripped(folder, tmp_path):
    export(folder, "png", tmp_path / "a.png", watermark=True, label=True, options=("size=256",))
    assert "it is that of the note above" in verify(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        picture.convert("RGB").save(tmp_path / "b.jpg", quality=80)
    told = verify(tmp_path / "b.jpg")
    assert "no mark was found" in told
    assert f"{payload_of(note_of(folder).line()):08x}" in told


@pytest.mark.parametrize("to", ["png", "gif", "webp", "mp4", "webm"])
def test_a_watermark_is_read_from_a_single_moment_in_every_format(folder, tmp_path, to):
    export(folder, to, tmp_path / f"a.{to}", watermark=True)
    assert "it is that of the note above" in verify(tmp_path / f"a.{to}")


def test_a_motion_becomes_a_film_or_numbered_pictures(folder, tmp_path):
    export(folder, "csv", tmp_path / "m.csv", expression=("jawOpen=0.5",))
    lines = (tmp_path / "m.csv").read_text().splitlines()
    (tmp_path / "m.csv").write_text("\n".join([*lines, *[lines[-1]] * 3]) + "\n")
    for to in ("mp4", "gif", "webp"):
        export(folder, to, tmp_path / f"a.{to}", tmp_path / "m.csv", options=("size=32",))
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.info["loop"] == 0
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert len(list(film.decode(video=0))) == 4
    export(folder, "png", tmp_path / "a.png", tmp_path / "m.csv", options=("size=32",))
    assert len(list((tmp_path / "a").glob("*.png"))) == 4


def test_a_file_without_a_mark_or_that_is_none_is_told_apart(tmp_path):
    (tmp_path / "a.ply").write_text("ply\nformat ascii 1.0\nend_header\n")
    assert "no mark was found" in verify(tmp_path / "a.ply")
    (tmp_path / "a.glb").write_bytes(b"rubbish")
    with pytest.raises(BadInput, match="damaged"):
        verify(tmp_path / "a.glb")
    with pytest.raises(BadInput, match="no file"):
        verify(tmp_path / "b.glb")


@needs_usd
def test_a_usd_that_is_none_is_said(tmp_path):
    (tmp_path / "a.usdc").write_bytes(b"rubbish")
    with pytest.raises(BadInput, match="damaged.*no USD layer"):
        verify(tmp_path / "a.usdc")


def test_show_tells_method_consent_and_exports(folder):
    text = show(folder)
    assert "splats on the rig clay" in text
    assert "Zoë, today, tests" in text
    assert "ok  page" in text
    assert note_of(folder.parent).subject.startswith("Zoë")
    assert asdict(note_of(folder))["consent"]


def test_an_avatar_of_another_version_of_its_method_is_one_clear_line(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "old")
    weights = load_tensors(folder / "weights.safetensors")
    save_tensors(
        tmp_path / "old" / "weights.safetensors",
        {name: value for name, value in weights.items() if name != "follow"},
    )
    with pytest.raises(BadInput, match="another version of the method 'splats'.*follow.*Fit it"):
        export(tmp_path / "old", "ply")
