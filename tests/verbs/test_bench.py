"""The table of methods against subjects: made, kept, added to."""

import xml.etree.ElementTree as ElementTree

import pytest

from likeness.core.errors import BadInput, LikenessError
from likeness.core.files import read_json
from likeness.verbs import bench as room
from likeness.verbs.bench import bench, settings_by_method, table
from likeness.verbs.plot import plot

QUICK = {"size": 48, "frames": 12, "device": "cpu"}
SMALL = (
    "nerfblendshape:rays=64 nerfblendshape:levels=4 nerfblendshape:finest=32 "
    "nerfblendshape:log2_size=9 nerfblendshape:bases=2 nerfblendshape:cells=16 "
    "splats:splats=400",
)


def test_a_benchmark_is_a_table_a_plot_and_results_and_goes_on_where_it_was(tmp_path, monkeypatch):
    methods = ("nerfblendshape", "splats")
    given = {**QUICK, "methods": methods, "settings": SMALL}
    said = bench(("synth:3",), tmp_path, minutes=(0.01,), **given)
    found = read_json(tmp_path / "results.json")["runs"]
    assert sorted(r["asked"]["method"] for r in found) == sorted(methods)
    assert all(r["fps"] > 0 and r["figures"]["psnr"] > 5 for r in found)
    assert found[0]["mean_picture"] == found[1]["mean_picture"] > 10
    rows = [line for line in said.splitlines() if line.startswith("| synth3")]
    assert len(rows) == 2
    assert "split: last" in said
    assert said == (tmp_path / "table.md").read_text()
    trained = []
    original = room.fit
    monkeypatch.setattr(
        room, "fit", lambda *a, **k: (trained.append(k["minutes"]), original(*a, **k))
    )
    more = bench(("synth:3",), tmp_path, minutes=(0.01, 0.02), **{**given, "methods": methods[:1]})
    assert trained == [0.02], "what is finished is not trained again"
    assert len([line for line in more.splitlines() if line.startswith("| synth3")]) == 3
    picture = ElementTree.parse(tmp_path / "quality.svg").getroot()
    lines = [e for e in picture.iter() if e.tag.endswith("polyline")]
    assert len(lines) == 2


def test_seeds_give_a_deviation():
    def row(seed, value):
        asked = {"subject": "a", "split": "last", "minutes": 1.0, "method": "m", "seed": seed}
        figures = {"psnr": value}
        more = {"steps": 3, "fps": 2.0, "mean_picture": 20.0, "protocol": "p", "track": "t"}
        return {"asked": asked, "figures": figures, **more}

    text = table([row(0, 30.0), row(1, 32.0)])
    assert "31.00 ± 1.00" in text
    assert "11.00 ± 1.00" in text
    assert "Seeds: 0, 1" in text


def test_what_cannot_be_benchmarked_is_said_before_anything_is_trained(tmp_path):
    with pytest.raises(BadInput, match="no recording"):
        bench(("nowhere.mp4",), tmp_path)
    with pytest.raises(BadInput, match="synth:0"):
        bench(("synth:x",), tmp_path)
    with pytest.raises(LikenessError, match="splats"):
        bench(("synth:0",), tmp_path, methods=("splat",))
    with pytest.raises(BadInput, match="METHOD:name=value"):
        settings_by_method(("rays=3",))
    with pytest.raises(BadInput, match="needs inputs"):
        bench((), tmp_path)


def test_a_plot_of_one_point_and_of_none_is_still_a_picture():
    for curves in ({}, {"one": [(1.0, 30.0)]}, {"a & b": [(1.0, 20.0), (20.0, 30.0)]}):
        root = ElementTree.fromstring(plot("t < u", "x", "y", curves))
        assert root.tag.endswith("svg")
