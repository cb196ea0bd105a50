"""`likeness ingest`: any recording to a capture folder, cut to head and shoulders."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from likeness.captures import open_capture
from likeness.captures.native import write_native
from likeness.captures.window import cropped_capture
from likeness.core.capture import Capture, Splits, last_fifth
from likeness.core.errors import BadInput
from likeness.core.progress import stage
from likeness.trackers.window import find_face_window
from likeness.verbs.consent import consent_note

_log = logging.getLogger(__name__)


def ingest(
    source: Path,
    out: Path,
    size: int = 512,
    crop: Literal["head", "none"] = "head",
    person: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    fps: float | None = None,
    kind: Literal["png", "jpg"] = "png",
    consent: str | None = None,
) -> None:
    """Read a video, photos or a data set into a capture folder, cut to head and shoulders.

    Every later stage reads that folder. Stopped half-way, the same command goes on.

    Args:
        source: A video file, a folder of photos, or a data set in a layout we know.
        out: The capture folder to write.
        size: Pixels along a side of the square pictures written.
        crop: "head" cuts one fixed square around the head; "none" keeps the pictures as they are.
        person: Which person, counted from the left, when there are several; the largest otherwise.
        start: Seconds to skip at the beginning.
        end: Second to stop at.
        fps: Take about this many frames a second instead of all.
        kind: png is lossless; jpg is about four times smaller.
        consent: Who agreed to being modelled, when, and for what; or a text file that says so. Kept
            with everything made.
    """
    if not 32 <= size <= 4096:
        raise BadInput(f"--size {size} is outside 32 to 4096 pixels.")
    capture = selected(open_capture(source), start, end, fps)
    if consent is not None:
        capture = replace(capture, consent=consent_note(consent))
    if crop == "head":
        with stage("looking for the head", None):
            window = find_face_window(capture, person=person)
        capture = cropped_capture(capture, window.left, window.top, window.side, size)
        if window.side < 0.6 * size:
            _log.warning(
                "The head window is only %d pixels wide in the recording; at --size %d it is "
                "enlarged. Film closer, or use --size %d.",
                round(window.side),
                size,
                max(64, round(window.side / 64) * 64),
            )
    if capture.splits is None:
        capture = replace(capture, splits=last_fifth(len(capture)))
    with stage("writing frames", len(capture)) as bar:
        done = 0

        def advance(now: int, total: int) -> None:
            nonlocal done
            bar.advance(now - done)
            done = now

        write_native(capture, out, kind=kind, progress=advance)


def selected(
    capture: Capture, start: float = 0.0, end: float | None = None, fps: float | None = None
) -> Capture:
    """The frames between two times, thinned to about `fps`; times begin at zero again."""
    times = np.asarray(capture.times)
    keep = (times >= start) & (times < (np.inf if end is None else end))
    index = np.flatnonzero(keep)
    if fps is not None and len(index) > 1:
        if fps <= 0:
            raise BadInput(f"--fps {fps} is not above 0.")
        slots = np.floor((times[index] - times[index[0]]) * fps + 1e-6)
        index = index[np.unique(slots, return_index=True)[1]]
    if len(index) == 0:
        last = f"{times[-1]:.2f}" if len(times) else "0"
        raise BadInput(
            f"Nothing of {capture.name!r} lies between {start} s and {end} s; it ends at {last} s."
        )
    if len(index) == len(times):
        return capture
    return chosen(capture, index.tolist(), start, fps)


def chosen(capture: Capture, index: list[int], start: float, fps: float | None) -> Capture:
    """Some frames of a capture, renumbered."""
    new = {old: i for i, old in enumerate(index)}
    splits = capture.splits
    if splits is not None:
        kept = [tuple(new[i] for i in s if i in new) for s in _parts(splits)]
        splits = Splits(*kept)
    sound = capture.sound
    first, last = capture.times[index[0]], capture.times[index[-1]]
    if sound is not None:
        step = (last - first) / max(len(index) - 1, 1)
        samples = sound.samples[round(first * sound.rate) : round((last + step) * sound.rate)]
        sound = replace(sound, samples=samples)
    focal = capture.focal
    if isinstance(focal, tuple):
        focal = tuple(focal[i] for i in index)
    span = last - first
    return replace(
        capture,
        pictures=_Chosen(capture.pictures, tuple(index)),
        times=tuple(capture.times[i] - first for i in index),
        names=tuple(capture.names[i] for i in index) if capture.names else (),
        fps=(len(index) - 1) / span if capture.fps and span > 0 else capture.fps,
        splits=splits,
        sound=sound,
        focal=focal,
        track=None,
    )


def _parts(splits: Splits) -> tuple[tuple[int, ...], ...]:
    return splits.train, splits.validation, splits.test


class _Chosen:
    """Pictures under new numbers."""

    def __init__(self, pictures, index: tuple[int, ...]) -> None:
        self.pictures, self.index = pictures, index

    def rgb(self, index: int):
        return self.pictures.rgb(self.index[index])

    def alpha(self, index: int):
        return self.pictures.alpha(self.index[index])

    def regions(self, index: int):
        return self.pictures.regions(self.index[index])
