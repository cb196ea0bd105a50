"""`likeness evaluate`: frames the avatar never saw, against what was recorded."""

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from likeness.core.avatar import Picture
from likeness.core.batching import move, take
from likeness.core.capture import Capture
from likeness.core.files import write_json
from likeness.core.media import save_png
from likeness.core.progress import counted
from likeness.core.regions import HEAD_REGIONS, REGION
from likeness.core.track import Track
from likeness.ops.image import l1, perceptual, psnr, ssim
from likeness.verbs.loading import (
    Behind,
    device_of,
    held_out,
    known_backdrop,
    open_avatar,
    open_pair,
)

_log = logging.getLogger(__name__)
PICTURES = 6
_MOUTH = ("lips", "mouth", "teeth", "tongue")
_EYES = ("eyes", "irises")


def evaluate(
    avatar: Path,
    capture: Path,
    track: Path,
    out: Path,
    split: str = "test",
    device: str = "auto",
) -> None:
    """Render held-out frames with their own pose and expression, and compare with the recording.

    Writes metrics.json, which spells its protocol out, and pictures of truth, render and error.

    Args:
        avatar: The avatar folder.
        capture: The capture folder.
        track: Its track folder.
        out: Where metrics.json and the pictures go.
        split: test, validation or train.
        device: "cpu", "cuda", or "auto".
    """
    where = device_of(device)
    recording, found = open_pair(capture, track)
    metrics = score(open_avatar(avatar, where), recording, found, Path(out), split, where)
    write_json(Path(out) / "metrics.json", metrics)


@torch.no_grad()
def score(
    avatar: Any, capture: Capture, track: Track, out: Path, split: str = "test", device: str = "cpu"
) -> dict[str, Any]:
    """The figures of one split, as `metrics.json` holds them; pictures go to `out`."""
    frames = held_out(capture, track, split)
    width, height = track.cameras.width, track.cameras.height
    behind = known_backdrop(avatar, capture, track)
    shown = {frames[round(i)] for i in np.linspace(0, len(frames) - 1, PICTURES)}
    lpips = learned_perceptual(device)
    rows = []
    for index in counted(frames, "comparing held-out frames"):
        moment = _rendered(avatar, capture, track, index, behind, device)
        rows.append({"frame": index, **_figures(moment, lpips)})
        if index in shown:
            error = (4 * (moment.drawn - moment.truth).abs()).clamp(max=1)
            triple = torch.cat([moment.truth, moment.drawn, error], 1)
            save_png(out / f"frame_{index:06d}.png", triple, "truth | render | error x4")
    protocol = (
        f"split: {split} ({len(frames)} frames, numbers {frames[0]} to {frames[-1]}, only those "
        f"with a tracked face; each drawn with its own tracked camera, pose and expression, "
        f"nothing fitted to it); crop: the whole picture; resolution: {width}x{height}; "
        f"background: {behind.origin}; head: head regions of the track times its matte, truth and "
        "render on white, everything else white in both; mouth and eyes: PSNR inside the box "
        "around those regions, widened by a quarter; totals are means over frames, sRGB in [0, 1]"
    )
    return {"protocol": protocol, "split": split, "frames": len(frames), **totals(rows)}


@dataclass(frozen=True, eq=False)
class Moment:
    """One held-out frame: what was recorded, what was drawn, and where the head is."""

    truth: Float[Tensor, "H W 3"]
    drawn: Float[Tensor, "H W 3"]
    picture: Picture
    regions: UInt8[np.ndarray, "H W"] | None
    alpha: Float[Tensor, "H W"] | None


def _rendered(
    avatar: Any, capture: Capture, track: Track, index: int, behind: Behind, device: str
) -> Moment:
    camera = move(take(track.cameras, index), device)
    picture = move(avatar.render(camera, move(take(track.expressions, index), device)), "cpu")
    maps = track.maps
    regions = maps.regions(index) if maps is not None else None
    alpha = maps.alpha(index) if maps is not None else None
    return Moment(
        capture[index].rgb,
        picture.over(behind.at(take(track.cameras, index))).clamp(0, 1),
        picture,
        regions,
        None if alpha is None else torch.from_numpy(alpha).float() / 255,
    )


