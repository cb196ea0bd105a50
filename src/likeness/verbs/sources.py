"""What may drive an avatar: gestures, tables, tracks, runs of `build`, and videos."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likeness.captures import open_capture
from likeness.core.capture import Capture, Sound
from likeness.core.errors import BadInput, LikenessError
from likeness.core.files import only_one
from likeness.core.runs import finish_run, finished_alike, start_run
from likeness.core.track_files import read_track
from likeness.exporters.motion_csv import ORDER, read_motion_csv
from likeness.exporters.motion_json import read_motion_json
from likeness.exporters.motion_npz import read_motion_npz
from likeness.verbs.ingest import ingest
from likeness.verbs.preview import sound_of
from likeness.verbs.track import track

_log = logging.getLogger(__name__)
_READERS = {".csv": read_motion_csv, ".json": read_motion_json, ".npz": read_motion_npz}
_VIDEOS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")
_RATE = 25.0  # frames a second of a track whose recording does not say


@dataclass(frozen=True, eq=False)
class Source:
    """What a driver of `kind` is given, its rate, and what was seen and heard with it."""

    kind: str
    what: Any
    fps: float
    sound: Sound | None = None
    capture: Capture | None = None


def open_source(source: str, kept: Path, rig: str, gestures: str = "", fps: float = 25.0) -> Source:
    """Anything that drives. A video is tracked into the folder `kept`, once."""
    if source == "gestures":
        return Source("gestures", gestures, fps)
    path = Path(source)
    suffix = path.suffix.lower()
    if not path.exists():
        raise BadInput(
            f"There is no file or folder {source}. A driver is a track folder, a folder of "
            "`likeness build`, a .csv, .json or .npz of motion, a video, or `gestures`."
        )
    if path.is_dir():
        return _tracked(path)
    if suffix in _READERS:
        return _table(path, rig)
    if suffix in _VIDEOS:
        return _video(path, kept, rig)
    raise BadInput(f"{path} is none of .csv, .json, .npz or a video ({', '.join(_VIDEOS)}).")


def _table(path: Path, rig: str) -> Source:
    if path.suffix.lower() != ".csv":
        motion = _READERS[path.suffix.lower()](path)
        return Source("table", motion.expressions, motion.fps)
    motion = read_motion_csv(path, rig)
    with path.open(encoding="utf-8-sig") as file:
        header = {name.strip() for name in file.readline().split(",")}
    if missing := [name for name in ORDER if name not in header]:
        _log.warning(
            "%s has no column for %d of the 52 coefficients; they stay at rest: %s.",
            path, len(missing), ", ".join(missing),
        )  # fmt: skip
    return Source("table", motion.expressions, motion.fps)


def _tracked(folder: Path) -> Source:
    found = folder if (folder / "track.json").is_file() else folder / "track"
    if not (found / "track.json").is_file():
        raise BadInput(
            f"{folder} holds no finished track. Run `likeness track {folder} --out TRACK` and give "
            "that folder, or give the video itself."
        )
    person = read_track(found)
    for near in (found.parent / "capture", found.parent):
        if not (near / "capture.json").is_file():
            continue
        try:
            capture = open_capture(near)
        except LikenessError as error:
            _log.warning("The driver's sound and pictures are left out: %s", error)
            break
        if len(capture) != len(person):
            break
        rate = capture.fps or _RATE
        sound = sound_of(capture, list(range(len(capture))), rate)
        return Source("retarget", person, rate, sound, capture)
    return Source("retarget", person, _RATE)


def _video(path: Path, kept: Path, rig: str) -> Source:
    """Track a video first; the same video is not tracked twice."""
    settings = {"rig": rig, "size": 512}
    inputs = {"source": path}
    with only_one(kept):
        if not finished_alike(kept, "drive", settings, inputs):
            start_run(kept, "drive", settings, inputs)
            ingest(path, kept / "capture", size=512)
            track(kept / "capture", kept / "track", rig=rig)
            finish_run(kept)
    return _tracked(kept)
