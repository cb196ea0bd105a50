"""`likeness export`: an avatar in a format that opens elsewhere."""

import ast
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from likeness.captures import open_capture
from likeness.core.batching import move
from likeness.core.errors import BadInput, Missing, Unsupported, unknown
from likeness.core.track_files import read_track
from likeness.exporters import EXPORTERS
from likeness.exporters.motion import Motion, moment
from likeness.exporters.motion_csv import read_motion_csv
from likeness.exporters.motion_json import read_motion_json
from likeness.exporters.motion_npz import read_motion_npz
from likeness.exporters.notes import Note
from likeness.training.checkpoints import about_avatar
from likeness.verbs.export_track import capture_near, export_track, is_track, refuse
from likeness.verbs.loading import open_avatar
from likeness.verbs.moments import at_rest, shape_names, with_settings

_TALENTS = {
    "HasSplats": "splats",
    "HasMesh": "a mesh",
    "HasRig": "a rig",
    "Avatar": "a picture of itself",
    "LinearSplats": "splats that a short linear code moves",
}
_RATE = 25.0  # frames a second of a track whose recording does not say


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

    Without --to, lists the formats, which of them fit this avatar, and why the others do not.
    A track folder is written for other people's code: nerface, nerfstudio, vhap, or as motion.

    Args:
        avatar: The avatar folder, or a track folder.
        to: The format: page, ply, splat, spz, gltf-splats, splat-rig, glb, obj, usd,
            mesh-ply, json, csv, npz, bvh, mp4, webm, gif, webp, png.
        out: The file to write; by default beside the avatar, under its name.
        motion: A track folder, or a motion as .json, .csv (phone app) or .npz.
        expression: Coefficients by name for a single moment, such as jawOpen=0.4.
        fps: Frames a second of the motion, where it does not say. Another rate than the recording's
            leaves its sound out.
        label: Write "synthetic" into the corner of pictures.
        watermark: Hide a mark in pictures that usual re-encoding leaves in; `likeness verify`
            reads it.
        options: Options of the format by name, such as texture=2048.
        capture: What a track was tracked from, where it is not beside it.
    """
    if is_track(avatar):
        refuse(motion, expression, options)
        return export_track(Path(avatar), to, out, capture)
    head = open_avatar(avatar)
    if not to:
        return "\n".join(fitting(head))
    if to not in EXPORTERS:
        raise unknown("export format", to, EXPORTERS.names())
    kind = EXPORTERS.load(to)
    if reason := why_not(kind, head):
        raise Unsupported(f"Exporting {to} needs {reason}. `likeness export {avatar}` lists them.")
    exporter = kind(**_options(to, kind, options), **_marks(to, kind, label, watermark))
    if motion is not None and expression:
        raise BadInput("--motion brings its own expressions; leave --expression out.")
    if motion is not None:
        what = open_motion(motion, head, fps)
    else:
        rest = at_rest(head)
        names = shape_names(rest.rig, len(rest.coefficients))
        what = moment(with_settings(rest, expression, names))
    target = Path(out) if out is not None else beside(Path(avatar), kind.suffix)
    if target.suffix.lower() != kind.suffix:
        raise BadInput(f"--out {target} should end in {kind.suffix} for --to {to}.")
    began = time.perf_counter()
    with torch.no_grad():
        written = exporter.export(head, target, what, note_of(avatar))
    return f"{written}  ({_size(Path(written))}, {time.perf_counter() - began:.1f} s)"


def fitting(avatar: Any) -> list[str]:
    """A line for every format: that it fits, or what it lacks."""
    width = max(map(len, EXPORTERS.names()))
    lines = []
    for name in EXPORTERS:
        try:
            kind = EXPORTERS.load(name)
        except Missing as error:
            lines.append(f"--  {name:<{width}}  {error}")
            continue
        reason = why_not(kind, avatar)
        first = (kind.__doc__ or "").strip().partition("\n")[0]
        told = f"needs {reason}" if reason else first
        lines.append(f"{'--' if reason else 'ok'}  {name:<{width}}  {told}")
    return lines


def why_not(kind: Any, avatar: Any) -> str:
    """What an exporter needs that the avatar has not; empty when it fits."""
    if isinstance(avatar, kind.needs):
        return ""
    name = kind.needs.__name__
    return f"{_TALENTS.get(name, name)}, and {type(avatar).__name__} has none"


def note_of(folder: str | Path) -> Note:
    """The subject's name and consent that an avatar folder keeps."""
    folder = Path(folder)
    if not (folder / "avatar.json").exists() and (folder / "avatar").is_dir():
        folder = folder / "avatar"
    consent = about_avatar(folder).get("consent")
    return Note(_name(folder), str(consent) if consent else None)


def _name(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if folder.name == "avatar" else folder.name


def beside(folder: Path, suffix: str) -> Path:
    return folder / f"{_name(folder) or 'head'}{suffix}"


def open_motion(path: str | Path, avatar: Any, fps: float | None = None) -> Motion:
    """A motion for this avatar from any format we read; another rig's is refused."""
    path = Path(path)
    if (path / "track.json").is_file():
        motion = _recorded(path, fps)
    elif path.is_dir():
        raise BadInput(f"{path} holds no track. Run `likeness track` first.")
    else:
        readers = {".json": read_motion_json, ".csv": read_motion_csv, ".npz": read_motion_npz}
        if path.suffix.lower() not in readers:
            raise BadInput(f"{path} is no motion we read: a track folder, .json, .csv or .npz.")
        if not path.exists():
            raise BadInput(f"There is no file {path}.")
        motion = readers[path.suffix.lower()](path)
        motion = motion if fps is None else Motion(motion.expressions, fps)
    if motion.expressions.rig != avatar.rig:
        raise Unsupported(
            f"{path} moves the rig {motion.expressions.rig!r}; this avatar has {avatar.rig!r}. "
            "Retarget it first."
        )
    width, wanted = motion.expressions.coefficients.shape[-1], len(at_rest(avatar).coefficients)
    if width != wanted:
        raise Unsupported(
            f"{path} holds {width} coefficients a moment; this avatar listens to {wanted}. "
            "Track or export it again."
        )
    return _placed(motion, path, avatar)


def _recorded(path: Path, fps: float | None) -> Motion:
    """A track's motion, with the sound of the capture beside or around it."""
    expressions = read_track(path).expressions
    near = capture_near(path)
    if near is None:
        return Motion(expressions, fps or _RATE)
    capture = open_capture(near)
    rate = fps or capture.fps or _RATE
    whole = len(capture.times) == len(expressions.coefficients) and fps in (None, capture.fps)
    return Motion(expressions, rate, capture.sound if whole and capture.fps else None)


def _placed(motion: Motion, path: Path, avatar: Any) -> Motion:
    """The phone app tells no place: the head turns where the avatar's rests."""
    if path.suffix.lower() != ".csv":
        return motion
    rest = at_rest(avatar)
    count = len(motion)
    torso = rest.world_from_torso
    moved = replace(
        motion.expressions,
        world_from_head=rest.world_from_head @ motion.expressions.world_from_head,
        world_from_torso=None if torso is None else torso.expand(count, 4, 4),
    )
    return Motion(move(moved, "cpu"), motion.fps, motion.sound)


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
