"""`likeness report`: one page about a build, with pictures and curves, that needs nothing else."""

import base64
import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from likeness.core.errors import BadInput
from likeness.core.files import read_json, write_text

_MOST_VIDEO = 24 << 20  # bytes of preview put into the page; a larger one is linked


def report(folder: Path) -> None:
    """Write `report.html` of a build: figures, pictures, curves, capture check, consent.

    Args:
        folder: What `likeness build --out` named.
    """
    folder = Path(folder)
    if not (folder / "metrics.json").exists():
        raise BadInput(f"{folder} holds no metrics.json. Run `likeness build ... --out {folder}`.")
    metrics = read_json(folder / "metrics.json")
    capture = read_json(folder / "capture" / "capture.json")
    track = read_json(folder / "track" / "track.json")
    avatar = read_json(folder / "avatar" / "avatar.json")
    page = Template((files("likeness.verbs") / "report.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title=html.escape(str(capture.get("name") or folder.name)),
        consent=html.escape(str(capture.get("consent") or "No consent was recorded.")),
        tiles=tiles(metrics),
        protocol=html.escape(str(metrics.get("protocol", ""))),
        video=video(folder / "preview.mp4") + page_link(folder / "avatar.html"),
        pictures=pictures(folder / "evaluation"),
        curves=curves(folder, metrics),
        check=check(track.get("report") or {}),
        about=rows(
            {
                "method": avatar.get("method"),
                "rig": track.get("rig"),
                "frames": track.get("frames"),
                "picture size": f"{track.get('width')} x {track.get('height')}",
                **{k: v for k, v in (avatar.get("settings") or {}).items()},
            }
        ),
    )
    write_text(folder / "report.html", text)


def tiles(metrics: dict[str, Any]) -> str:
    """The figures a reader looks for first."""
    shown = []
    for scope, values in (("full frame", metrics), ("head on white", metrics.get("head") or {})):
        for name, unit in (("psnr", " dB"), ("ssim", ""), ("l1", ""), ("perceptual", "")):
            value = values.get(name)
            if isinstance(value, int | float):
                digits = 2 if name == "psnr" else 4
                shown.append(
                    f'<div class="tile"><b>{value:.{digits}f}{unit}</b>'
                    f"<span>{name.upper()} · {scope}</span></div>"
                )
    return "\n".join(shown)


def video(path: Path) -> str:
    if not path.exists():
        return ""
    if path.stat().st_size > _MOST_VIDEO:
        return f'<video controls loop muted src="{html.escape(path.name)}"></video>'
    return f'<video controls loop muted autoplay src="{embedded(path, "video/mp4")}"></video>'


def page_link(path: Path) -> str:
    """A link to the page with the avatar itself, when it lies beside the report."""
    if not path.exists():
        return ""
    return f'<p><a href="{html.escape(path.name)}">Turn it and move its face yourself</a></p>'


def pictures(folder: Path) -> str:
    """Truth, render and error of a few held-out frames, as the evaluation drew them."""
    found = sorted(folder.glob("*.png"))[:6]
    return "\n".join(
        f'<img alt="{html.escape(p.stem)}" src="{embedded(p, "image/png")}">' for p in found
    )


def embedded(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def curves(folder: Path, metrics: dict[str, Any]) -> str:
    """PSNR of each held-out frame, and what training said on its way."""
    drawn = []
    frames = metrics.get("per_frame")
    if isinstance(frames, list) and len(frames) > 1:
        values = [f["psnr"] for f in frames if isinstance(f.get("psnr"), int | float)]
        drawn.append(curve("PSNR of each held-out frame, dB", values))
    log = folder / "avatar" / "log.json"
    if log.exists():
        steps = read_json(log).get("steps") or []
        for name in ("loss", "psnr"):
            values = [s[name] for s in steps if isinstance(s.get(name), int | float)]
            if len(values) > 1:
                drawn.append(curve(f"training: {name}", values))
    return "\n".join(drawn)


def curve(title: str, values: Sequence[float], width: int = 460, height: int = 150) -> str:
    """One line as inline SVG, with its least and greatest value written beside it."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    last = max(len(values) - 1, 1)
    points = " ".join(
        f"{10 + (width - 20) * i / last:.1f},{height - 12 - (height - 30) * (v - low) / span:.1f}"
        for i, v in enumerate(values)
    )
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox="0 0 {width} {height}">'
        f'<polyline points="{points}"/><text x="10" y="14">{high:.3g}</text>'
        f'<text x="10" y="{height - 2}">{low:.3g}</text></svg></figure>'
    )


def check(found: dict[str, Any]) -> str:
    """What the capture check said, and what to record next."""
    parts = []
    if verdict := found.get("verdict"):
        parts.append(f"<p><b>{html.escape(str(verdict))}</b></p>")
    advice = found.get("record_next") or found.get("advice")
    if isinstance(advice, list) and advice:
        lines = "".join(f"<li>{html.escape(str(line))}</li>" for line in advice)
        parts.append(f"<p>Record this next:</p><ul>{lines}</ul>")
    figures = {k: v for k, v in found.items() if isinstance(v, int | float | str)}
    figures.pop("verdict", None)
    return "".join(parts) + rows(figures)


def rows(values: dict[str, Any]) -> str:
    lines = []
    for name, value in values.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        label = html.escape(str(name).replace("_", " "))
        lines.append(f"<tr><th>{label}</th><td>{html.escape(text)}</td></tr>")
    return f"<table>{''.join(lines)}</table>" if lines else ""
