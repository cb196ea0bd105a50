"""Our own capture folder: what `likeness ingest` writes and every later stage reads.

capture.json              frames, times, size, splits, focal, consent, source, window
frames/000000.png         or .jpg; one per frame
alpha/, regions/          one PNG per frame, where the capture knows them
background.png, sound.wav, track/
"""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from likeness.captures.fields import flag, number, numbers, text
from likeness.captures.picture_files import PictureFiles, load_picture
from likeness.captures.soundtrack import read_wav, write_wav
from likeness.core.capture import Capture, Splits
from likeness.core.errors import BadInput
from likeness.core.files import atomic, only_one, read_json, sha256, write_json
from likeness.core.track import Track
from likeness.core.track_files import read_track, write_track

ABOUT = "capture.json"
UNFINISHED = "capture.unfinished.json"

_log = logging.getLogger(__name__)


def recognises(path: Path) -> bool:
    return (path / ABOUT).is_file() or (path / UNFINISHED).is_file()


def write_native(
    capture: Capture,
    folder: str | Path,
    kind: Literal["png", "jpg"] = "png",
    quality: int = 95,
    progress: Callable[[int, int], None] | None = None,
) -> Capture:
    """Write a capture as a folder of ours, and return it as read back.

    Every file is whole or absent and `capture.json` comes last, so a run that was stopped goes on
    where it was. A folder that holds another capture is refused. `quality` is for JPEG.
    """
    folder = Path(folder)
    with only_one(folder):
        about = {
            **_describe(capture, folder),
            "kind": kind,
            "quality": quality if kind == "jpg" else None,
        }
        if not _already_written(folder, about):
            write_json(folder / UNFINISHED, about)
            _write_pictures(capture, folder, kind, quality, progress)
            _write_rest(capture, folder)
            write_json(folder / ABOUT, about)
            (folder / UNFINISHED).unlink(missing_ok=True)
    return read(folder)


def _describe(capture: Capture, folder: Path) -> dict[str, Any]:
    """All of capture.json. Two captures with equal descriptions are taken to be the same."""
    splits = capture.splits
    notes = dict(capture.notes)
    window = notes.pop("window", None)
    digest = notes.pop("sha256", None)
    source = Path(capture.source) if capture.source else None
    if digest is None and source is not None and source.exists():
        inside = folder.resolve().is_relative_to(source.resolve())  # it would hash its own output
        digest = None if inside else sha256(source)
    return {
        "name": capture.name,
        "frames": len(capture),
        "fps": capture.fps,
        "size": list(capture.size),
        "focal": list(capture.focal) if isinstance(capture.focal, tuple) else capture.focal,
        "consent": capture.consent,
        "source": {"path": capture.source, "sha256": digest},
        "window": window,
        "splits": None
        if splits is None
        else {n: list(getattr(splits, n)) for n in ("train", "validation", "test")},
        "background": capture.background is not None,
        "sound": capture.sound is not None,
        "track": capture.track is not None,
        "notes": notes,
        "times": list(capture.times),
        "names": list(capture.names),
    }


def _already_written(folder: Path, about: dict[str, Any]) -> bool:
    """True when this very capture is complete here; refuses a folder that holds another."""
    for name in (ABOUT, UNFINISHED):
        if not (folder / name).is_file():
            continue
        there = read_json(folder / name)
        other = _first_difference(there, about)
        if other is not None:
            raise BadInput(
                f"{folder} already holds another capture: its {other} is {_short(there.get(other))}"
                f", not {_short(about.get(other))}. Choose another --out, or delete the folder."
            )
        if name == ABOUT:
            return True
    return False


def _first_difference(there: dict[str, Any], about: dict[str, Any]) -> str | None:
    for key, value in about.items():
        if key != "source" and not _same(there.get(key), value):
            return key
    mine, theirs = about["source"].get("sha256"), (there.get("source") or {}).get("sha256")
    return "source" if mine != theirs else None


