"""The page in headless Chromium: pictures against our renderer, controls, and time.

    NODE_PATH=.../node_modules python benchmarks/page.py AVATAR --motion TRACK --out FOLDER

Needs node with puppeteer-core, and Chromium; draws in software, which is what the times are of.
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from browser import GROUND, SIZE, asked_of, photograph
from PIL import Image

from likeness.core.batching import take
from likeness.core.expression import Expression
from likeness.core.media import save_png
from likeness.core.track_files import read_track
from likeness.drivers.placing import turned
from likeness.verbs.export import export
from likeness.verbs.loading import open_avatar
from likeness.verbs.moments import at_rest, portrait, shape_names, with_settings

TARGET = 35.0  # dB


def moments_of(avatar, motion: Path | None) -> dict[str, Expression]:
    """At rest, faces, a turned head, a look aside, and two recorded frames."""
    rest = at_rest(avatar)
    names = shape_names(rest.rig, len(rest.coefficients))
    faces = {
        "neutral": (),
        "jawOpen": ("jawOpen=0.8",),
        "smile-and-blink": ("mouthSmileLeft=0.8", "mouthSmileRight=0.8", "eyeBlinkLeft=1"),
        "gaze": ("eyeLookOutLeft=0.9", "eyeLookInRight=0.9"),
    }
    made = {name: with_settings(rest, words, names) for name, words in faces.items()}
    away = turned(torch.tensor([[0.1, 0.5, 0.0]]))[0]
    made["turned"] = replace(rest, world_from_head=rest.world_from_head @ away)
    if motion is not None:
        recorded = read_track(motion).expressions
        for share in (0.3, 0.8):
            index = int(share * recorded.count)
            made[f"recorded-{index}"] = take(recorded, index)
    return made


def plain(moment: Expression) -> dict:
    """As the page's modules name it."""
    blocks = {
        "coefficients": moment.coefficients,
        "joints": moment.joints,
        "head": moment.world_from_head,
        "torso": moment.world_from_torso,
        "personal": moment.personal,
        "clothes": moment.torso,
    }
    return {k: None if v is None else v.flatten().tolist() for k, v in blocks.items()}


def main() -> None:
    asked = asked_of(__doc__)
    page = asked.out / "page.html"
    print(export(asked.avatar, "page", page, asked.motion, options=tuple(asked.options)))
    avatar = open_avatar(asked.avatar)
    camera = portrait(at_rest(avatar), SIZE, SIZE)
    lens = camera.intrinsics
    view = {
        "pose": camera.camera_from_world.flatten().tolist(),
        "fx": float(lens[0, 0]), "fy": float(lens[1, 1]),
        "cx": float(lens[0, 2]), "cy": float(lens[1, 2]),
    }  # fmt: skip
    found = moments_of(avatar, asked.motion)
    moments = [{"name": n, "expression": plain(m), "camera": view} for n, m in found.items()]
    photograph("page.cjs", asked, page=str(page), moments=moments)
    worst = np.inf
    print("| moment | page against ours, dB |\n|---|---:|")
    for name, moment in found.items():
        ours = avatar.render(camera, moment).over(GROUND).clamp(0, 1)
        save_png(asked.out / f"ours-{name}.png", ours)
        with Image.open(asked.out / f"page-{name}.png") as picture:
            theirs = np.asarray(picture.convert("RGB")) / 255
        quality = -10 * np.log10(np.square(theirs - ours.numpy()).mean() + 1e-12)
        worst = min(worst, quality)
        print(f"| {name} | {quality:.1f} |")
    said = json.loads((asked.out / "said.json").read_text())
    print(json.dumps(said, indent=1))
    if said["problems"] or worst < TARGET:
        raise SystemExit(f"problems: {said['problems']}; worst {worst:.1f} dB of {TARGET}")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
