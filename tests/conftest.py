"""Shared by all tests: shapes checked at run time, one device fixture, a data folder of its own."""

import os
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

SOURCE = Path(__file__).parent.parent / "src"
# Kernels (`*_cpu.py`, `*_gpu.py`) go through compilers of their own and stay as they are.
CHECKED = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for room in ("core", "ops", "nn", "rigs")
    for path in sorted((SOURCE / "likeness" / room).rglob("*.py"))
    if path.stem != "__init__" and not path.stem.endswith(("_cpu", "_gpu"))
]

if os.environ.get("LIKENESS_UNCHECKED") is None:
    _hook = install_import_hook(CHECKED, "tower.check")

# The same examples every time; LIKENESS_FUZZ=1 looks for new ones.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.register_profile("fuzz", deadline=None)
hypothesis.settings.load_profile("fuzz" if os.environ.get("LIKENESS_FUZZ") else "steady")

FIXTURES = Path(__file__).parent / "parity"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="accept what the golden tests drew"
    )


@pytest.fixture(scope="session", autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees, or writes to, the user's data folder."""
    os.environ["LIKENESS_DATA"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device on this machine")
    return request.param
