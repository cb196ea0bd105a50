"""Which export formats fit an avatar, and why the others do not."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from likeness.core.errors import LikenessError, Missing
from likeness.exporters import EXPORTERS
from likeness.verbs.motions import Recorded

MARKS = ("label", "watermark")
"""Options of formats that have flags of their own."""
_TALENTS = {
    "HasSplats": "splats",
    "HasMesh": "a mesh",
    "HasRig": "a rig",
    "Avatar": "a picture of itself",
    "LinearSplats": "splats that a short linear code moves",
    "Moves": "a motion",
}


def fitting(avatar: Any) -> list[str]:
    """A line for every format: that it fits, or what it lacks."""
    lines = []
    for name, kind, told in _kinds():
        reason = told if kind is None else why_not(kind, avatar) or not_installed(kind)
        lines.append(_line("--" if reason else "ok", name, reason or _first(kind)))
    return lines


def needing() -> list[str]:
    """A line for every format: what it is, and what it needs of an avatar."""
    lines = []
    for name, kind, told in _kinds():
        if kind is not None:
            told = not_installed(kind) or f"{_first(kind)} Needs {_talent(kind)}.{_choices(kind)}"
        lines.append(_line(" ", name, told))
    return lines


def why_not(kind: Any, avatar: Any) -> str:
    """What an exporter needs that the avatar has not; empty when it fits."""
    if isinstance(avatar, kind.needs):
        return ""
    who = "a motion on its own" if isinstance(avatar, Recorded) else type(avatar).__name__
    return f"needs {_talent(kind)}, and {who} has none"


def not_installed(kind: Any) -> str:
    """What must be installed first, for exporters that say so by `installed()`."""
    try:
        getattr(kind, "installed", bool)()
    except Missing as error:
        return str(error)
    return ""


def _kinds() -> Iterator[tuple[str, Any, str]]:
    """Name and class of each format; without a class, what is wrong with its row."""
    for name in EXPORTERS:
        try:
            yield name, EXPORTERS.load(name), ""
        except LikenessError as error:
            yield name, None, str(error)


def _line(sign: str, name: str, told: str) -> str:
    return f"{sign:<2}  {name:<{max(map(len, EXPORTERS.names()))}}  {told}"


def _talent(kind: Any) -> str:
    name: str = kind.needs.__name__
    return _TALENTS.get(name, name)


def _choices(kind: Any) -> str:
    """Its --options with what they are unless given."""
    plain = [f"{f.name}={f.default}" for f in fields(kind) if f.name not in MARKS]
    return f" Options: {' '.join(plain)}" if plain else ""


def _first(kind: Any) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]
