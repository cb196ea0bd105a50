"""Readers before damaged files: a capture that can be read, or one line that names the culprit.

Each example harms one file of a small sample of each layout, by its kind: a value or field of JSON,
a word of a text, numbers of an array, bytes of anything. `LIKENESS_FUZZ=1` looks for new ones.
"""

import contextlib
import copy
import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_media import (
    colmap_project,
    held_capture,
    held_track,
    insta_folder,
    make_clip,
    picture,
    save,
)
from safetensors.numpy import load_file, save_file

from likeness.captures import open_capture
from likeness.captures.native import write_native
from likeness.captures.nerfstudio import write_nerfstudio
from likeness.core.capture import Sound
from likeness.core.errors import LikenessError
from likeness.core.track import Track

PARITY = Path(__file__).parents[1] / "parity"
LONGEST = 10.0  # seconds for one damaged sample; a sound one takes a few hundredths


def of_fixture(*parts: str) -> Callable[[Path], Any]:
    return lambda folder: shutil.copytree(PARITY.joinpath(*parts), folder)


def native(folder: Path) -> None:
    sound = Sound(0.5 * held_track(3).confidence.repeat(400), 8000)
    whole = {"track": held_track(3), "sound": sound, "background": picture(0), "focal": 60.0}
    write_native(held_capture(3, **whole), folder)


