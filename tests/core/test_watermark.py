import io

import av
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from likeness.core.media import VideoWriter
from likeness.core.watermark import embed, payload_of, read

PAYLOAD = payload_of("Zoë, today")


def photo(seed=0, height=400, width=512, shift=0):
    """Soft light, texture and grain, as a portrait has."""
    random = np.random.default_rng(seed)
    rough = gaussian_filter(random.normal(size=(height, width + 64, 3)), (20, 20, 0)) * 900
    fine = gaussian_filter(random.normal(size=(height, width + 64, 1)), (2, 2, 0)) * 30
    grain = random.normal(size=(height, width + 64, 3))
    whole = np.clip(120 + rough + fine + grain, 0, 255).astype(np.uint8)
    return whole[:, shift : shift + width]


def jpeg(pixels, quality):
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=quality)
    return np.asarray(Image.open(packed))


def scaled(pixels, by):
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((round(width * by), round(height * by))))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "recoded",
    [
        lambda pixels: pixels,
        lambda pixels: jpeg(pixels, 90),
        lambda pixels: jpeg(pixels, 75),
        lambda pixels: scaled(pixels, 0.75),
        lambda pixels: jpeg(scaled(pixels, 1.25), 85),
    ],
)
def test_the_watermark_is_read_after_usual_recoding(seed, recoded):
    assert read([recoded(embed(photo(seed), PAYLOAD))]) == PAYLOAD


def test_the_watermark_is_too_faint_to_see():
    plain = photo()
    marked = embed(plain, PAYLOAD)
    error = np.mean((plain.astype(float) - marked) ** 2)
    assert 10 * np.log10(255**2 / error) > 42
    assert np.abs(plain.astype(int) - marked).max() <= 20


def test_a_video_at_usual_quality_keeps_the_watermark(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25, quality=23) as video:
        for i in range(16):
            video.write(embed(photo(shift=i), PAYLOAD))
    with av.open(str(tmp_path / "a.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert read(frames) == PAYLOAD


def test_pictures_without_a_watermark_say_nothing():
    assert all(read([photo(seed)]) is None for seed in range(8))
    assert read([np.zeros((200, 200, 3), np.uint8)]) is None
    assert read([]) is None


def test_small_pictures_and_transparent_places_stay_as_they_are():
    small = photo(height=100, width=100)
    assert (embed(small, PAYLOAD) == small).all()
    clear = np.concatenate([photo(), np.zeros((400, 512, 1), np.uint8)], -1)
    clear[:, :300, 3] = 255
    marked = embed(clear, PAYLOAD)
    assert (marked[:, 300:] == clear[:, 300:]).all()
    assert (marked[:, :300] != clear[:, :300]).any()
