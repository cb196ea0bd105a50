"""`likeness bench`: methods against subjects, minutes and seeds, as a table and a plot."""

import json
import logging
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch

from likeness.core.batching import move, take
from likeness.core.errors import BadInput, unknown
from likeness.core.files import only_one, read_json, write_json, write_text
from likeness.core.progress import counted
from likeness.methods import METHODS
from likeness.ops.image import psnr
from likeness.training.checkpoints import about_avatar
from likeness.training.frames import trainable_frames
from likeness.verbs.evaluate import evaluate
from likeness.verbs.fit import fit, kept_apart
from likeness.verbs.ingest import ingest
from likeness.verbs.loading import device_of, held_out, open_avatar, open_pair
from likeness.verbs.plot import plot
from likeness.verbs.synth import synth
from likeness.verbs.track import track

_log = logging.getLogger(__name__)
_COLUMNS = {
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 4),
    "perceptual": ("perceptual", 4),
    "box": ("box", 2),
    "mouth": ("mouth", 2),
    "eyes": ("eyes", 2),
    "above_mean": ("above mean picture", 2),
    "lids": ("lids right %", 1),
    "lips": ("lips right %", 1),
    "steps": ("steps", 0),
    "fps": ("render fps", 1),
}
_TIMED = 5  # frames rendered to time it


@dataclass(frozen=True)
class Cell:
    """One training: all that decides it."""

    subject: str
    method: str
    minutes: float
    seed: int
    size: int
    split: str
    frames: int

    @property
    def name(self) -> str:
        return f"{self.subject}/{self.method}-{self.minutes:g}min-{self.seed}-{self.split}"


def bench(
    inputs: tuple[str, ...],
    out: Path,
    methods: tuple[str, ...] = ("splats", "nerface", "nerfblendshape"),
    minutes: tuple[float, ...] = (1.0, 5.0),
    seeds: tuple[int, ...] = (0,),
    size: int = 128,
    frames: int = 100,
    split: str = "last",
    tracker: str = "photometric",
    settings: tuple[str, ...] = (),
    device: str = "auto",
) -> str:
    """Compare methods: train and judge each on each subject, for so many minutes, with each seed.

    Writes table.md, results.json and quality.svg. What is finished is kept: stopped, the same
    command goes on; with more methods or minutes it adds to the table.

    Args:
        inputs: Recordings, or synth:SEED for a synthetic person (learned from its true track).
        out: The folder for everything.
        methods: Which avatar methods.
        minutes: How long each training lasts; several values give the plot its curves.
        seeds: Of everything random; several values give the table its deviations.
        size: Pixels along a side.
        frames: How many frames of a synthetic person.
        split: Which frames are held out: last, or interleaved.
        tracker: How recordings are tracked.
        settings: Single settings for methods that know them, such as splats:splats=5000.
        device: "cpu", "cuda", or "auto".
    """
    out, where = Path(out), device_of(device)
    for method in methods:
        if method not in METHODS:
            raise unknown("method", method, METHODS.names())
    if not inputs or not methods or not minutes or not seeds:
        raise BadInput("A benchmark needs inputs, methods, minutes and seeds.")
    chosen = settings_by_method(settings)
    with only_one(out):
        subjects = [_subject(one, out, size, frames, tracker) for one in inputs]
        cells = [
            Cell(s, m, float(t), k, size, split, frames)
            for s in dict.fromkeys(subjects)
            for m in dict.fromkeys(methods)
            for t in sorted(set(minutes))
            for k in dict.fromkeys(seeds)
        ]
        for cell in counted(cells, "benchmark", len(cells)):
            _cell(cell, out, chosen.get(cell.method, ()), where)
        return written(out)


