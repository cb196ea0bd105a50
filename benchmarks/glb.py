"""The GLB in three.js in headless Chromium: neutral, faces, a turned head, the clip; screenshots.

    NODE_PATH=.../node_modules python benchmarks/glb.py AVATAR --motion TRACK --out FOLDER

Needs node with three and puppeteer-core, and Chromium. `sheet.png` has our own picture of the same
moment below each screenshot: look at it.
"""

import argparse
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from likeness.core.media import to_bytes
from likeness.drivers.placing import turned
from likeness.verbs.export import export
from likeness.verbs.loading import open_avatar
from likeness.verbs.moments import at_rest, portrait, shape_names, with_settings
from likeness.verbs.motions import open_motion

SIZE, GROUND, YAW = 512, 0.5, 0.5
SMILE = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}
SHOTS = (
    ("neutral", {}, 0.0),
    ("jawOpen", {"jawOpen": 0.6}, 0.0),
    ("smile", SMILE, 0.0),
    ("blink", {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, 0.0),
    ("turned", {}, YAW),
    ("turned-smile", SMILE, -YAW),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--motion", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--browser", default=shutil.which("chromium") or "chromium")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    avatar = open_avatar(asked.avatar)
    rest = at_rest(avatar)
    print(export(asked.avatar, "glb", asked.out / "still.glb"))
    still = {"file": "still.glb", "time": 0.0}
    shots = [{**still, "name": n, "weights": w, "yaw": y} for n, w, y in SHOTS]
    if asked.motion is not None:
        print(export(asked.avatar, "glb", asked.out / "moving.glb", asked.motion))
        shots += [{"file": "moving.glb", "name": f"clip-{t:g}s", "time": t} for t in (0.0, 5.0)]
    head = rest.world_from_head.flatten().tolist()
    job = {"folder": str(asked.out.resolve()), "shots": shots, "head": head,
           "size": SIZE, "browser": asked.browser}  # fmt: skip
    (asked.out / "job.json").write_text(json.dumps(job))
    script = Path(__file__).with_suffix(".cjs")
    subprocess.run(["node", str(script), str(asked.out / "job.json")], check=True, timeout=280)
    sheet(asked, avatar, rest, shots)


def sheet(asked: argparse.Namespace, avatar, rest, shots: list[dict]) -> None:
    """three.js above, ours below."""
    names = shape_names(rest.rig, len(rest.coefficients))
    motion = None if asked.motion is None else open_motion(asked.motion, avatar)
    camera, columns = portrait(rest, SIZE, SIZE), []
    for shot in shots:
        if "weights" in shot:
            words = tuple(f"{name}={value}" for name, value in shot["weights"].items())
            moment = with_settings(rest, words, names)
            turn = turned(torch.tensor([[0.0, shot["yaw"], 0.0]]))[0]
            moment = replace(moment, world_from_head=rest.world_from_head @ turn)
        else:
            moment = motion[round(shot["time"] * motion.fps)]  # type: ignore[index]
        ours = to_bytes(avatar.render(camera, moment).over(GROUND).clamp(0, 1))
        with Image.open(asked.out / f"{shot['name']}.png") as picture:
            theirs = np.asarray(picture.convert("RGB"))
        columns.append(np.concatenate([theirs, ours]))
    Image.fromarray(np.concatenate(columns, 1)).save(asked.out / "sheet.png")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
