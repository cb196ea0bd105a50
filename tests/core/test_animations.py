import json

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.core.animations import AnimationWriter, writer
from likeness.core.errors import BadInput
from likeness.core.label import labelled
from likeness.core.media import SYNTHETIC, VideoWriter
from likeness.core.xmp import packet, read_packet


def frames(count=30, channels=3):
    """A disc that wanders over a soft ground; outside it is transparent with four channels."""
    y, x = np.mgrid[0:48, 0:64]
    for i in range(count):
        inside = (x - 10 - i) ** 2 + (y - 24) ** 2 < 100
        made = np.stack([3 * x + 20, 4 * y + 20, 128 + 0 * x], -1).astype(np.uint8)
        made[inside] = (220, 60, 40)
        alpha = (inside * 255).astype(np.uint8)[..., None]
        yield np.concatenate([made, alpha], -1) if channels == 4 else made


@pytest.mark.parametrize("name", ["a.gif", "ä.webp"])
@pytest.mark.parametrize("channels", [3, 4])
def test_an_animation_holds_its_frames_its_pace_and_its_transparency(tmp_path, name, channels):
    with AnimationWriter(tmp_path / name, 25, note="a note") as film:
        for frame in frames(channels=channels):
            film.write(frame)
    with Image.open(tmp_path / name) as picture:
        assert picture.n_frames == 30
        assert picture.info["loop"] == 0
        for i, truth in enumerate(frames(channels=channels)):
            picture.seek(i)
            seen = np.asarray(picture.convert("RGBA")).astype(int)
            if i == 7:
                assert picture.info["duration"] == 40
            where = truth[..., 3] > 0 if channels == 4 else np.ones((48, 64), bool)
            assert np.abs(seen[..., :3] - truth[..., :3])[where].mean() < 9, i
            if channels == 4:
                assert ((seen[..., 3] > 127) == where).mean() > 0.99
    told = read_packet((tmp_path / name).read_bytes())
    assert told == (SYNTHETIC, "a note")


def test_an_animation_that_fails_or_is_empty_leaves_nothing(tmp_path):
    with pytest.raises(BadInput, match="no frame"), AnimationWriter(tmp_path / "a.gif", 25):
        pass
    with pytest.raises(KeyError), AnimationWriter(tmp_path / "a.webp", 25) as film:
        film.write(torch.rand(8, 8, 3))
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_webp_of_one_frame_keeps_its_mark_and_opens(tmp_path):
    with AnimationWriter(tmp_path / "a.webp", 25, note="one") as film:
        film.write(next(frames(1)))
    with Image.open(tmp_path / "a.webp") as picture:
        assert picture.size == (64, 48)
        picture.load()
    assert read_packet((tmp_path / "a.webp").read_bytes()) == (SYNTHETIC, "one")


def test_the_writer_is_chosen_by_the_suffix(tmp_path):
    assert isinstance(writer(tmp_path / "a.GIF", 10), AnimationWriter)
    assert isinstance(writer(tmp_path / "a.mp4", 10), VideoWriter)
    for name, fps in (("a.apng", 10), ("a.gif", 0), ("a.gif", 300)):
        with pytest.raises(BadInput):
            AnimationWriter(tmp_path / name, fps)


def test_a_note_with_quotes_marks_and_far_letters_comes_back_from_xmp():
    note = json.dumps({"subject": '<"Zoë" & co>'})
    assert read_packet(b"..." + packet("http://x/y", note) + b"...") == ("http://x/y", note)
    assert read_packet(b"nothing of the kind") is None


def test_a_label_is_seen_and_leaves_the_rest_as_it_was():
    plain = np.full((200, 300, 4), 90, np.uint8)
    plain[..., 3] = 0
    seen = labelled(plain)
    changed = (seen != plain).any(-1)
    assert changed[-15:, :40].mean() > 0.6
    assert not changed[:150].any()
    assert not changed[:, 200:].any()
    assert seen[changed][:, 3].min() >= 160
    assert labelled(np.zeros((16, 16, 3), np.uint8), "much too long for this").shape == (16, 16, 3)
