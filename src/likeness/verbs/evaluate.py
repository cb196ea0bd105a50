"""`likeness evaluate`: frames the avatar never saw, against what was recorded."""

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from likeness.core.assets import find_asset
from likeness.core.avatar import Picture
from likeness.core.batching import move, take
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, Missing
from likeness.core.files import write_json
from likeness.core.media import save_png
from likeness.core.progress import counted
from likeness.core.track import Track
from likeness.nn.lpips import SMALLEST, load_lpips
from likeness.training.checkpoints import about_avatar
from likeness.verbs.figures import Measure, compared, head_box, on_white, regional, totals
from likeness.verbs.loading import (
    Behind,
    avatar_folder,
    device_of,
    held_out,
    known_backdrop,
    open_avatar,
    open_pair,
)
from likeness.verbs.openings import LID_TOLERANCE, LIP_TOLERANCE, Openings, summed_up
from likeness.verbs.photometric import EVERY, check, fit_frame

_log = logging.getLogger(__name__)
PICTURES = 6
_SPLITS = {
    "last": "the frames at the end that never train (the last fifth, or the data set's own)",
    "test": "the frames at the end that never train (the last fifth, or the data set's own)",
    "interleaved": "blocks of 4 frames every 40 among those before, which this avatar never saw",
    "validation": "the data set's own validation frames",
    "train": "frames the avatar was trained on",
}


def evaluate(
    avatar: Path,
    capture: Path,
    track: Path,
    out: Path,
    split: str = "last",
    openings: bool = True,
    photometric: int = 0,
    device: str = "auto",
) -> str:
    """Render held-out frames with their own pose and expression, and compare with the recording.

    Writes metrics.json, which spells its protocol out, and pictures of truth, render and error.

    Args:
        avatar: The avatar folder.
        capture: The capture folder.
        track: Its track folder.
        out: Where metrics.json and the pictures go.
        split: last, interleaved (needs an avatar of `fit --split interleaved`), validation, train.
        openings: Look whether lids and lips are as far open as in the recording.
        photometric: Besides, fit pose and expression to every fourth of these frames for so many
            steps, the avatar frozen, and report those figures apart; 0 does not.
        device: "cpu", "cuda", or "auto".
    """
    where = device_of(device)
    recording, found = open_pair(capture, track)
    kept = about_avatar(avatar_folder(avatar)).get("split", "last")
    if split == "interleaved" and kept != "interleaved":
        raise BadInput(
            f"{avatar} was trained on the interleaved blocks. Fit it again with "
            "--split interleaved, or evaluate with --split last."
        )
    head = open_avatar(avatar, where)
    if photometric:
        check(head, photometric)
    metrics = score(head, recording, found, Path(out), split, where, openings)
    if photometric:
        metrics["photometric"] = after_fitting(
            head, recording, found, Path(out), photometric, metrics, where
        )
    write_json(Path(out) / "metrics.json", metrics)
    return told(metrics)


@torch.no_grad()
def score(
    avatar: Any,
    capture: Capture,
    track: Track,
    out: Path,
    split: str = "last",
    device: str = "cpu",
    openings: bool = False,
) -> dict[str, Any]:
    """The figures of one split, as `metrics.json` holds them; pictures go to `out`."""
    frames = held_out(capture, track, split)
    width, height = track.cameras.width, track.cameras.height
    behind = known_backdrop(avatar, capture, track)
    shown = {frames[round(i)] for i in np.linspace(0, len(frames) - 1, PICTURES)}
    lpips, note = learned_perceptual(device, min(width, height))
    rows, gaps = [], []
    with ExitStack() as stack:
        looking = stack.enter_context(Openings()) if openings else None
        for index in counted(frames, "comparing held-out frames"):
            moment = drawn_moment(avatar, capture, track, index, behind, device)
            rows.append({"frame": index, **figures(moment, lpips)})
            found = None if looking is None else looking.compare(moment.drawn, moment.truth)
            if found is not None:
                rows[-1]["openings"] = found
                gaps.append(found)
            if index in shown:
                save_png(out / f"frame_{index:06d}.png", triple(moment), TRIPLE)
    protocol = protocol_of(split, frames, f"{width}x{height}", behind.origin)
    result = {"protocol": protocol, "split": split, "frames": len(frames), **totals(rows)}
    result["lpips_note"] = note
    if openings:
        result["openings"] = summed_up(gaps)
    return result


