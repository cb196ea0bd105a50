"""Guests' rows: through an installed package's entry points, or for one process."""

import sys

import pytest

from likeness.core.errors import LikenessError
from likeness.core.registry import Registry


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package as pip would have installed it, with one row for us."""
    about = tmp_path / "guest-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[likeness.method]\ndiscs = guest_discs:Discs\n")
    (tmp_path / "guest_discs.py").write_text("class Discs:\n    steps = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("guest_discs", None)


def test_an_installed_packages_row_is_found_by_the_same_lookup(package):
    methods = Registry("method", {"ours": "math:pi"})
    assert set(methods.names()) >= {"ours", "discs"}
    assert methods.load("discs").steps == 7
    assert "discs" not in Registry("exporter", {})


def test_a_script_adds_a_row_for_its_process():
    numbers = Registry("number", {"pi": "math:pi"})
    numbers.add("e", "math:e")
    numbers.add("e", "math:e")
    assert numbers.load("e") == pytest.approx(2.71828, abs=1e-4)
    with pytest.raises(LikenessError, match="already math:pi. Choose another name"):
        numbers.add("pi", "elsewhere:pi")
    assert "e" not in Registry("number", {})
