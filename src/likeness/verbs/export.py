"""`likeness export`: an avatar in a format that opens elsewhere, or a track's motion."""

import ast
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from likeness.core.errors import BadInput, Unsupported, unknown
from likeness.exporters import EXPORTERS
from likeness.exporters.motion import Motion, moment
from likeness.exporters.notes import Note
from likeness.training.checkpoints import about_avatar
from likeness.verbs.export_track import LAYOUTS, export_track, is_track, layouts
from likeness.verbs.formats import fitting, needing, why_not
from likeness.verbs.loading import avatar_folder, open_avatar
from likeness.verbs.moments import at_rest, shape_names, with_settings
from likeness.verbs.motions import Recorded, as_it_is, consent_near, is_motion, open_motion


def export(
    avatar: Path,
    to: str = "",
    out: Path | None = None,
    motion: Path | None = None,
    expression: tuple[str, ...] = (),
    fps: float | None = None,
    label: bool = False,
    watermark: bool = False,
    options: tuple[str, ...] = (),
    capture: Path | None = None,
) -> str:
    """Write an avatar as splats, a mesh, motion, or a page to send to a friend.

    Without --to, lists the formats, which of them fit this avatar, and why the others do not;
    so does `likeness export AVATAR --help`.

    Args:
        avatar: The avatar folder; or a track folder or a file of motion, to be written as json,
            csv, npz or bvh; a track also as a folder for other people's code: nerface, nerfstudio,
            vhap.
        to: The format: page, ply, splat, spz, gltf-splats, splat-rig, glb, obj, usd,
            mesh-ply, json, csv, npz, bvh, mp4, webm, gif, webp, png.
        out: The file to write; by default beside the avatar, under its name.
        motion: A track folder, or a motion as .json, .csv (phone app), .npz or .bvh (head only).
        expression: Coefficients by name for a single moment, such as jawOpen=0.4.
        fps: Frames a second of the motion, where it does not say. Another rate than the recording's
            leaves its sound out.
        label: Write "synthetic" into the corner of pictures.
        watermark: Hide a mark in pictures that usual re-encoding leaves in; `likeness verify`
            reads it.
        options: Options of the format by name, such as texture=2048.
        capture: What a track was tracked from, where it is not beside it.
    """
    if to in LAYOUTS:
        return export_track(Path(avatar), to, out, capture)
    head, recorded = opened(avatar, fps)
    if not to:
        return "\n".join([*fitting(head), *(layouts() if is_track(avatar) else ())])
    if to not in EXPORTERS:
        raise unknown("export format", to, EXPORTERS.names())
    kind = EXPORTERS.load(to)
    if reason := why_not(kind, head):
        raise Unsupported(f"Exporting {to} {reason}. `likeness export {avatar}` lists what fits.")
    exporter = kind(**_options(to, kind, options), **_marks(to, kind, label, watermark))
    if recorded is not None and (motion is not None or expression):
        raise BadInput(f"{avatar} is a motion itself; leave --motion and --expression out.")
    if motion is not None and expression:
        raise BadInput("--motion brings its own expressions; leave --expression out.")
    if recorded is not None:
        what = recorded
    elif motion is not None:
        what = open_motion(motion, head, fps)
    else:
        rest = at_rest(head)
        names = shape_names(rest.rig, len(rest.coefficients))
        what = moment(with_settings(rest, expression, names))
    target = Path(out) if out is not None else beside(Path(avatar), kind.suffix)
    if target.suffix.lower() != kind.suffix:
        raise BadInput(f"--out {target} should end in {kind.suffix} for --to {to}.")
    if target.resolve() == Path(avatar).resolve():
        raise BadInput(f"--out {target} is the file that is read. Choose another.")
    began = time.perf_counter()
    with torch.no_grad():
        written = exporter.export(head, target, what, note_of(avatar))
    return f"{written}  ({_size(Path(written))}, {time.perf_counter() - began:.1f} s)"


def more_help(arguments: Sequence[str]) -> str:
    """Below `likeness export --help`: what fits the avatar named before it, or what there is."""
    for word in arguments:
        if not word.startswith("-") and (is_motion(word) or _is_avatar(Path(word))):
            return "\n".join([f"Formats for {word}:", *fitting(opened(word)[0])])
    listed = ["Formats (name an avatar before --help to see which fit it):", *needing()]
    return "\n".join(listed)


def opened(path: str | Path, fps: float | None = None) -> tuple[Any, Motion | None]:
    """An avatar; or what is exported of a motion, and the motion."""
    if not is_motion(path):
        return open_avatar(path), None
    motion = as_it_is(path, fps)
    return Recorded(motion.expressions.rig), motion


def _is_avatar(folder: Path) -> bool:
    return (avatar_folder(folder) / "avatar.json").is_file()


def note_of(folder: str | Path) -> Note:
    """The subject's name and consent that an avatar folder keeps, or the capture of a track."""
    if is_motion(folder):
        return Note(_name(Path(folder)), consent_near(Path(folder)))
    folder = avatar_folder(folder)
    consent = about_avatar(folder).get("consent")
    return Note(_name(folder), str(consent) if consent else None)


def _name(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if folder.name in ("avatar", "track") else folder.stem


def beside(folder: Path, suffix: str) -> Path:
    """A file in the avatar's folder, or beside a file of motion."""
    inside = folder if folder.is_dir() else folder.parent
    return inside / f"{_name(folder) or 'head'}{suffix}"


def _marks(name: str, kind: Any, label: bool, watermark: bool) -> dict[str, bool]:
    """The optional marks, for formats that have room for them."""
    wanted = {"label": label, "watermark": watermark}
    asked = {key: True for key, value in wanted.items() if value}
    known = [field.name for field in fields(kind)]
    for key in asked:
        if key not in known:
            raise BadInput(f"--{key} is for pictures: only pictures have room for it, not {name}.")
    return asked


def _options(name: str, kind: Any, words: tuple[str, ...]) -> dict[str, Any]:
    known = [field.name for field in fields(kind)]
    given = {}
    for word in " ".join(words).split():
        key, equals, text = word.partition("=")
        if not equals:
            raise BadInput(f"--options {word!r} should look like name=value.")
        if key not in known:
            raise unknown(f"option of {name}", key, known)
        given[key] = _value(text)
        wanted = type(next(field.default for field in fields(kind) if field.name == key))
        if wanted is float and type(given[key]) is int:
            given[key] = float(given[key])
        if not isinstance(given[key], wanted):
            raise BadInput(f"--options {word!r}: {key} is of type {wanted.__name__}.")
    return given


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _size(path: Path) -> str:
    files = [path] if path.is_file() else list(path.rglob("*"))
    total = sum(file.stat().st_size for file in files if file.is_file())
    return f"{total / 1e6:.2f} MB"