def after_fitting(
    avatar: Any,
    capture: Capture,
    track: Track,
    out: Path,
    steps: int,
    metrics: dict[str, Any],
    device: str = "cpu",
) -> dict[str, Any]:
    """The same figures of every fourth frame of `metrics`, once pose and expression are fitted to
    it; and of those frames before, to compare with."""
    before = metrics["per_frame"][::EVERY]
    behind = known_backdrop(avatar, capture, track)
    lpips, _ = learned_perceptual(device, min(track.cameras.width, track.cameras.height))
    rows, seconds = [], []
    for row in counted(before, "fitting pose and expression"):
        fitted = fit_frame(avatar, capture, track, row["frame"], behind, steps, device)
        moment = moment_of(fitted.picture, capture, track, row["frame"], behind)
        rows.append({"frame": row["frame"], "loss": fitted.loss, **figures(moment, lpips)})
        seconds.append(fitted.seconds)
        if row is before[len(before) // 2]:
            path = out / "photometric" / f"frame_{row['frame']:06d}.png"
            save_png(path, triple(moment), TRIPLE)
    protocol = (
        f"FITTED TO THE FRAMES IT IS TAKEN ON; every {EVERY}th frame of the split "
        f"({len(rows)}): {steps} Adam steps on motions of head and torso, coefficients and "
        "personal modes, from the tracked ones, by 0.8 L1 + 0.2 D-SSIM in the head's box, the "
        "avatar frozen; scored like the others. `tracked_only` are the same frames without it"
    )
    tracked = {k: v for k, v in totals(before).items() if k != "per_frame"}
    return {
        "protocol": protocol,
        "steps": steps,
        "frames": len(rows),
        "seconds_per_frame": float(np.median(seconds)),
        "tracked_only": tracked,
        **totals(rows),
    }


def protocol_of(split: str, frames: list[int], size: str, backdrop: str) -> str:
    """All that must be known to compare a figure with somebody else's."""
    return (
        f"split: {split} ({_SPLITS[split]}; {len(frames)} frames, numbers {frames[0]} to "
        f"{frames[-1]}, only those with a tracked face; each drawn with its own tracked camera, "
        f"pose and expression, nothing fitted to it); crop: the whole picture; resolution: {size}; "
        f"background: {backdrop}; box: the landmarks' box, 25 % wider on each side and below and "
        "40 % higher; head: head regions of the track times its matte, truth and render on white, "
        "everything else white in both; regions: PSNR over the pixels of each region of the "
        "track; mouth and eyes: PSNR inside the box around those regions, widened by a quarter; "
        f"openings: MediaPipe's points on render and recording, a frame is right within "
        f"{LID_TOLERANCE} of the eye's width (lids, both eyes) and {LIP_TOLERANCE} of the outer "
        "eye corners' distance (lips); totals are means over frames, sRGB in [0, 1]"
    )


def told(metrics: dict[str, Any]) -> str:
    """The figures a reader asks for first, with their protocol."""
    spread = metrics["spread"]["psnr"]
    lines = [
        f"PSNR {metrics['psnr']:.2f} dB (std {spread['std']:.2f}, 5th percentile "
        f"{spread['p5']:.2f}, least {spread['min']:.2f}), SSIM {metrics['ssim']:.4f}, "
        f"L1 {metrics['l1']:.4f}, perceptual {metrics['perceptual']:.4f}"
    ]
    if "lpips" in metrics:
        lines.append(f"LPIPS {metrics['lpips']:.4f}")
    parts = {n: metrics[n]["psnr"] for n in ("box", "head", "mouth", "eyes") if n in metrics}
    if parts:
        lines.append("  ".join(f"{name} {value:.2f} dB" for name, value in parts.items()))
    found = metrics.get("openings", {})
    if "blink" in found:
        lines.append(
            f"lids right in {100 * found['blink']['right']:.1f} %, lips in "
            f"{100 * found['mouth']['right']:.1f} % of {found['frames']} frames"
        )
    lines.append(metrics["protocol"])
    if "photometric" in metrics:
        apart = metrics["photometric"]
        pair = [m.get("box", m)["psnr"] for m in (apart["tracked_only"], apart)]
        lines.append(
            f"apart, after a photometric stage: PSNR {apart['psnr']:.2f} dB (the same frames "
            f"without it {apart['tracked_only']['psnr']:.2f}), box {pair[1]:.2f} "
            f"({pair[0]:.2f}), {apart['seconds_per_frame']:.2f} s a frame; {apart['protocol']}"
        )
    return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Moment:
    """One held-out frame: what was recorded, what was drawn, and where the head is."""

    truth: Float[Tensor, "H W 3"]
    drawn: Float[Tensor, "H W 3"]
    picture: Picture
    regions: UInt8[np.ndarray, "H W"] | None
    alpha: Float[Tensor, "H W"] | None
    landmarks: Float[Tensor, "K 2"] | None


TRIPLE = "truth | render | error x4"


def triple(moment: Moment) -> Tensor:
    """Truth, render and four times their difference, side by side."""
    error = (4 * (moment.drawn - moment.truth).abs()).clamp(max=1)
    return torch.cat([moment.truth, moment.drawn, error], 1)


def drawn_moment(
    avatar: Any, capture: Capture, track: Track, index: int, behind: Behind, device: str
) -> Moment:
    """A frame drawn with its own tracked camera, pose and expression."""
    camera = move(take(track.cameras, index), device)
    picture = avatar.render(camera, move(take(track.expressions, index), device))
    return moment_of(move(picture, "cpu"), capture, track, index, behind)


def moment_of(
    picture: Picture, capture: Capture, track: Track, index: int, behind: Behind
) -> Moment:
    """A picture beside what was recorded in that frame."""
    maps = track.maps
    alpha = maps.alpha(index) if maps is not None else None
    return Moment(
        capture[index].rgb,
        picture.over(behind.at(take(track.cameras, index))).clamp(0, 1),
        picture,
        maps.regions(index) if maps is not None else None,
        None if alpha is None else torch.from_numpy(alpha).float() / 255,
        None if track.landmarks is None else track.landmarks[index],
    )


def figures(moment: Moment, lpips: Measure | None) -> dict[str, Any]:
    """One frame's row of `metrics.json`."""
    drawn, truth, regions = moment.drawn, moment.truth, moment.regions
    row: dict[str, Any] = compared(drawn, truth, lpips)
    box = head_box(moment.landmarks, regions, truth.shape[1], truth.shape[0])
    if box is not None:
        row["box"] = compared(drawn[box], truth[box])
    if regions is None:
        return row
    head = on_white(moment.picture.over(1.0).clamp(0, 1), truth, regions, moment.alpha)
    if head is not None:
        row["head"] = compared(*head)
    return row | regional(drawn, truth, regions)


def learned_perceptual(device: str, smallest: int) -> tuple[Measure | None, str]:
    """LPIPS (AlexNet) when its weights are in the data folder, and a note that says what was used;
    nothing is downloaded."""
    try:
        folder = find_asset("lpips")
    except Missing as error:
        return None, f"LPIPS was not measured: {error}"
    if smallest < SMALLEST:
        return None, f"LPIPS was not measured: it needs pictures of {SMALLEST} pixels at least."
    model = load_lpips(folder).to(device)

    def measure(a: Tensor, b: Tensor) -> float:
        return float(model(a.to(device), b.to(device)))

    return measure, "LPIPS 0.1, AlexNet, of whole frames"
