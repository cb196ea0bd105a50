"""Every example runs, on a small synthetic person, and does what it says."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likeness.captures import open_capture
from likeness.core.errors import LikenessError
from likeness.exporters import EXPORTERS
from likeness.methods import METHODS
from likeness.verbs.loading import open_avatar

EXAMPLES = Path(__file__).parents[2] / "examples"
PARITY = Path(__file__).parents[1] / "parity"


def example(name: str):
    """An example as a module, under its own name so that its registry row can be loaded."""
    path = EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name[:2]}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hello(tmp_path_factory):
    out = tmp_path_factory.mktemp("examples") / "hello"
    small = {"size": 96, "frames": 12, "minutes": None, "steps": 40, "tracker": "landmarks"}
    example("01_hello_avatar").main(out, **small)
    return out


def test_there_is_a_test_for_each_example():
    source = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.stem}")' in source, path.name


def test_hello_avatar_leaves_an_avatar_that_was_judged_on_unseen_frames(hello):
    scores = json.loads((hello / "scores" / "metrics.json").read_text())
    assert scores["psnr"] > 12
    assert len(list(film_frames(hello / "turn.mp4"))) == 12


def film_frames(path):
    return [np.asarray(f.rgb8) for f in open_capture(path)]


def test_synthetic_people_are_heard_as_they_move_their_mouths(tmp_path):
    heard = example("02_synthetic_people").main(tmp_path, people=2, frames=40, size=64)
    assert min(heard) > 0.3
    with Image.open(tmp_path / "row.png") as row:
        assert row.size == (128, 64)


def test_the_own_method_learns_and_loads_through_the_registry(hello, tmp_path):
    module = example("03_own_method")
    begun = module.main(hello / "capture", hello / "track", tmp_path / "a", steps=1)
    learnt = module.main(hello / "capture", hello / "track", tmp_path / "b", steps=40)
    scores = [
        json.loads((p.parent / "scores" / "metrics.json").read_text()) for p in (begun, learnt)
    ]
    assert scores[1]["l1"] < 0.9 * scores[0]["l1"]
    assert "discs" in METHODS
    assert type(open_avatar(learnt)).__name__ == "DiscAvatar"


def test_the_own_exporter_writes_the_surface_it_was_asked_for(hello, tmp_path):
    module = example("04_own_exporter")
    shut, opened = tmp_path / "shut.xyz", tmp_path / "open.xyz"
    module.main(hello / "avatar", shut, jaw=0.0)
    module.main(hello / "avatar", opened, jaw=1.0)
    a, b = np.loadtxt(shut), np.loadtxt(opened)
    assert 25 < np.abs(a - b).max() < 60  # millimetres of a jaw
    assert "synthetic" in Path(f"{opened}.json").read_text().lower()
    assert "xyz" in EXPORTERS


def test_the_table_drives_the_avatar(hello, tmp_path):
    out = example("05_drive_with_a_table").main(hello / "avatar", tmp_path / "d.mp4", 0.4, 64)
    frames = film_frames(out)
    assert len(frames) == 10
    assert max(np.abs(f.astype(int) - frames[0]).max() for f in frames) > 20


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("nerface/person_tiny", "rig nerface76, 76 coefficients"),
        ("nha/vhap_export", "rig flame"),
    ],
)
def test_a_data_set_is_read_and_moved_to_nerfstudio(tmp_path, folder, says):
    said = example("06_read_a_dataset").main(PARITY / folder, tmp_path / "out")
    assert says in said
    moved = open_capture(tmp_path / "out")
    assert len(moved) == len(open_capture(PARITY / folder))


def test_a_taken_name_is_refused_and_the_same_row_is_not():
    example("03_own_method")
    example("03_own_method")
    with pytest.raises(LikenessError, match="already"):
        METHODS.add("splats", "elsewhere:Splats")
