"""`likeness build`: the whole way, from a recording to an avatar with a report."""

import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from likeness.core.errors import BadInput, Unsupported
from likeness.core.files import only_one, read_json
from likeness.core.runs import finish_run, finished_alike, start_run
from likeness.verbs.consent import consent_note
from likeness.verbs.evaluate import evaluate
from likeness.verbs.export import export
from likeness.verbs.fit import fit
from likeness.verbs.ingest import ingest
from likeness.verbs.preview import preview
from likeness.verbs.report import report
from likeness.verbs.track import track

_log = logging.getLogger(__name__)


def build(
    source: Path,
    out: Path,
    minutes: float | None = None,
    steps: int | None = None,
    size: int = 512,
    method: str = "splats",
    splats: int | None = None,
    rig: str = "clay",
    tracker: str = "photometric",
    person: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    seed: int = 0,
    consent: str | None = None,
    device: str = "auto",
) -> str:
    """Turn a video, photos or a data set into a moving avatar, with a preview and a report.

    Runs ingest, track, fit, evaluate, preview and report into one folder. A stage that is finished
    with the same settings is not run again, and a stage that was stopped goes on.

    Args:
        source: A video file, a folder of photos, or a data set in a layout we know.
        out: The folder to build in: capture/, track/, avatar/, preview.mp4, avatar.html,
            report.html, metrics.json.
        minutes: How long to train. Ten unless --steps is given.
        steps: Train for exactly so many steps instead; then the result is reproducible.
        size: Pixels along a side of the pictures learned from.
        method: The avatar method; `likeness fit --help` lists them.
        splats: How many Gaussians a method made of them may use at most.
        rig: The head model.
        tracker: How to track; `likeness track --help` lists what there is.
        person: Which person, counted from the left, when there are several.
        start: Seconds to skip at the beginning.
        end: Second to stop at.
        seed: Of everything random.
        consent: Who agreed to being modelled, when, and for what; or a text file that says so. Kept
            with everything made.
        device: "cpu", "cuda", or "auto".
    """
    if minutes is not None and minutes <= 0:
        raise BadInput(f"--minutes {minutes} is not above 0.")
    if minutes is None and steps is None:
        minutes = 10.0
    if not Path(source).exists():
        raise BadInput(f"There is no file or folder {source}.")
    out, consent = Path(out), consent_note(consent)
    with only_one(out):
        capture, tracked, avatar = out / "capture", out / "track", out / "avatar"
        cut = {"size": size, "person": person, "start": start, "end": end, "consent": consent}
        _stage(out, "ingest", cut, {"source": Path(source)}, partial(ingest, source, capture))
        how = {"rig": rig, "using": tracker}
        _stage(out, "track", how, {"capture": capture}, partial(track, capture, tracked))
        plan = {"method": method, "minutes": minutes, "steps": steps, "seed": seed}
        plan["splats"] = splats
        _stage(
            out,
            "fit",
            plan,
            {"capture": capture, "track": tracked},
            partial(fit, capture, tracked, avatar, device=device),
        )
        evaluate(avatar, capture, tracked, out / "evaluation", device=device)
        shutil.copyfile(out / "evaluation" / "metrics.json", out / "metrics.json")
        preview(avatar, capture, tracked, out / "preview.mp4", device=device)
        _page(out, avatar, tracked)
        report(out)
    return summary(out)


def _page(out: Path, avatar: Path, tracked: Path) -> None:
    """The page to send to a friend, for methods it can show."""
    try:
        export(avatar, to="page", out=out / "avatar.html", motion=tracked)
    except Unsupported as error:
        _log.info("No page: %s", error)


def _stage(
    out: Path,
    name: str,
    settings: dict[str, Any],
    inputs: dict[str, Path],
    run: Callable[..., None],
) -> None:
    """Run one stage unless the same one is finished; its record lies in `stages/`."""
    record = out / "stages" / name
    if finished_alike(record, name, settings, inputs):
        _log.info("%s is finished; kept.", name)
        return
    seed = settings.get("seed", 0)
    start_run(record, name, settings, inputs, seed=seed, consent=settings.get("consent"))
    run(**settings)
    finish_run(record)


def summary(out: Path) -> str:
    """What was made, and how good it is on frames it never saw."""
    metrics = read_json(out / "metrics.json")
    head = metrics["head"]
    return "\n".join(
        [
            f"avatar    {out / 'avatar'}",
            f"preview   {out / 'preview.mp4'}",
            f"report    {out / 'report.html'}",
            f"held out  {metrics['frames']} frames: PSNR {metrics['psnr']:.2f} dB, "
            f"SSIM {metrics['ssim']:.4f}; head only {head['psnr']:.2f} dB, {head['ssim']:.4f}",
            "",
            f"next      likeness render {out / 'avatar'} --out turn.mp4",
        ]
    )