def settings_by_method(words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`method:name=value` words, by method."""
    found: dict[str, tuple[str, ...]] = {}
    for word in " ".join(words).split():
        method, colon, rest = word.partition(":")
        if not colon or method not in METHODS:
            raise BadInput(f"--settings {word!r} should look like METHOD:name=value.")
        found[method] = (*found.get(method, ()), rest)
    return found


def _subject(given: str, out: Path, size: int, frames: int, tracker: str) -> str:
    """Capture and track of an input below `out/subjects`, made when they are not there yet."""
    kind, colon, seed = given.partition(":")
    made = kind == "synth" and bool(colon)
    if made and not seed.isdigit():
        raise BadInput(f"{given!r} should be synth: and a whole number, such as synth:0.")
    if not made and not Path(given).exists():
        raise BadInput(f"There is no recording {given}. A synthetic person is written synth:0.")
    stem = f"synth{seed}-{frames}" if made else re.sub(r"[^\w.-]+", "_", Path(given).stem)
    name = f"{stem}-{size}"
    folder = out / "subjects" / name
    if (folder / "ready.json").exists():
        about = read_json(folder / "ready.json")
        if about.get("given") != given or about.get("tracker") not in (None, tracker):
            raise BadInput(f"{folder} is of {about.get('given')!r}. Choose another --out.")
        return name
    if made:
        synth(folder, int(seed), frames=frames, size=size)
    else:
        ingest(Path(given), folder / "capture", size=size)
        track(folder / "capture", folder / "track", using=tracker)
    chosen = "truth" if made else "track"
    note = {"given": given, "tracker": None if made else tracker, "track": chosen}
    write_json(folder / "ready.json", note)
    return name


def _cell(cell: Cell, out: Path, settings: tuple[str, ...], device: str) -> None:
    """Train and judge one avatar, unless its result is there with the same settings."""
    folder, subject = out / "runs" / cell.name, out / "subjects" / cell.subject
    asked = json.loads(json.dumps({**asdict(cell), "settings": settings}))
    if (folder / "result.json").exists():
        if read_json(folder / "result.json").get("asked") == asked:
            return
        _log.warning("%s had other settings; trained anew.", folder)
    chosen = read_json(subject / "ready.json")["track"]
    pair = (subject / "capture", subject / str(chosen))
    given: dict[str, Any] = {"minutes": cell.minutes, "seed": cell.seed, "device": device}
    given |= {"method": cell.method, "settings": settings, "split": cell.split}
    fit(*pair, folder / "avatar", **given)
    evaluate(folder / "avatar", *pair, folder / "evaluation", split=cell.split, device=device)
    metrics = read_json(folder / "evaluation" / "metrics.json")
    about = about_avatar(folder / "avatar")
    result = {
        "asked": asked,
        "figures": _figures(metrics),
        "steps": about["settings"].get("steps"),
        "fps": frames_per_second(folder / "avatar", pair, cell.split, device),
        "mean_picture": mean_picture(pair, cell.split),
        "protocol": metrics["protocol"],
        "track": "its own true track" if chosen == "truth" else "tracked",
    }
    write_json(folder / "result.json", result)


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    found = {n: metrics[n] for n in ("psnr", "ssim", "l1", "perceptual", "lpips") if n in metrics}
    parts = [n for n in ("box", "head", "mouth", "eyes") if n in metrics]
    found |= {name: metrics[name]["psnr"] for name in parts}
    openings = metrics.get("openings", {})
    for key, name in (("blink", "lids"), ("mouth", "lips")):
        if key in openings:
            found[name] = 100 * openings[key]["right"]
    return found


@torch.no_grad()
def frames_per_second(avatar: Path, pair: tuple[Path, Path], split: str, device: str) -> float:
    """How fast held-out frames are drawn, one by one; the first one is left out."""
    capture, found = open_pair(*pair)
    head = open_avatar(avatar, device)
    frames = held_out(capture, found, split)
    frames = (frames * (_TIMED + 1))[: _TIMED + 1]
    seconds = []
    for index in frames:
        camera = move(take(found.cameras, index), device)
        expression = move(take(found.expressions, index), device)
        started = time.perf_counter()
        head.render(camera, expression)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return (len(seconds) - 1) / max(sum(seconds[1:]), 1e-9)


def mean_picture(pair: tuple[Path, Path], split: str) -> float:
    """PSNR of the mean of all training frames, which every method must beat."""
    capture, found = open_pair(*pair)
    splits = kept_apart(capture, split)
    train = [i for i in splits.train if i in set(trainable_frames(capture, found))]
    mean = torch.zeros(found.cameras.height, found.cameras.width, 3)
    for index in train:
        mean += capture[index].rgb / len(train)
    return fmean(float(psnr(mean, capture[i].rgb)) for i in held_out(capture, found, split))


def written(out: Path) -> str:
    """Table, results and plot of everything finished below `out`; returns the table."""
    results = [read_json(p) for p in sorted((out / "runs").glob("*/*/result.json"))]
    write_json(out / "results.json", {"runs": results})
    text = table(results)
    write_text(out / "table.md", text)
    curves: dict[str, dict[float, list[float]]] = {}
    for row in results:
        at = curves.setdefault(row["asked"]["method"], {})
        at.setdefault(row["asked"]["minutes"], []).append(row["figures"]["psnr"])
    drawn = {m: [(t, fmean(v)) for t, v in at.items()] for m, at in curves.items()}
    title = "Held-out quality against training time"
    write_text(out / "quality.svg", plot(title, "minutes of training", "PSNR, dB", drawn))
    return text


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row for each subject, method and time; mean and deviation over seeds."""
    groups: dict[tuple[str, str, float, str], list[dict[str, float]]] = {}
    for row in results:
        asked = row["asked"]
        key = (asked["subject"], asked["split"], asked["minutes"], asked["method"])
        above = row["figures"]["psnr"] - row["mean_picture"]
        values = {**row["figures"], "above_mean": above, "steps": row["steps"], "fps": row["fps"]}
        groups.setdefault(key, []).append(values)
    names = [n for n in _COLUMNS if any(n in v for g in groups.values() for v in g)]
    lines = [
        "| subject | split | minutes | method | "
        + " | ".join(_COLUMNS[n][0] for n in names)
        + " |",
        "| --- " * (len(names) + 4) + "|",
    ]
    for (subject, split, minutes, method), members in sorted(groups.items()):
        cells = [_cell_text([m[n] for m in members if n in m], _COLUMNS[n][1]) for n in names]
        lines.append(f"| {subject} | {split} | {minutes:g} | {method} | {' | '.join(cells)} |")
    seeds = sorted({row["asked"]["seed"] for row in results})
    lines += ["", f"Seeds: {', '.join(map(str, seeds))}. Box, mouth and eyes are PSNR in dB."]
    for subject in sorted({row["asked"]["subject"] for row in results}):
        first = next(r for r in results if r["asked"]["subject"] == subject)
        lines += ["", f"{subject} ({first['track']}): {first['protocol']}."]
    return "\n".join(lines) + "\n"


def _cell_text(values: list[float], digits: int) -> str:
    if not values:
        return ""
    text = f"{fmean(values):.{digits}f}"
    return f"{text} ± {pstdev(values):.{digits}f}" if len(values) > 1 else text