def _same(a: Any, b: Any) -> bool:
    if isinstance(b, float) and isinstance(a, int | float):
        return math.isclose(a, b)
    if isinstance(b, tuple | list) and isinstance(a, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b))
    if isinstance(b, dict) and isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], v) for k, v in b.items())
    return bool(a == b)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _write_pictures(
    capture: Capture,
    folder: Path,
    kind: str,
    quality: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    for index in range(len(capture)):
        name = f"{index:06d}"
        if not (folder / "frames" / f"{name}.{kind}").is_file():  # written last of its frame
            for part in ("alpha", "regions"):
                grey = getattr(capture.pictures, part)(index)
                if grey is not None:
                    save_picture(folder / part / f"{name}.png", grey)
            rgb = capture.pictures.rgb(index)
            save_picture(folder / "frames" / f"{name}.{kind}", rgb, quality)
        if progress is not None:
            progress(index + 1, len(capture))


def save_picture(path: Path, picture: UInt8[np.ndarray, "..."], quality: int = 95) -> None:
    """PNG or JPEG by suffix, whole or absent."""
    with atomic(path) as temporary:
        if path.suffix == ".png":
            Image.fromarray(picture).save(temporary, format="PNG", compress_level=1)
        else:
            Image.fromarray(picture).save(temporary, "JPEG", quality=quality, subsampling=0)


def _write_rest(capture: Capture, folder: Path) -> None:
    if capture.background is not None:
        save_picture(folder / "background.png", capture.background)
    if capture.sound is not None:
        write_wav(folder / "sound.wav", capture.sound)
    if capture.track is not None:
        write_track(folder / "track", replace(capture.track, maps=None))


def read(path: Path) -> Capture:
    """A folder that `write_native` finished."""
    folder = Path(path)
    if not (folder / ABOUT).is_file() and (folder / UNFINISHED).is_file():
        raise BadInput(
            f"{folder} is not finished: writing it was interrupted. Run the same `likeness ingest` "
            "again; it goes on where it stopped."
        )
    file = folder / ABOUT
    about = read_json(file)
    times = numbers(about, "times", file)
    if not times:
        raise BadInput(f"{file} lists no frames. Ingest the recording again.")
    size = numbers(about, "size", file, length=2)
    source = about.get("source") if isinstance(about.get("source"), dict) else {}
    assert isinstance(source, dict)
    return Capture(
        name=text(about, "name", file, folder.name),
        pictures=_pictures(folder, text(about, "kind", file, "png"), len(times)),
        times=times,
        size=(int(size[0]), int(size[1])),
        fps=number(about, "fps", file, None),
        names=_names(about, file, len(times)),
        splits=_splits(about, file, len(times)),
        sound=read_wav(folder / "sound.wav") if flag(about, "sound", file) else None,
        focal=_focal(about, file),
        background=load_picture(folder / "background.png")[0]
        if flag(about, "background", file)
        else None,
        track=_track(folder, len(times)) if flag(about, "track", file) else None,
        consent=text(about, "consent", file, None),
        source=str(source.get("path") or ""),
        notes=_notes(about, source, file),
    )


def _pictures(folder: Path, kind: str, count: int) -> PictureFiles:
    if kind not in ("png", "jpg"):
        raise BadInput(f"{folder / ABOUT} has 'kind' = {_short(kind)}; it must be png or jpg.")
    names = [f"{i:06d}" for i in range(count)]
    frames = tuple(folder / "frames" / f"{n}.{kind}" for n in names)
    lost = [p for p in frames if not p.is_file()]
    if lost:
        raise BadInput(
            f"{folder} lacks {len(lost)} of {count} frames, first {lost[0]}. "
            f"Delete {ABOUT} there and ingest again to restore them."
        )
    return PictureFiles(
        frames,
        tuple(folder / "alpha" / f"{n}.png" for n in names),
        tuple(folder / "regions" / f"{n}.png" for n in names),
    )


def _names(about: dict[str, Any], file: Path, count: int) -> tuple[str, ...]:
    names = about.get("names") or []
    if not isinstance(names, list) or len(names) not in (0, count):
        raise BadInput(f"{file} has 'names' that do not fit its {count} frames. Ingest again.")
    return tuple(str(n) for n in names)


def _splits(about: dict[str, Any], file: Path, count: int) -> Splits | None:
    given = about.get("splits")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise BadInput(f"{file} has 'splits' {_short(given)} instead of an object. Ingest again.")
    parts = {n: numbers(given, n, file, default=()) for n in ("train", "validation", "test")}
    for name, part in parts.items():
        bad = [i for i in part if i != int(i) or not 0 <= i < count]
        if bad:
            raise BadInput(
                f"{file} puts frame {bad[0]:g} into the {name} split but has {count} frames. "
                "Take it out of the list."
            )
    return Splits(**{n: tuple(int(i) for i in part) for n, part in parts.items()})


def _focal(about: dict[str, Any], file: Path) -> tuple[float, ...] | float | None:
    if isinstance(about.get("focal"), list):
        return numbers(about, "focal", file)
    return number(about, "focal", file, None)


def _track(folder: Path, count: int) -> Track:
    track = read_track(folder / "track")
    if len(track) != count:
        raise BadInput(
            f"{folder / 'track'} is of {len(track)} frames but {ABOUT} there lists {count}. "
            "Ingest the recording again."
        )
    return track


def _notes(about: dict[str, Any], source: dict[str, Any], file: Path) -> dict[str, object]:
    notes = about.get("notes") or {}
    if not isinstance(notes, dict):
        raise BadInput(f"{file} has 'notes' = {_short(notes)} instead of an object. Ingest again.")
    notes = dict(notes)
    if source.get("sha256"):
        notes["sha256"] = source["sha256"]
    if about.get("window"):
        notes["window"] = about["window"]
    return notes
