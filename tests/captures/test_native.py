"""Our own folder: whole after any interruption, never two captures in one, nothing lost."""

import errno
import json
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_media import Held, held_capture, held_track, picture

from likeness.captures import open_capture
from likeness.captures.native import write_native
from likeness.core.capture import Sound, Splits
from likeness.core.errors import BadInput, LikenessError


def full_capture():
    tone = torch.sin(torch.linspace(0, 500, 4000)) * 0.7
    return held_capture(
        splits=Splits((0, 1, 2), (3,), (4, 5)),
        sound=Sound(tone, 16000),
        focal=61.5,
        background=picture(3),
        track=held_track(6),
        consent="signed 2026-01-05",
        names=tuple("abcdef"),
        notes={"camera": "front", "window": {"left": 1.5, "top": 2, "side": 20, "size": 32}},
    )


def test_everything_a_capture_knows_comes_back(tmp_path):
    capture = full_capture()
    back = write_native(capture, tmp_path / "c")
    for name in ("name", "times", "size", "fps", "names", "splits", "focal", "consent"):
        assert getattr(back, name) == getattr(capture, name), name
    assert back.notes == capture.notes
    assert back.sound is not None
    assert capture.sound is not None
    torch.testing.assert_close(back.sound.samples, capture.sound.samples, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(back.background, capture.background)
    assert back.track is not None
    assert capture.track is not None
    torch.testing.assert_close(
        back.track.expressions.world_from_head, capture.track.expressions.world_from_head
    )
    for index in range(6):
        for part in ("rgb", "alpha", "regions"):
            ours, theirs = (getattr(c.pictures, part)(index) for c in (back, capture))
            np.testing.assert_array_equal(ours, theirs)


def test_a_capture_written_from_ours_equals_it(tmp_path):
    once = write_native(full_capture(), tmp_path / "once")
    twice = write_native(once, tmp_path / "twice")
    assert twice.times == once.times
    assert twice.notes["window"] == once.notes["window"]


def test_jpeg_frames_are_smaller_and_nearly_equal(tmp_path):
    back = write_native(held_capture(), tmp_path / "c", kind="jpg")
    assert (tmp_path / "c" / "frames" / "000002.jpg").is_file()
    assert np.abs(back[2].rgb8.astype(int) - picture(2)).mean() < 3


class Interrupted(Exception):
    pass


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    def stop(done: int, of: int) -> None:
        if done == 4:
            raise Interrupted

    capture = held_capture()
    with pytest.raises(Interrupted):
        write_native(capture, tmp_path / "c", progress=stop)
    with pytest.raises(BadInput, match="not finished"):
        open_capture(tmp_path / "c")
    again = Held(6)
    write_native(replace(capture, pictures=again), tmp_path / "c")
    assert again.touched == [4, 5]
    assert len(open_capture(tmp_path / "c")) == 6


def test_a_finished_folder_is_not_written_again(tmp_path):
    write_native(held_capture(), tmp_path / "c")
    again = Held(6)
    write_native(replace(held_capture(), pictures=again), tmp_path / "c")
    assert again.touched == []


def test_a_folder_that_holds_another_capture_is_refused_and_left_alone(tmp_path):
    write_native(held_capture(), tmp_path / "c")
    before = (tmp_path / "c" / "capture.json").read_bytes()
    with pytest.raises(BadInput, match="another capture.*frames is 6, not 4.*--out"):
        write_native(held_capture(4), tmp_path / "c")
    assert (tmp_path / "c" / "capture.json").read_bytes() == before


def test_a_full_disk_is_one_clear_line_and_harms_nothing(tmp_path, monkeypatch):
    from PIL import Image

    capture = held_capture()
    real = Image.Image.save

    def full(self, path, *args, **options):
        if "000003" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, path, *args, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(LikenessError, match="disk is full"):
        write_native(capture, tmp_path / "c")
    monkeypatch.undo()
    assert not list((tmp_path / "c" / "frames").glob(".*"))
    assert len(write_native(capture, tmp_path / "c")) == 6


def hold(folder, ready, done) -> None:
    from likeness.core.files import only_one

    with only_one(folder):
        ready.set()
        done.wait(20)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    spawn = multiprocessing.get_context("fork")
    ready, done = spawn.Event(), spawn.Event()
    other = spawn.Process(target=hold, args=(tmp_path / "c", ready, done))
    other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(LikenessError, match="Another run is working"):
            write_native(held_capture(), tmp_path / "c")
    finally:
        done.set()
        other.join()
    assert len(write_native(held_capture(), tmp_path / "c")) == 6


def test_a_lost_frame_is_named(tmp_path):
    write_native(held_capture(), tmp_path / "c")
    (tmp_path / "c" / "frames" / "000002.png").unlink()
    with pytest.raises(BadInput, match="lacks 1 of 6 frames, first .*000002"):
        open_capture(tmp_path / "c")


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"format": 99}, "Upgrade likeness"),
        ({"format": None}, "no 'format' number"),
        ({"times": []}, "lists no frames"),
        ({"times": "soon"}, "must hold numbers"),
        ({"size": [32]}, "of size 1; it must be 2"),
        ({"splits": {"train": [0, 7]}}, "frame 7"),
        ({"splits": [1]}, "instead of an object"),
        ({"fps": "fast"}, "finite number"),
        ({"names": ["one"]}, "do not fit"),
        ({"focal": ["x"]}, "must hold numbers"),
    ],
)
def test_wrong_fields_are_named_with_their_value(tmp_path, change, complaint):
    write_native(held_capture(), tmp_path / "c")
    file = tmp_path / "c" / "capture.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(BadInput, match=complaint):
        open_capture(tmp_path / "c")


def test_a_folder_inside_its_source_can_still_go_on(tmp_path):
    capture = held_capture(source=str(tmp_path))

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        write_native(capture, tmp_path / "c", progress=stop)
    assert len(write_native(capture, tmp_path / "c")) == 6
