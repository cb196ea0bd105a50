"""Run folders: what was asked, of what, with which versions, and whether it finished."""

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from likeness.core.files import read_json, sha256, write_json

_PACKAGES = ("likeness", "torch", "numpy", "numba", "mediapipe", "av", "safetensors")


def versions() -> dict[str, str]:
    """Of Python, the platform, and the packages that decide results."""
    found = {"python": sys.version.split()[0], "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def start_run(
    folder: str | Path,
    verb: str,
    settings: Any,
    inputs: Mapping[str, str | Path],
    seed: int = 0,
    consent: str | None = None,
) -> None:
    """Write `run.json`: settings, versions, seed, hashes of the inputs, consent."""
    values = asdict(settings) if is_dataclass(settings) else dict(settings)  # type: ignore[arg-type]
    write_json(
        Path(folder) / "run.json",
        {
            "verb": verb,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": values,
            "seed": seed,
            "versions": versions(),
            "inputs": {k: {"path": str(p), "sha256": sha256(p)} for k, p in inputs.items()},
            "consent": consent,
            "finished": None,
        },
    )


def finish_run(folder: str | Path, results: Mapping[str, Any] | None = None) -> None:
    path = Path(folder) / "run.json"
    about = read_json(path)
    about.pop("format")
    about["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    about["results"] = dict(results or {})
    write_json(path, about)


def finished_alike(
    folder: str | Path, verb: str, settings: Any, inputs: Mapping[str, Path]
) -> bool:
    """Whether `folder` holds a finished run of the same verb, settings and inputs."""
    path = Path(folder) / "run.json"
    if not path.exists():
        return False
    about = read_json(path)
    values = asdict(settings) if is_dataclass(settings) else dict(settings)  # type: ignore[arg-type]
    return (
        about.get("finished") is not None
        and about.get("verb") == verb
        and about.get("settings") == _through_json(values)
        and {k: v["sha256"] for k, v in about.get("inputs", {}).items()}
        == {k: sha256(p) for k, p in inputs.items()}
    )


def _through_json(values: Any) -> Any:
    return json.loads(json.dumps(values, default=str))
