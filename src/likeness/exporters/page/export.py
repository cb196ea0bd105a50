"""`--to page`: the avatar, its animation and a viewer in one HTML file that needs nothing else."""

import base64
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from likeness.core.errors import Unsupported
from likeness.core.files import write_text
from likeness.exporters.motion import Motion, check_finite, names_of
from likeness.exporters.notes import Note
from likeness.exporters.page.payload import Payload

WEB = Path(__file__).parent / "web"
MODULES = (
    "codec",
    "algebra",
    "harmonics",
    "animate",
    "order",
    "draw",
    "motion",
    "controls",
    "main",
)
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


@runtime_checkable
class LinearSplats(Protocol):
    """Splats on a skinned surface, moved and shaded by a clamped linear code: what a page can
    evaluate by itself. The flagship avatar is one."""

    surface: Any
    code: Any
    regression: Any
    motion_atlas: Tensor
    shade_atlas: Tensor
    cells: Tensor
    cell_weights: Tensor
    rest_head: Tensor
    rest_torso: Tensor
    bends: int


@dataclass(frozen=True)
class Page:
    """One moment is a portrait to play with; a motion gets a play bar."""

    needs = LinearSplats
    suffix = ".html"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        check_finite(motion)
        write_text(path, page(payload(avatar, motion, note), note))
        return path


@torch.no_grad()
def payload(avatar: Any, motion: Motion, note: Note) -> Payload:
    """Everything of the avatar that drawing needs, and the motion."""
    for name, value in avatar.named_parameters():
        if not bool(torch.isfinite(value).all()) and name not in ("backdrop", "corrections"):
            raise Unsupported(f"The avatar's {name} holds numbers that are not finite. Fit again.")
    surface, what = avatar.surface, motion.expressions
    shapes, joints = names_of(avatar.rig, surface.coefficients, surface.joints.shape[0])
    made = Payload(
        shape_names=list(shapes),
        joint_names=list(joints),
        parents=list(surface.parents),
        personal=int(surface.personal),
        bends=int(avatar.bends),
        count=int(avatar.corners.shape[0]),
        fps=motion.fps,
        note=note.plain(),
    )
    for name in ("shapes", "skin"):
        made.stepped(name, getattr(surface, name))
    for name in ("template", "joints", "shape_joints"):
        made.exact(name, getattr(surface, name))
    for name in ("corners", "cells"):
        made.whole(name, getattr(avatar, name))
    plain = ("offset", "log_scale", "opacity", "colour", "motion_atlas", "shade_atlas")
    for name in (*plain, "weights", "cell_weights"):
        made.stepped(name, getattr(avatar, name))
    gleam = getattr(avatar, "gleam", None)
    if gleam is not None and gleam.shape[1]:
        made.stepped("gleam", gleam)
    closed = getattr(avatar, "closed", None)
    if closed is None:  # nothing says that any splat is part of a closed surface
        closed = torch.zeros(made.about["count"])
    made.whole("closed", closed.to(torch.uint8))
    made.stepped("rotation", torch.nn.functional.normalize(avatar.rotation, dim=-1))
    made.stepped("follow", torch.sigmoid(avatar.follow))
    for name in ("rest_head", "rest_torso"):
        made.exact(name, getattr(avatar, name))
    for part, names in (
        ("code", ("mean", "directions", "low", "high")),
        ("regression", ("mean", "weights", "bias", "low", "high")),
    ):
        for name in names:
            made.exact(f"{part}_{name}", getattr(getattr(avatar, part), name))
    for name in (
        "coefficients",
        "joints",
        "world_from_head",
        "world_from_torso",
        "personal",
        "torso",
    ):
        if (value := getattr(what, name)) is not None:
            made.exact(f"play_{name}", value)
    return made


def page(made: Payload, note: Note) -> str:
    """The whole document."""
    title = note.subject or "likeness"
    block = {"@context": "https://schema.org", "@type": "3DModel", **note.plain()}
    replacements = {
        "title": html.escape(title),
        "sentence": html.escape(note.sentence()),
        "about": json.dumps(block).replace("<", "\\u003c"),
        "style": (WEB / "style.css").read_text(encoding="utf-8"),
        "script": script(),
        "model": base64.b64encode(made.packed()).decode(),
    }
    text = (WEB / "template.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: replacements[found[1]], text)


def script() -> str:
    """The modules as one script: their imports go, because they share one scope."""
    parts = []
    for name in MODULES:
        text = (WEB / f"{name}.js").read_text(encoding="utf-8")
        parts.append(f"// {name}.js\n" + _EXPORT.sub("", _IMPORT.sub("", text)))
    return "\n".join(parts)
