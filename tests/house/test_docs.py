"""What README and docs point at is there, and what they list is what there is."""

import re
import tomllib
from pathlib import Path

import pytest

from likeness.captures import CAPTURES
from likeness.rigs import RIGS
from likeness.verbs import VERBS
from likeness.verbs.doctor import EXTRAS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_named_files_are_there(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
    for named in re.findall(r"`((?:examples|tests|docs)/[\w./-]+)`", text):
        assert (ROOT / named).exists(), named


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_named_are_verbs(page):
    text = page.read_text(encoding="utf-8")
    for verb in re.findall(r"(?:^|`| )likeness ([a-z]+)(?: |`|$)", text, re.MULTILINE):
        assert verb in VERBS or verb in ("is", "with", "does", "to"), verb


@pytest.mark.parametrize(("page", "registry"), [("layouts", CAPTURES), ("rigs", RIGS)])
def test_a_page_of_plug_ins_names_each_of_them(page, registry):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for name in registry.names():
        assert f"`{name}`" in text, name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_the_extras_that_doctor_tells_to_install_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS) <= set(project["optional-dependencies"])