def _figures(moment: Moment, lpips: Callable[[Tensor, Tensor], float] | None) -> dict[str, Any]:
    row: dict[str, Any] = compared(moment.drawn, moment.truth)
    if lpips is not None:
        row["lpips"] = lpips(moment.drawn, moment.truth)
    if moment.regions is None:
        return row
    head = on_white(moment)
    if head is not None:
        row["head"] = compared(*head)
    for name, regions in (("mouth", _MOUTH), ("eyes", _EYES)):
        box = box_of(moment.regions, regions)
        if box is not None:
            row[name] = {"psnr": float(psnr(moment.drawn[box], moment.truth[box]))}
    return row


def compared(drawn: Tensor, truth: Tensor) -> dict[str, float]:
    return {
        "psnr": float(psnr(drawn, truth)),
        "ssim": float(ssim(drawn, truth)),
        "l1": float(l1(drawn, truth)),
        "perceptual": float(perceptual(drawn, truth)),
    }


def on_white(moment: Moment) -> tuple[Tensor, Tensor] | None:
    """Render and truth of the head alone on white; None where no head is to be seen."""
    assert moment.regions is not None
    labels = np.array([REGION[name] for name in HEAD_REGIONS])
    inside = torch.from_numpy(np.isin(moment.regions, labels))
    if not bool(inside.any()):
        return None
    share = inside.float() if moment.alpha is None else inside * moment.alpha
    truth = moment.truth * share[..., None] + (1 - share[..., None])
    drawn = torch.where(inside[..., None], moment.picture.over(1.0).clamp(0, 1), 1.0)
    return drawn, truth


def box_of(regions: UInt8[np.ndarray, "H W"], names: tuple[str, ...]) -> tuple[slice, slice] | None:
    """The box around some regions, a quarter wider and higher; None when none is seen."""
    rows, columns = np.nonzero(np.isin(regions, [REGION[name] for name in names]))
    if len(rows) == 0:
        return None

    def span(at: np.ndarray, size: int) -> slice:
        margin = max(2, round(0.125 * (int(at.max()) - int(at.min()) + 1)))
        return slice(max(0, int(at.min()) - margin), min(size, int(at.max()) + 1 + margin))

    return span(rows, regions.shape[0]), span(columns, regions.shape[1])


def totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over frames, the spread, and the frames themselves."""
    whole = ("psnr", "ssim", "l1", "perceptual", "lpips")
    result: dict[str, Any] = {n: fmean(r[n] for r in rows) for n in whole if n in rows[0]}
    for part in ("head", "mouth", "eyes"):
        seen = [r[part] for r in rows if part in r]
        if seen:
            result[part] = {n: fmean(s[n] for s in seen) for n in seen[0]} | {"frames": len(seen)}
    result["std"] = {n: pstdev(r[n] for r in rows) for n in whole if n in rows[0]}
    result["worst"] = {"psnr": min(r["psnr"] for r in rows)}
    result["per_frame"] = rows
    return result


def learned_perceptual(device: str) -> Callable[[Tensor, Tensor], float] | None:
    """LPIPS (AlexNet) when its package and weights are on this machine already; nothing is
    downloaded."""
    weights = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    if importlib.util.find_spec("lpips") is None or not weights.exists():
        return None
    import lpips  # pyright: ignore[reportMissingImports]

    model = lpips.LPIPS(net="alex", verbose=False).to(device).eval()

    def measure(a: Tensor, b: Tensor) -> float:
        x, y = (2 * p.permute(2, 0, 1)[None].to(device) - 1 for p in (a, b))
        return float(model(x, y))

    return measure
