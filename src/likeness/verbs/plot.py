"""A plot of a few curves as SVG, without any drawing library."""

import html
import math
from collections.abc import Mapping, Sequence

_COLOURS = ("#0b62a4", "#d1495b", "#2a9d5c", "#8e5ea2", "#c77d11", "#4a4a4a")
_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 40, 52
Points = Sequence[tuple[float, float]]


def plot(title: str, across: str, up: str, curves: Mapping[str, Points]) -> str:
    """An SVG document. `curves` are points (x, y) by name; x has logarithmic steps when it spans
    more than a factor of four and is above 0."""
    points = [p for curve in curves.values() for p in curve]
    if not points:
        points = [(0.0, 0.0)]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    logarithmic = min(xs) > 0 and max(xs) > 4 * min(xs)
    low, high = _wider(min(ys), max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        first, last = (math.log(v) if logarithmic else v for v in (min(xs), max(xs)))
        here = math.log(x) if logarithmic else x
        share = (here - first) / (last - first) if last > first else 0.5
        wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + wide * share, _TOP + tall * (1 - (y - low) / (high - low))

    parts = [_text(_WIDTH / 2, 22, title, "middle", 15)]
    for value in _ticks(low, high):
        y = place(xs[0], value)[1]
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, "#dddddd"))
        parts.append(_text(_LEFT - 8, y + 4, f"{value:g}", "end"))
    for value in sorted(set(xs)):
        x = place(value, low)[0]
        parts.append(_line(x, _HEIGHT - _BOTTOM, x, _HEIGHT - _BOTTOM + 5, "#666666"))
        parts.append(_text(x, _HEIGHT - _BOTTOM + 20, f"{value:g}", "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, across, "middle"))
    parts.append(_text(8, _TOP - 12, up, "start"))
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        drawn = [place(*p) for p in sorted(curve)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
        parts.append(
            f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in drawn]
        y = _TOP + 8 + 20 * number
        x = _WIDTH - _RIGHT + 14
        parts.append(_line(x, y, x + 18, y, colour, 2))
        parts.append(_text(x + 24, y + 4, name, "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _wider(low: float, high: float) -> tuple[float, float]:
    margin = 0.08 * (high - low) or 0.5
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Round values within a range, four to nine of them."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 9)
    first = math.ceil(low / step)
    return [round(k * step, 10) for k in range(first, math.floor(high / step) + 1)]


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, width: int = 1) -> str:
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
        f"{html.escape(text)}</text>"
    )
