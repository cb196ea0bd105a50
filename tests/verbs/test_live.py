"""A camera drives an avatar: films, windows, virtual cameras, and cameras that go away."""

import sys
import types

import av
import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from likeness.core.errors import LikenessError
from likeness.core.files import read_json
from likeness.core.media import VideoWriter
from likeness.trackers.live import LiveTracker
from likeness.verbs.reenact import reenact

FACE = cv2.resize(astronaut()[0:300, 75:375], (192, 192))
FRAMES = 16
QUICK = {"size": 32, "view": "portrait", "calibrate": 0.2}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A face that moves sideways, and two pictures without it."""
    path = tmp_path_factory.mktemp("clip") / "Zoë.mp4"
    with VideoWriter(path, 25.0) as film:
        for index in range(FRAMES):
            lost = index in (10, 11)
            film.write(np.zeros_like(FACE) if lost else np.roll(FACE, 2 * index, 1))
    return path


def length(path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def test_a_video_followed_live_drives_every_frame(folder, clip, tmp_path):
    out = tmp_path / "a.mp4"
    said = reenact(folder, str(clip), out, live=True, beside=True, **QUICK)
    about = read_json(f"{out}.json")
    assert about["frames"] == length(out) == FRAMES
    assert about["driver"] == "live"
    assert about["frames_without_a_face"] == 2
    assert about["frames_driven"] == FRAMES - 4
    assert "2 without a face" in said
    with av.open(str(out)) as film:
        pictures = [f.to_ndarray(format="rgb24")[:, 32:] for f in film.decode(video=0)]
    assert abs(pictures[0].astype(int) - pictures[-1]).max() > 3


def test_a_camera_that_goes_away_is_one_line_and_the_film_is_kept(folder, clip, tmp_path):
    out = tmp_path / "a.mp4"
    with pytest.raises(LikenessError, match=r"went away after .*holds what was driven") as told:
        reenact(folder, f"camera:{clip}", out, **QUICK)
    assert "\n" not in str(told.value)
    assert length(out) >= 5
    assert read_json(f"{out}.json")["ended"] == "the camera went away"


def test_time_is_up(folder, clip, tmp_path):
    out = tmp_path / "a.mp4"
    reenact(folder, str(clip), out, live=True, seconds=0.2, **QUICK)
    assert length(out) == 5


def test_control_c_ends_a_session_and_keeps_the_film(folder, clip, tmp_path, monkeypatch):
    see, count = LiveTracker.see, iter(range(FRAMES))

    def interrupted(self, picture, time):
        if next(count) == 7:
            raise KeyboardInterrupt
        return see(self, picture, time)

    monkeypatch.setattr(LiveTracker, "see", interrupted)
    said = reenact(folder, str(clip), tmp_path / "a.mp4", live=True, **QUICK)
    assert "stopped" in said
    assert length(tmp_path / "a.mp4") == 7


def test_a_virtual_camera_gets_every_picture_and_is_closed(folder, clip, monkeypatch):
    sent = []

    class Camera:
        def __init__(self, width, height, fps):
            assert (width, height, fps) == (32, 32, 25.0)

        def send(self, picture):
            sent.append(picture.copy())

        def close(self):
            sent.append(None)

    fake = types.SimpleNamespace(Camera=Camera)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", fake)
    reenact(folder, str(clip), None, live=True, show="virtual", frames=6, **QUICK)
    assert len(sent) == 7
    assert sent[-1] is None
    assert sent[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("source", "asked", "says"),
    [
        ("camera:77", {}, "does not open"),
        ("rtsp://127.0.0.1:9/none", {}, "does not open"),
        ("camera", {"out": None}, "Nobody would see it"),
        ("camera", {"calibrate": 0.0}, "outside 0.2 to 60"),
        ("camera", {"seconds": -1.0}, "not above 0"),
        ("camera", {"show": "hologram"}, "none of window, virtual, none"),
        ("gestures", {"show": "window"}, "is for cameras"),
        ("absent.mp4", {"live": True}, "no file absent.mp4"),
        ("camera", {"known": "absent"}, "holds no track"),
    ],
)
def test_what_cannot_go_live_is_one_line_and_nothing_is_written(
    folder, tmp_path, source, asked, says
):
    asked = {"out": tmp_path / "a.mp4", **asked}
    with pytest.raises(LikenessError, match=says) as told:
        reenact(folder, source, **asked)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_window_without_a_display_is_one_line(folder, clip, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LikenessError, match="no display here"):
        reenact(folder, str(clip), None, live=True, show="window", **QUICK)
