"""Videos of every kind: right frames at right times, in flat memory, or one clear line."""

import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_media import make_clip, picture

from likeness.captures import open_capture
from likeness.captures.video import VideoPictures
from likeness.core.errors import BadInput


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "talk.mp4", sound=True)


def shows(pixels: np.ndarray, index: int, tolerance: float = 6) -> bool:
    height, width = pixels.shape[:2]
    return bool(np.abs(pixels.astype(int) - picture(index, width, height)).mean() < tolerance)


def test_a_clip_has_its_frames_times_rate_and_sound(clip):
    capture = open_capture(clip)
    assert len(capture) == 12
    assert capture.size == (32, 24)
    assert capture.fps == 25
    np.testing.assert_allclose(capture.times, np.arange(12) / 25, atol=1e-6)
    assert all(shows(frame.rgb8, frame.index) for frame in capture)
    assert capture.sound is not None
    assert capture.sound.rate == 16000
    samples = capture.sound.samples
    assert samples.dtype == torch.float32
    assert abs(len(samples) / 16000 - 0.48) < 0.1
    middle = samples[2000:6000]
    assert 0.25 < float(middle.pow(2).mean().sqrt()) < 0.42  # 0.5 / sqrt(2)
    peak = torch.fft.rfft(middle).abs().argmax() * 16000 / 4000
    assert abs(float(peak) - 440) < 8


@settings(max_examples=12, deadline=None)
@given(order=st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_frames_are_the_same_in_whatever_order_they_are_read(clip, order):
    pictures = VideoPictures(clip)
    assert all(shows(pictures.rgb(i), i) for i in order)


def test_reading_forwards_decodes_each_frame_once(clip):
    pictures = VideoPictures(clip)
    started = []
    seek = pictures._decode_from
    pictures._decode_from = lambda start: started.append(start) or seek(start)  # type: ignore[method-assign]
    for index in range(12):
        pictures.rgb(index)
    assert len(started) <= 1


def test_memory_does_not_grow_with_the_clip(tmp_path):
    """A frame here is 0.9 MB as RGB: a reader that kept them would hold 80 MB."""
    long = make_clip(tmp_path / "long.mp4", 90, (640, 480), group=30)
    pictures = VideoPictures(long)
    pictures.rgb(0)
    tracemalloc.start()
    for index in range(90):
        pictures.rgb(index)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6
    assert len(pictures._kept) <= 16


def test_another_process_can_go_on_reading(clip):
    pictures = VideoPictures(clip)
    pictures.rgb(3)
    assert shows(pickle.loads(pickle.dumps(pictures)).rgb(7), 7)


@pytest.mark.parametrize(
    "name, options",
    {
        "ten bits": {"layout": "yuv420p10le"},
        "full chroma": {"layout": "yuv444p"},
        "odd size": {"layout": "yuv444p", "size": (33, 25)},
        "motion jpeg": {"codec": "mjpeg", "layout": "yuvj420p"},
        "lossless": {"codec": "ffv1", "layout": "bgr0"},
        "one frame": {"count": 1},
        "every frame a keyframe": {"group": 1},
        "one keyframe": {"group": 250},
    }.items(),
)
def test_pixel_formats_and_odd_clips_are_read(tmp_path, name, options):
    path = make_clip(tmp_path / "clip.mkv", **options)
    capture = open_capture(path)
    assert len(capture) == options.get("count", 12)
    assert capture.size == options.get("size", (32, 24))
    assert all(shows(f.rgb8, f.index, 9) for f in capture)
    assert shows(capture[0].rgb8, 0, 9)
    assert capture.sound is None


def test_alpha_of_a_clip_is_kept(tmp_path):
    import av

    with av.open(str(tmp_path / "matte.mov"), "w") as container:
        stream = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "argb"
        for index in range(3):
            rgba = np.dstack([picture(index), np.full((24, 32), 60 * index, np.uint8)])
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="argb")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    capture = open_capture(tmp_path / "matte.mov")
    assert [int(capture.pictures.alpha(i).mean()) for i in range(3)] == [0, 60, 120]
    np.testing.assert_array_equal(capture[2].rgb8, picture(2))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_the_rotation_flag_sets_frames_upright(tmp_path, rotation):
    capture = open_capture(make_clip(tmp_path / "turned.mp4", rotation=rotation))
    upright = np.rot90(picture(5), rotation // 90)
    assert capture.size == (upright.shape[1], upright.shape[0])
    error = np.abs(capture[5].rgb8.astype(int) - upright).mean()
    flipped = np.abs(capture[5].rgb8.astype(int) - np.rot90(upright, 2)).mean()
    assert error < 6 < flipped


def test_variable_frame_rates_keep_their_true_times(tmp_path):
    times = [0, 40, 80, 200, 210, 300, 310, 500, 900, 1000]
    capture = open_capture(make_clip(tmp_path / "phone.mkv", 10, times=times))
    np.testing.assert_allclose(capture.times, np.array(times) / 1000, atol=1e-6)
    assert capture.notes["variable_rate"]
    assert shows(capture[8].rgb8, 8)
    assert shows(capture[3].rgb8, 3)


def test_sound_that_starts_late_is_preceded_by_silence(tmp_path):

    import av

    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "bgr0"
        voice = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode(None))
        add_tone_later(container, voice)
    sound = open_capture(path).sound
    assert sound is not None
    first = int((sound.samples.abs() > 0.01).float().argmax())
    assert abs(first / 16000 - 0.1) < 0.005


def add_tone_later(container, voice) -> None:
    from fractions import Fraction

    import av

    wave = np.full((1, 1600), 8000, np.int16)
    frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 16000, 1600, Fraction(1, 16000)
    container.mux(voice.encode(frame))
    container.mux(voice.encode(None))


def test_a_truncated_clip_gives_its_whole_frames_or_says_that_it_is_cut(clip, tmp_path):
    whole = make_clip(tmp_path / "whole.mkv", 12)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: int(len(data) * 0.7)])
    capture = open_capture(cut)
    assert 1 <= len(capture) < 12
    assert all(shows(f.rgb8, f.index) for f in capture)
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(clip.read_bytes()[:900])
    with pytest.raises(BadInput, match="truncated"):
        open_capture(headless)


def test_a_file_with_only_sound_says_so(tmp_path):
    import av
    from made_media import add_tone

    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        add_tone(container, container.add_stream("aac", rate=16000, layout="mono"), 0.2)
    with pytest.raises(BadInput, match="only sound"):
        open_capture(path)


def test_the_frame_before_a_damaged_one_stands_in_for_it(tmp_path):
    path = make_clip(tmp_path / "hurt.mkv", codec="mjpeg", layout="yuvj420p", group=1)
    data = path.read_bytes()
    at = -1
    for _ in range(6):  # the sixth picture
        at = data.index(b"\xff\xd8\xff", at + 1)
    end = data.index(b"\xff\xd9", at) + 2
    path.write_bytes(data[:at] + bytes(end - at) + data[end:])
    capture = open_capture(path)
    assert len(capture) == 12
    frames = [f.rgb8 for f in capture]
    np.testing.assert_array_equal(frames[5], frames[4])
    assert shows(frames[4], 4)
    assert shows(frames[6], 6)
    np.testing.assert_array_equal(open_capture(path)[5].rgb8, frames[4])