def one_file(name: str, make: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def made(folder: Path) -> None:
        folder.mkdir()
        make(folder / name)

    return made


SAMPLES: dict[str, Callable[[Path], Any]] = {
    "native": native,
    "nerface": of_fixture("nerface", "person_tiny"),
    "sahs": of_fixture("sahs", "sample_nerface"),
    "nerfblendshape": of_fixture("nerfblendshape", "id1"),
    "adnerf": of_fixture("adnerf", "sample"),
    "nha": of_fixture("nha", "nha_sequence"),
    "vhap": of_fixture("nha", "vhap_export"),
    "metrical": of_fixture("nha", "metrical_tracker", "output", "toy"),
    "insta": lambda folder: insta_folder(folder, 2),
    "nerfstudio": lambda folder: write_nerfstudio(held_capture(3), held_track(3), folder),
    "llff": of_fixture("ncg", "nerftrinsic_root", "LLFF", "Ben_Sample"),
    "colmap": lambda folder: colmap_project(folder, binary=True),
    "colmap as text": lambda folder: colmap_project(folder, binary=False),
    "ncg": of_fixture("ncg", "mtcm_root"),
    "video": one_file("a.mp4", lambda path: make_clip(path, 6, sound=True)),
    "another video": one_file("b.mkv", lambda path: make_clip(path, 6)),
    "photo": one_file("c.jpg", lambda path: save(path, picture(1))),
    "another photo": one_file("d.png", lambda path: save(path, picture(1))),
}
OPTIONS = {"ncg": {"person": "Ben_Sample"}}
WHOLE = {
    "video": "a.mp4",
    "another video": "b.mkv",
    "photo": "c.jpg",
    "another photo": "d.png",
}  # the file is the capture

# What may stand where something else belongs.
ODD = (
    None, True, False, 0, -1, 3, 0.5, 1e-300, -1e308, 10**9, 10**30, float("nan"), float("inf"),
    "", "x", "..", "a/\0b", "ü\n\ud800", "0" * 5000, [], {}, [[]], [None], {"": 0}, [1.0, "x"],
)  # fmt: skip
WORDS = ("nan", "-inf", "1e999", "", "x", "-1", "0", "99999999999999999999", "PINHOLE", "#", "\n")


@cache
def sample(name: str, home: Path) -> tuple[Path, dict[Path, bytes]]:
    """The folder of a sound sample, and all its files: every example mends what it harmed."""
    folder = home / name.replace(" ", "_")
    SAMPLES[name](folder)
    files = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return folder, {p: data for p, data in files.items() if p.name != ".lock"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@contextlib.contextmanager
def soon(seconds: float) -> Iterator[None]:
    """Stops what hangs, where the system can; elsewhere what comes back late fails as well."""

    def stop(*_: object) -> None:
        raise AssertionError(f"not done after {seconds} s")

    start, clock = time.monotonic(), getattr(signal, "setitimer", None)
    if clock is not None:
        before = signal.signal(signal.SIGALRM, stop)
        clock(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if clock is not None:
            clock(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < seconds


def works_or_says_why(path: Path, options: dict[str, Any], culprit: Path) -> None:
    """The capture and all its frames can be read, or one of our errors names the file or, where two
    do not fit each other, their folder."""
    try:
        with soon(LONGEST):
            capture = open_capture(path, **options)
            assert len(capture) == len(capture.names or capture.times)
            for frame in capture:
                assert frame.rgb8.ndim == 3
                frame.pictures.alpha(frame.index)
                frame.pictures.regions(frame.index)
            if capture.track is not None:
                sound_track(capture.track, len(capture), (path / "track").is_dir())
    except LikenessError as error:
        said = str(error)
        assert "\n" not in said
        assert len(said) < 900, said
        assert culprit.stem in said or str(culprit.parent) in said, said


def sound_track(track: Track, frames: int, ours: bool) -> None:
    """What later stages count on: equally many rows, rotations that are some, finite numbers. In
    a track of our own rows need not be finite: training and drawing leave them out."""
    assert len(track) == frames
    for pose in (track.cameras.camera_from_world, track.expressions.world_from_head):
        assert pose.shape == (frames, 4, 4)
        whole = pose.isfinite().all(-1).all(-1)
        turn = pose[whole][:, :3, :3]
        torch.testing.assert_close(turn @ turn.mT, torch.eye(3).expand_as(turn), atol=0.1, rtol=0)
        assert ours or whole.all()
    assert track.cameras.intrinsics.shape == (frames, 3, 3)
    assert len(track.expressions.coefficients) == frames
    for values in (track.cameras.intrinsics, track.expressions.coefficients):
        assert ours or values.isfinite().all()


# --- harm ----------------------------------------------------------------------------------------


def harmed_bytes(draw: Callable, data: bytes) -> bytes:
    changed = bytearray(data)
    for where, value in draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8)):
        if changed:
            changed[int(where * (len(changed) - 1))] = value
    return bytes(changed[: int(draw(st.just(1.0) | st.floats(0, 1)) * len(changed))])


def places(data: Any, at: tuple = ()) -> Iterator[tuple]:
    """Paths to everything inside JSON; of long lists only the ends."""
    if at:
        yield at
    inside: Any = ()
    if isinstance(data, dict):
        inside = data.items()
    elif isinstance(data, list):
        inside = list(enumerate(data))
        inside = inside[:2] + inside[-1:] if len(inside) > 3 else inside
    for key, value in inside:
        yield from places(value, (*at, key))


def harmed_json(draw: Callable, data: bytes) -> bytes:
    whole = json.loads(data)
    for _ in range(draw(st.integers(1, 2))):
        among = list(places(whole))
        if not among:
            break
        *way, last = draw(st.sampled_from(among))
        place = whole
        for step in way:
            place = place[step]
        if draw(st.integers(0, 4)):
            place[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            del place[last]
    return json.dumps(whole).encode()


def harmed_text(draw: Callable, data: bytes) -> bytes:
    parts = re.split(r"(\s+)", data.decode())
    for _ in range(draw(st.integers(1, 3))):
        parts[draw(st.integers(0, len(parts) - 1))] = draw(st.sampled_from(WORDS))
    return "".join(parts).encode()


def harmed_array(draw: Callable, array: np.ndarray) -> np.ndarray:
    kind = draw(st.sampled_from(["value", "rows", "columns", "flat", "words", "objects", "zero"]))
    if kind == "value" and array.size and array.dtype.kind == "f":
        out = array.copy()
        where = draw(st.integers(0, array.size - 1))
        out.flat[where] = draw(st.sampled_from([np.nan, np.inf, 0.0, -1e30, 1e-30]))
        return out
    if kind == "rows":
        return array[: draw(st.integers(0, 2))] if array.ndim else array[None]
    if kind == "columns":
        return array[..., : draw(st.integers(0, 2))] if array.ndim else array[None, None]
    if kind == "words":
        return array.astype(str)
    if kind == "objects":
        return np.array([{}, None, array], dtype=object)
    return array.ravel() if kind == "flat" else np.zeros_like(array)


def harmed_arrays(draw: Callable, path: Path) -> None:
    with path.open("rb") as stream:
        stored = np.load(stream, allow_pickle=True)
        if isinstance(stored, np.ndarray):
            np.save(path, harmed_array(draw, stored), allow_pickle=True)
            return
        entries = {key: stored[key] for key in stored.files}
    key = draw(st.sampled_from(sorted(entries)))
    entries[key] = harmed_array(draw, entries[key])
    if not draw(st.integers(0, 3)):
        del entries[key]
    np.savez(path, **entries)


def harmed_tensors(draw: Callable, path: Path) -> None:
    entries = load_file(path)
    key = draw(st.sampled_from(sorted(entries)))
    changed = harmed_array(draw, entries.pop(key))
    if changed.dtype.kind == "f":
        entries[key] = np.ascontiguousarray(changed)
    save_file(entries, path)


def harmed_checkpoint(draw: Callable, path: Path) -> None:
    """What a tracker saved with torch: arrays and tensors in dictionaries."""
    whole = torch.load(path, weights_only=False)
    among = [w for w in places(whole) if len(w) > 1 or not isinstance(whole[w[0]], dict)]
    *way, last = draw(st.sampled_from(among))
    place = whole
    for step in way:
        place = place[step]
    if draw(st.integers(0, 3)):
        place[last] = harmed_array(draw, np.asarray(place[last]))
    else:
        del place[last]
    torch.save(whole, path)


def harm(draw: Callable, path: Path, data: bytes) -> None:
    """Harms a file as its kind allows, or its bytes, or takes it away."""
    how = draw(st.sampled_from(["kind", "kind", "kind", "bytes", "gone"]))
    if how == "gone":
        path.unlink()
    elif how == "kind" and path.suffix in (".npy", ".npz"):
        harmed_arrays(draw, path)
    elif how == "kind" and path.suffix == ".safetensors":
        harmed_tensors(draw, path)
    elif how == "kind" and path.suffix in (".pt", ".frame"):
        harmed_checkpoint(draw, path)
    elif how == "kind" and path.suffix == ".json":
        path.write_bytes(harmed_json(draw, data))
    elif how == "kind" and path.suffix in (".txt", ".lms"):
        path.write_bytes(harmed_text(draw, data))
    else:
        path.write_bytes(harmed_bytes(draw, data))


# --- the test ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sound_sample_is_read(home, name):
    folder, _ = sample(name, home)
    capture = open_capture(folder / WHOLE.get(name, ""), **OPTIONS.get(name, {}))
    assert all(frame.rgb8.ndim == 3 for frame in capture)


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=120)
@given(data=st.data())
def test_a_damaged_sample_works_or_says_why(home, name, data):
    folder, files = sample(name, home)
    if name in OPTIONS:
        files = {p: b for p, b in files.items() if OPTIONS[name]["person"] in p.parts}
    telling = [p for p in files if p.suffix not in (".png", ".jpg", ".mp4", ".mkv")]
    drawn = [p for p in files if p not in telling]
    of = data.draw(st.sampled_from([k for k in (telling, telling, telling, drawn) if k]))
    victim = data.draw(st.sampled_from(of), label=name)
    path = folder / WHOLE.get(name, "")
    try:
        harm(data.draw, victim, files[victim])
        if path.exists():
            works_or_says_why(path, OPTIONS.get(name, {}), victim)
    finally:
        victim.write_bytes(files[victim])
