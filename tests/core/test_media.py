import os

import av
import numpy as np
import pytest
import torch
from PIL import Image

from likeness.core.capture import Sound
from likeness.core.errors import BadInput
from likeness.core.media import SYNTHETIC, VideoWriter, save_png


def frames(count=12, height=34, width=50, channels=3):
    ramp = torch.linspace(0, 1, width).expand(height, width)
    for i in range(count):
        planes = [ramp, ramp.flip(-1), torch.full_like(ramp, i / count), ramp][:channels]
        yield torch.stack(planes, -1)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_a_video_comes_back_with_its_frames_size_rate_sound_and_mark(tmp_path, name):
    tone = torch.sin(torch.arange(16000) * 0.1)
    with VideoWriter(tmp_path / name, 25.0, Sound(tone, 16000)) as video:
        for picture in frames():
            video.write(picture)
    with av.open(str(tmp_path / name)) as read:
        decoded = [f.to_ndarray(format="rgb24") for f in read.decode(video=0)]
        assert float(read.streams.video[0].average_rate) == pytest.approx(25, rel=0.01)
        assert read.streams.audio
        marks = {k.lower(): v for k, v in read.metadata.items()}
        assert marks["digital_source_type"] == SYNTHETIC
    assert len(decoded) == 12
    truth = (list(frames())[6].numpy() * 255).round()
    assert np.abs(decoded[6].astype(float) - truth).mean() < 6


def test_alpha_survives_webm(tmp_path):
    with VideoWriter(tmp_path / "a.webm", 10) as video:
        for picture in frames(4, channels=4):
            video.write(picture)
    with av.open(str(tmp_path / "a.webm")) as read:
        stream = read.streams.video[0]
        assert stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"


def test_an_interrupted_video_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", 25) as video:
        for picture in frames(3):
            video.write(picture)
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_video_without_frames_is_refused_and_not_written(tmp_path):
    with pytest.raises(BadInput, match="no frame"), VideoWriter(tmp_path / "a.mp4", 25):
        pass
    assert os.listdir(tmp_path) == []


def test_a_picture_says_that_it_is_synthetic_and_clamps(tmp_path):
    save_png(tmp_path / "a.png", torch.tensor([[[2.0, -1.0, float("nan")]]]))
    picture = Image.open(tmp_path / "a.png")
    assert picture.info["digitalSourceType"] == SYNTHETIC
    assert picture.getpixel((0, 0)) == (255, 0, 0)
