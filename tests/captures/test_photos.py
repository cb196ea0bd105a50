"""Photos of every depth and orientation, and what their EXIF says of the lens."""

import math

import numpy as np
import pytest
from made_media import make_clip, picture, save
from PIL import Image

from likeness.captures import open_capture
from likeness.captures.photos import focal_length
from likeness.captures.picture_files import natural_order
from likeness.core.errors import BadInput

RGB = picture(2)


def exif(orientation: int = 1, **tags: object) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    if "model" in tags:
        found[0x0110] = tags["model"]
    numbers = {"focal_35": 0xA405, "focal": 0x920A, "per_unit": 0xA20E, "unit": 0xA210}
    found.get_ifd(0x8769).update({numbers[k]: v for k, v in tags.items() if k in numbers})
    return found


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_shown_upright(tmp_path, orientation):
    turned = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB, -1),
    }[orientation]
    save(tmp_path / "a.png", np.ascontiguousarray(turned), exif=exif(orientation))
    capture = open_capture(tmp_path)
    assert capture.size == (32, 24)
    np.testing.assert_array_equal(capture[0].rgb8, RGB)


def test_sixteen_bits_palettes_greys_and_alpha_become_eight_bit_colour(tmp_path):
    grey = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80
    save(tmp_path / "1.png", grey)
    Image.fromarray(RGB).quantize(64).save(tmp_path / "2.png")
    save(tmp_path / "3.png", RGB[..., 0])
    matte = np.tile(np.arange(32, dtype=np.uint8) * 8, (24, 1))
    save(tmp_path / "4.png", np.dstack([RGB, matte]))
    save(tmp_path / "5.png", np.dstack([RGB, np.full((24, 32), 255, np.uint8)]))
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "6.jpg", quality=98)
    capture = open_capture(tmp_path)
    shown = [f.rgb8 for f in capture]
    assert all(s.shape == (24, 32, 3) and s.dtype == np.uint8 for s in shown)
    np.testing.assert_array_equal(shown[0][..., 0], grey >> 8)
    assert np.abs(shown[1].astype(int) - RGB).mean() < 6
    np.testing.assert_array_equal(shown[2][..., 1], RGB[..., 0])
    np.testing.assert_array_equal(shown[3], RGB)
    np.testing.assert_array_equal(capture.pictures.alpha(3), matte)
    assert capture.pictures.alpha(4) is None
    assert capture.pictures.alpha(2) is None
    assert np.abs(shown[5].astype(int) - RGB).mean() < 6


def test_pictures_that_can_have_no_alpha_are_not_decoded_to_look_for_it(tmp_path, monkeypatch):
    palette = Image.fromarray(RGB).quantize(4)
    palette.save(tmp_path / "1.png", transparency=0)
    Image.fromarray(RGB).convert("LA").save(tmp_path / "2.png")
    plain = Image.fromarray(RGB)
    plain.putpixel((0, 0), (1, 2, 3))
    plain.save(tmp_path / "3.png", transparency=(1, 2, 3))
    save(tmp_path / "4.png", RGB)
    capture = open_capture(tmp_path)
    index = np.asarray(palette)
    np.testing.assert_array_equal(capture.pictures.alpha(0) == 0, index == 0)
    assert capture.pictures.alpha(1) is None  # opaque everywhere
    assert capture.pictures.alpha(2)[0, 0] == 0
    monkeypatch.setattr("likeness.captures.picture_files.load_picture", None)
    assert capture.pictures.alpha(3) is None


def test_the_focal_length_follows_the_35_mm_equivalent_the_sensor_or_nothing(tmp_path):
    def focal(**tags):
        return focal_length(save(tmp_path / "a.jpg", RGB, exif=exif(**tags)))

    diagonal = math.hypot(32, 24)
    assert focal(focal_35=26) == pytest.approx(26 * diagonal / math.hypot(36, 24))
    assert focal(focal=50.0, model="Canon EOS 5D Mark III") == pytest.approx(50 * 32 / 35.8)
    assert focal(focal=10.0, per_unit=25.4, unit=2) == pytest.approx(10.0)
    assert focal(focal=50.0, model="Box") is None
    assert focal() is None
    assert focal(focal_35=0) is None


def test_photos_are_in_natural_order_and_may_differ_in_size(tmp_path):
    for number, size in ((10, (8, 8)), (2, (32, 24)), (1, (16, 12))):
        save(tmp_path / f"img_{number}.jpg", picture(number, *size), exif=exif(focal_35=50))
    capture = open_capture(tmp_path)
    assert capture.names == ("img_1", "img_2", "img_10")
    assert [f.rgb8.shape[1] for f in capture] == [16, 32, 8]
    assert isinstance(capture.focal, tuple)
    assert capture.focal[1] == pytest.approx(2 * capture.focal[0])
    assert capture.fps is None
    assert natural_order("a9") < natural_order("a10") < natural_order("b1")


def test_one_folder_per_person_asks_which(tmp_path):
    for person in ("Ada Example", "Ben Sample"):
        save(tmp_path / person / "001_0a1b2c3d.jpg", RGB)
    with pytest.raises(BadInput, match="2 people: 'Ada Example', 'Ben Sample'. Give one"):
        open_capture(tmp_path)
    with pytest.raises(BadInput, match="Did you mean 'Ada Example'"):
        open_capture(tmp_path, person="Ada Exampel")
    assert open_capture(tmp_path, person="Ben Sample").name == "Ben Sample"
    assert len(open_capture(tmp_path / "Ada Example")) == 1


def test_one_photo_is_a_capture_of_one_frame(tmp_path):
    capture = open_capture(save(tmp_path / "me.png", RGB))
    assert len(capture) == 1
    np.testing.assert_array_equal(capture[0].rgb8, RGB)


def test_a_wide_gamut_photo_is_carried_into_srgb(tmp_path):
    from PIL import ImageCms

    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    save(tmp_path / "odd.png", RGB, icc_profile=plain)
    save(tmp_path / "broken.png", RGB, icc_profile=b"not a profile")
    capture = open_capture(tmp_path)
    assert capture[1].rgb8.shape == RGB.shape
    np.testing.assert_array_equal(capture[0].rgb8, RGB)  # a broken profile is no reason to refuse


def test_a_photo_among_videos_is_still_a_photo_folder(tmp_path):
    save(tmp_path / "a.png", RGB)
    make_clip(tmp_path / "b.mp4", 2)
    assert open_capture(tmp_path).notes["layout"] == "photos"


def test_mattes_beside_a_folder_of_images_are_found(tmp_path):
    for number in range(2):
        save(tmp_path / "images" / f"{number:06d}.jpg", picture(number))
    save(tmp_path / "alpha_maps" / "000001.jpg", np.full((24, 32), 200, np.uint8))
    capture = open_capture(tmp_path)
    assert capture.name == tmp_path.name
    assert capture.pictures.alpha(0) is None
    assert abs(int(capture.pictures.alpha(1)[3, 3]) - 200) < 3
