"""What the benchmarks in a browser share: their command line, and node with a job."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

SIZE, GROUND = 512, 0.5


def asked_of(doc: str | None) -> argparse.Namespace:
    """AVATAR --motion TRACK --out FOLDER, which is made."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--motion", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--browser", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--options", nargs="*", default=[], help="of the format: name=value")
    asked = parser.parse_args()
    asked.out = asked.out.resolve()
    asked.out.mkdir(parents=True, exist_ok=True)
    return asked


def photograph(script: str, asked: argparse.Namespace, **job: Any) -> None:
    """Runs a script of this folder on a job, with the folder and the browser in it."""
    whole = {"out": str(asked.out), "browser": asked.browser, "size": SIZE, **job}
    path = asked.out / "job.json"
    path.write_text(json.dumps(whole))
    command = ["node", str(Path(__file__).with_name(script)), str(path)]
    subprocess.run(command, check=True, timeout=280)
