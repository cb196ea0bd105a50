"""How fast the live tracker is, and how near the truth.

    python benchmarks/live.py [--frames 120] [--seed 3] [--avatar me/avatar]

Gaze is told as the mean of its eight curves and, of the left eye, sideways and up.

A synthetic person in a picture of 640x480, frame by frame as from a camera, on as many cores as
there are. Figures begin after the person was learned (the first 25 frames). With --avatar its
pictures are drawn as well, as `likeness reenact AVATAR camera` does.
"""

import likeness  # noqa: F401  # before torch: says how threads wait

# isort: split
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.core.geometry import matrix_to_axis_angle
from likeness.drivers.calmed import Calmed
from likeness.drivers.placing import place
from likeness.rigs.clay import clay
from likeness.trackers.live import LiveTracker, Moment
from likeness.verbs.live import drawn_now
from likeness.verbs.loading import open_avatar
from likeness.verbs.reenact import stage_of
from likeness.verbs.targets import target_of

LEARN = 25
SIZE = (640, 480)
WAYS = ("In", "Out", "Up", "Down")
CURVES = {
    "jawOpen": ("jawOpen",),
    "blinks": ("eyeBlinkLeft", "eyeBlinkRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "gaze": tuple(f"eyeLook{way}{e}" for way in WAYS for e in ("Left", "Right")),
}
LOOKS = {
    "sideways": ("eyeLookOutLeft", "eyeLookInLeft"),
    "up": ("eyeLookUpLeft", "eyeLookDownLeft"),
}
LATE = 8  # frames: how late gaze could be


@dataclass(frozen=True, eq=False)
class Clip:
    pictures: list[np.ndarray]
    camera_from_head: Tensor
    coefficients: Tensor
    focal: float


def clip_of(seed: int, frames: int) -> Clip:
    """A head filmed at 480x480, the picture continued to both sides."""
    capture, truth = film(seed, frames, SIZE[1])
    room = (SIZE[0] - SIZE[1]) // 2
    pictures = [
        np.pad(frame.rgb8, ((0, 0), (room, room), (0, 0)), mode="edge") for frame in capture
    ]
    return Clip(
        pictures,
        truth.cameras.camera_from_world @ truth.expressions.world_from_head,
        truth.expressions.coefficients,
        float(truth.cameras.intrinsics[0, 0, 0]),
    )


def truth_rows(clip: Clip, moments: list[Moment], live: LiveTracker) -> dict[str, float]:
    """Errors from the frame on at which the person was known."""
    use = slice(LEARN, None)
    ours = torch.stack(
        [live.camera.camera_from_world @ m.expression.world_from_head for m in moments]
    )[use]
    true = clip.camera_from_head[use]
    error = matrix_to_axis_angle(ours[:, :3, :3] @ true[:, :3, :3].mT).rad2deg()
    apart = error - error.mean(0)
    bend = apart[1:-1] - 0.5 * (apart[:-2] + apart[2:])
    rows = {
        "rotation, degrees": float(error.norm(dim=-1).median()),
        "of it not constant": float(apart.norm(dim=-1).median()),
        "jitter, degrees": float(bend.norm(dim=-1).median()),
    }
    names = clay().shape_names
    values = torch.stack([m.expression.coefficients for m in moments])[use]
    for label, members in CURVES.items():
        index = [names.index(n) for n in members]
        found = [np.corrcoef(values[:, i], clip.coefficients[use][:, i])[0, 1] for i in index]
        rows[label] = float(np.nanmean(found))
    for way, (plus, minus) in LOOKS.items():
        found, truth = (
            (c[:, names.index(plus)] - c[:, names.index(minus)]).numpy()
            for c in (values, clip.coefficients[use])
        )
        rows[f"gaze {way}"] = float(np.corrcoef(found, truth)[0, 1])
        rows[f"gaze {way}, of its size"] = float(np.polyfit(truth, found, 1)[0])
        rows[f"gaze {way}, frames late"] = late(found, truth)
        moves = [np.abs(np.diff(curve)).mean() for curve in (found, truth)]
        rows[f"gaze {way}, movement from frame to frame of the truth's"] = moves[0] / moves[1]
    return rows


def late(found: np.ndarray, truth: np.ndarray) -> float:
    """After how many frames a curve is most like the truth's."""
    ends = len(truth) - LATE
    fits = [np.corrcoef(found[k : k + ends], truth[:ends])[0, 1] for k in range(LATE)]
    return float(np.argmax(fits))


def main(frames: int = 120, seed: int = 3, avatar: Path | None = None) -> None:
    """Print a table."""
    clip = clip_of(seed, frames)
    times: list[float] = []
    busy: list[float] = []
    moments: list[Moment] = []
    with LiveTracker(clay(), SIZE, clip.focal, learn=LEARN) as live:
        for index, picture in enumerate(clip.pictures):
            began, used = time.perf_counter(), time.process_time()
            moments.append(live.see(picture, index / 25))
            times.append(1e3 * (time.perf_counter() - began))
            busy.append(1e3 * (time.process_time() - used))
        steady = np.array(times[LEARN + 1 :])
        rows: dict[str, float] = {
            "frames with a face, %": 100 * float(np.mean([m.seen for m in moments])),
            "tracking, ms, median": float(np.median(steady)),
            "tracking, ms of processor time, median": float(np.median(busy[LEARN + 1 :])),
            "tracking, ms, 95 %": float(np.quantile(steady, 0.95)),
            "tracked frames a second": 1e3 / float(steady.mean()),
            "learning the person, ms": times[LEARN - 1],
            "learning the person, ms of processor time": busy[LEARN - 1],
            **truth_rows(clip, moments, live),
        }
        if avatar is not None:
            rows |= drawn_rows(avatar, clip, live)
    for name, value in rows.items():
        print(f"| {name} | {value:.3g} |")


def drawn_rows(path: Path, clip: Clip, live: LiveTracker) -> dict[str, float]:
    """The whole chain from a picture to the avatar's."""
    head = open_avatar(path)
    rig, target = clay(), target_of(head)
    stage = stage_of(head, target.rest, "own", None, None)
    assert live.calm is not None
    calm = Calmed.of(live.calm, rig)
    spent = []
    for index, picture in enumerate(clip.pictures[-40:]):
        began = time.perf_counter()
        seen = live.see(picture, 1000 + index / 25).expression
        placed = place(calm.perform(take(seen, None), rig), target, rig.shape_names).expressions
        drawn_now(head, stage, take(placed, 0))
        spent.append(1e3 * (time.perf_counter() - began))
    size = stage.camera
    return {
        f"tracking and drawing {size.width}x{size.height}, ms, median": float(np.median(spent[5:])),
        "driven frames a second": 1e3 / float(np.mean(spent[5:])),
    }


if __name__ == "__main__":
    tyro.cli(main)
