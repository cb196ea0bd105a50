"""Curves of a track over time, as one SVG: pose, place, and what the face does."""

import html
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from likeness.core.geometry import invert_rigid, matrix_to_axis_angle
from likeness.core.track import Track

_COLOURS = ("#0b62a4", "#d1495b", "#2a9d5c", "#8e5ea2", "#c77d11", "#4a4a4a")
_WIDE, _TALL, _LEFT, _RIGHT, _GAP, _TOP = 860, 120, 70, 150, 46, 58
_GROUPS = {
    "jaw": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "pucker": ("mouthPucker", "mouthFunnel"),
    "blink left": ("eyeBlinkLeft",),
    "blink right": ("eyeBlinkRight",),
    "brows up": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "brows down": ("browDownLeft", "browDownRight"),
}
_LOOKS = ("eyeLookOutLeft", "eyeLookInLeft", "eyeLookUpLeft", "eyeLookDownLeft")
Curves = dict[str, Float[np.ndarray, " T"]]


def curves(track: Track, times: Sequence[float], names: tuple[str, ...], title: str) -> str:
    """An SVG document; frames without a face are gaps."""
    parts = panels(track, names)
    height = _TOP + len(parts) * (_TALL + _GAP)
    seconds = np.asarray(times, float)
    seen = track.confidence.numpy() > 0
    drawn = [_text(_LEFT, 22, f"{title}: {int(seen.sum())} of {len(seen)} frames", "start", 15)]
    for number, (name, rows) in enumerate(parts.items()):
        drawn.append(_panel(_TOP + number * (_TALL + _GAP), name, rows, seconds, seen))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {height}" '
        f'font-family="sans-serif"><rect width="{_WIDE}" height="{height}" fill="white"/>'
        f"{''.join(drawn)}</svg>\n"
    )


def panels(track: Track, names: tuple[str, ...]) -> dict[str, Curves]:
    """What is drawn: curves by panel and name."""
    head = track.expressions.world_from_head
    turn = matrix_to_axis_angle(head[:, :3, :3]).rad2deg().numpy()
    place = 1000 * (head[:, :3, 3] - head[:, :3, 3].median(0).values).numpy()
    found: dict[str, Curves] = {
        "turn, degrees": {n: turn[:, i] for n, i in (("yaw", 1), ("pitch", 0), ("roll", 2))},
        "place, mm": {n: place[:, i] for i, n in enumerate(("left", "up", "ahead"))},
    }
    values = track.expressions.coefficients.numpy()
    groups = {
        label: values[:, [names.index(n) for n in members]].mean(-1)
        for label, members in _GROUPS.items()
        if set(members) <= set(names)
    }
    if groups:
        eyes = {k: v for k, v in groups.items() if k.startswith(("blink", "brows"))}
        found["mouth"] = {k: v for k, v in groups.items() if k not in eyes}
        found["lids and brows"] = eyes
    elif values.shape[1]:
        most = np.argsort(-values.std(0))[:6]
        found["coefficients that move most"] = {names[i]: values[:, i] for i in most}
    if set(_LOOKS) <= set(names):
        out, inwards, up, down = (values[:, names.index(n)] for n in _LOOKS)
        found["gaze"] = {"left": out - inwards, "up": up - down}
    torso = track.expressions.world_from_torso
    if torso is not None:
        away = torso @ invert_rigid(torso[:1])
        shift = 1000 * away[:, :3, 3].numpy()
        found["shoulders, mm"] = {n: shift[:, i] for i, n in enumerate(("left", "up"))}
    confidence = track.confidence.to(torch.float32).numpy()
    found["confidence"] = {"confidence": confidence}
    return found


def _panel(top: float, name: str, rows: Curves, seconds: np.ndarray, seen: np.ndarray) -> str:
    shown = np.concatenate([r[seen] for r in rows.values()]) if seen.any() else np.zeros(1)
    low, high = float(min(shown.min(), 0)), float(max(shown.max(), 0))
    room = 0.05 * (high - low) or 0.5
    low, high = low - room, high + room
    wide = _WIDE - _LEFT - _RIGHT
    span = max(float(seconds[-1] - seconds[0]), 1e-9)
    x = _LEFT + wide * (seconds - seconds[0]) / span
    parts = [
        f'<rect x="{_LEFT}" y="{top}" width="{wide}" height="{_TALL}" fill="#f6f6f6"/>',
        _text(_LEFT - 8, top - 8, name, "start", 12),
    ]
    for value in sorted({v for v in (low, 0.0, high) if v == 0 or abs(v) > 0.1 * (high - low)}):
        y = top + _TALL * (high - value) / (high - low)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + wide}" y2="{y:.1f}" stroke="#ccc"/>'
        )
        parts.append(_text(_LEFT - 8, y + 4, f"{value:.3g}", "end", 10))
    for place in (0.0, 0.5, 1.0):
        when = f"{seconds[0] + place * span:.1f} s"
        parts.append(_text(_LEFT + wide * place, top + _TALL + 14, when, "middle", 10, "#666"))
    for number, (label, row) in enumerate(rows.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        y = top + _TALL * (high - row) / (high - low)
        for run in _runs(seen):
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[run], y[run], strict=True))
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
            )
        parts.append(_text(_WIDE - _RIGHT + 10, top + 14 + 17 * number, label, "start", 12, colour))
    return "".join(parts)


def _runs(seen: np.ndarray) -> list[slice]:
    """Stretches of frames in which a face was seen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _text(x: float, y: float, text: str, anchor: str, size: int, colour: str = "#222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">'
        f"{html.escape(text)}</text>"
    )
