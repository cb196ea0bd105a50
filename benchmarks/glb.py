"""The GLB in three.js in headless Chromium: neutral, faces, a turned head, the clip; screenshots.

    NODE_PATH=.../node_modules python benchmarks/glb.py AVATAR --motion TRACK --out FOLDER

Needs node with three and puppeteer-core, and Chromium. `sheet.png` has our own picture of the same
moment below each screenshot: look at it.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from browser import GROUND, SIZE, asked_of, photograph
from PIL import Image

from likeness.core.media import to_bytes
from likeness.drivers.placing import turned
from likeness.verbs.export import export
from likeness.verbs.loading import open_avatar
from likeness.verbs.moments import at_rest, portrait, shape_names, with_settings
from likeness.verbs.motions import open_motion

YAW = 0.5
SMILE = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}
SHOTS = (
    ("neutral", {}, 0.0),
    ("jawOpen", {"jawOpen": 0.6}, 0.0),
    ("smile", SMILE, 0.0),
    ("blink", {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, 0.0),
    ("turned", {}, YAW),
    ("turned-smile", SMILE, -YAW),
    ("side", {}, 1.2),
)


def main() -> None:
    asked = asked_of(__doc__)
    avatar, options = open_avatar(asked.avatar), tuple(asked.options)
    rest = at_rest(avatar)
    print(export(asked.avatar, "glb", asked.out / "still.glb", options=options))
    still = {"file": "still.glb", "time": 0.0}
    shots = [{**still, "name": n, "weights": w, "yaw": y} for n, w, y in SHOTS]
    if asked.motion is not None:
        print(export(asked.avatar, "glb", asked.out / "moving.glb", asked.motion, options=options))
        shots += [{"file": "moving.glb", "name": f"clip-{t:g}s", "time": t} for t in (0.0, 5.0)]
    head = rest.world_from_head.flatten().tolist()
    photograph("glb.cjs", asked, shots=shots, head=head)
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
