"""The house itself: nobody imports from upstairs or from next door, and imports stay light."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import likeness

ROOT = Path(likeness.__file__).parent
FLOOR = {
    "core": 0,
    "ops": 1,
    "nn": 2,
    "rigs": 2,
    "training": 2,
    "captures": 3,
    "trackers": 3,
    "methods": 3,
    "drivers": 3,
    "exporters": 3,
    "verbs": 4,
    "cli": 5,
    "studio": 5,
    "jobs": 5,
}
FILES = sorted(ROOT.rglob("*.py"))


def rooms_imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names = [node.module or ""]
        found |= {n.split(".")[1] for n in names if n.startswith("likeness.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_its_own_room_and_lower_floors(path):
    room = path.relative_to(ROOT).parts[0]
    if room not in FLOOR:
        return  # likeness/__init__.py is the front door
    for other in rooms_imported(path) - {room}:
        assert FLOOR[other] < FLOOR[room], f"{room} must not import {other}"


def test_every_room_has_a_floor():
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms <= set(FLOOR)


def seconds_of(*arguments: str) -> tuple[float, str]:
    started = time.perf_counter()
    run = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return time.perf_counter() - started, run.stdout


def test_help_answers_without_importing_torch():
    code = (
        "import sys; from likeness.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('heavy', sorted({'torch','numpy','numba','mediapipe','tyro'} & set(sys.modules)))"
    )
    _, printed = seconds_of("-c", code)
    assert "likeness build" in printed
    assert printed.rstrip().endswith("heavy []")


@pytest.mark.slow
def test_help_answers_in_under_three_tenths_of_a_second():
    fastest = min(seconds_of("-m", "likeness", "--help")[0] for _ in range(5))
    assert fastest < 0.3


def test_every_registry_row_loads():
    from likeness.verbs.registries import registries

    for registry in registries():
        for name in registry.names():
            assert registry.load(name) is not None, f"{registry.kind} {name}"
