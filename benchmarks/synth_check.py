"""Does MediaPipe's face mesh see synthetic people as faces, and where we say their points are?

Run: python benchmarks/synth_check.py [--out FILE.md] [--people 16] [--size 512]
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import tyro
from jaxtyping import Float

from likeness.captures.synthetic import film
from likeness.captures.synthetic.film import Film, draw, still_camera
from likeness.captures.synthetic.motion import VISEMES
from likeness.captures.synthetic.subject import Subject
from likeness.core.batching import take
from likeness.core.camera import Camera, project
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix
from likeness.core.rig import embed
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.mesh_points import FaceMesh

YAWS = (0, -20, 20, -40, 40, -60, 60)
_SPOKEN = ("a", "e", "i", "o", "u", "m", "f")
_GROUPS = {
    "contour": (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400,
                377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103,
                67, 109),
    "brows": (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 336, 296, 334, 293, 300, 285, 295, 282,
              283, 276),
    "eyes": (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7, 263, 466,
             388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    "lips": (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91,
             146, 78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87,
             178, 88, 95),
    "nose": (1, 2, 4, 5, 6, 19, 94, 98, 97, 326, 327, 168, 195, 197, 45, 275, 48, 278, 64, 294),
}  # fmt: skip


def main(
    out: Path = Path("benchmarks/results/2026-11-26-2core-cpu-synth.md"),
    people: int = 16,
    size: int = 512,
) -> None:
    """Draw every person in every pose, look for the face, and write the figures."""
    torch.set_num_threads(2)
    camera = take(still_camera(size, 1), 0)
    seen: dict[str, list[np.ndarray]] = {}
    with FaceMesh() as mesh:
        for seed in range(people):
            capture, _ = film(seed, frames=1, size=size)
            assert isinstance(capture.pictures, Film)
            subject, behind = capture.pictures.subject, capture.pictures.backdrop
            for name, expression in _poses():
                shot = draw(subject, camera, expression, behind)
                seen.setdefault(name, []).append(
                    _errors(mesh, shot.rgb, subject, camera, expression)
                )
    text = _report(seen, people, size)
    out.write_text(text)
    print(text)


def _poses() -> Iterator[tuple[str, Expression]]:
    rest = clay().neutral()
    rest = replace(rest, world_from_torso=torch.eye(4))
    for yaw in YAWS:
        turned = torch.eye(4)
        turned[:3, :3] = axis_angle_to_matrix(torch.tensor([0.0, np.radians(yaw), 0.0]))
        yield f"rest, yaw {abs(yaw)}", replace(rest, world_from_head=turned)
    for sound in _SPOKEN:
        coefficients = torch.zeros(len(ARKIT))
        for shape, weight in VISEMES[sound][0].items():
            coefficients[ARKIT.index(shape)] = weight
        yield f"speaking '{sound}'", replace(rest, coefficients=coefficients)


def _errors(
    mesh: FaceMesh, rgb: np.ndarray, subject: Subject, camera: Camera, expression: Expression
) -> Float[np.ndarray, " 468"]:
    """Distances to the truth in % of the width of the face seen from the front; NaN: not found."""
    rig = clay()
    places = embed(rig.pose(subject.identity, expression), rig.landmarks("mediapipe478"))
    truth = project(camera, places)[:468].numpy()
    depth = float((camera.camera_from_world @ torch.tensor([0, 0, 0, 1.0]))[2])
    width = float((places[234] - places[454]).norm() * camera.intrinsics[0, 0] / depth)
    found = mesh.find(rgb)
    if not found:
        return np.full(468, np.nan)
    return 100 * np.linalg.norm(found[0].points[:468, :2] - truth, axis=-1) / width


def _report(seen: dict[str, list[np.ndarray]], people: int, size: int) -> str:
    lines = [
        "# Synthetic people before MediaPipe's face mesh",
        "",
        f"`python benchmarks/synth_check.py`: {people} people, {size} px, each picture on its",
        "own (no following). Error: mean distance over the 468 points, in % of the distance",
        "between points 234 and 454 as seen from the front. Both signs of a yaw count.",
        "",
        "| pose | pictures | found | mean % | worst person | " + " | ".join(_GROUPS) + " |",
        "| --- " * (5 + len(_GROUPS)) + "|",
    ]
    for name, rows in seen.items():
        table = np.stack(rows)
        hit = np.isfinite(table[:, 0])
        each = table[hit].mean(1)
        groups = [f"{table[hit][:, list(g)].mean():.1f}" for g in _GROUPS.values()]
        lines.append(
            f"| {name} | {len(table)} | {hit.mean():.1%} | {each.mean():.2f} | {each.max():.2f} | "
            + " | ".join(groups) + " |"
        )  # fmt: skip
    every = np.concatenate([np.stack(r)[:, 0] for r in seen.values()])
    lines += ["", f"Found in {np.isfinite(every).mean():.2%} of {len(every)} pictures.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
