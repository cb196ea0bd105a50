"""Motions that verbs open: tracks and files of motion, for one avatar or as they are."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from likeness.captures import open_capture
from likeness.core.batching import move
from likeness.core.errors import BadInput, Unsupported
from likeness.core.files import read_any_json
from likeness.core.track_files import read_track
from likeness.exporters.bvh import read_motion_bvh
from likeness.exporters.motion import Motion
from likeness.exporters.motion_csv import read_motion_csv
from likeness.exporters.motion_json import read_motion_json
from likeness.exporters.motion_npz import read_motion_npz
from likeness.verbs.moments import at_rest

_RATE = 25.0  # frames a second of a track whose recording does not say
_READERS = {
    ".json": read_motion_json,
    ".csv": read_motion_csv,
    ".npz": read_motion_npz,
    ".bvh": read_motion_bvh,
}


@dataclass(frozen=True)
class Recorded:
    """What is exported of a track or a file of motion: how it moves, not how it looks."""

    rig: str


def is_motion(path: str | Path) -> bool:
    """Whether `path` is a track or a file of motion rather than an avatar."""
    path = Path(path)
    if path.is_file():
        return path.suffix.lower() in _READERS
    return (path / "track.json").is_file() and not (path / "avatar.json").is_file()


def open_motion(path: str | Path, avatar: Any, fps: float | None = None) -> Motion:
    """A motion for this avatar from any format we read; another rig's is refused."""
    path, motion = Path(path), as_it_is(path, fps)
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


def as_it_is(path: str | Path, fps: float | None = None) -> Motion:
    """A motion of whatever rig, from any format we read."""
    path = Path(path)
    if (path / "track.json").is_file():
        return _recorded(path, fps)
    if path.is_dir():
        raise BadInput(f"{path} holds no track. Run `likeness track` first.")
    if path.suffix.lower() not in _READERS:
        known = ", ".join(_READERS)
        raise BadInput(f"{path} is no motion we read: a track folder, or a file of {known}.")
    if not path.exists():
        raise BadInput(f"There is no file {path}.")
    motion = _READERS[path.suffix.lower()](path)
    return motion if fps is None else Motion(motion.expressions, fps)


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
    """Neither the phone app nor BVH knows shoulders, which stay where the avatar's rest; and the
    app tells no place: the head turns where the avatar's rests."""
    if path.suffix.lower() not in (".csv", ".bvh"):
        return motion
    rest = at_rest(avatar)
    count = len(motion)
    torso, head = rest.world_from_torso, motion.expressions.world_from_head
    moved = replace(
        motion.expressions,
        world_from_head=rest.world_from_head @ head if path.suffix.lower() == ".csv" else head,
        world_from_torso=None if torso is None else torso.expand(count, 4, 4),
    )
    return Motion(move(moved, "cpu"), motion.fps, motion.sound)


def capture_near(track: Path) -> Path | None:
    """The folder of the capture beside or around a track."""
    for folder in (track.parent, track.parent / "capture"):
        if (folder / "capture.json").is_file():
            return folder
    return None


def consent_near(track: Path) -> str | None:
    """The consent that the capture of a track keeps."""
    near = capture_near(track) if track.is_dir() else None
    found = read_any_json(near / "capture.json").get("consent") if near else None
    return str(found) if found else None
