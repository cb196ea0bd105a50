"""Blurred pictures: whole, a part of them, or smaller, they say the same."""

import cv2
import numpy as np
import pytest

from likeness.trackers.align import Brightness


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 255, (15, 20, 3)).astype(np.uint8)
    return cv2.resize(coarse, (320, 241), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.random.default_rng(1).uniform([60, 50], [180, 160], (400, 2))


def test_slopes_are_how_values_change(picture, points):
    bright = Brightness(picture, 1.5)
    _, slopes, _ = bright.at(points)
    for axis in range(2):
        step = np.eye(2)[axis]
        change = (bright.at(points + step)[0] - bright.at(points - step)[0]) / 2
        np.testing.assert_allclose(slopes[..., axis], change, atol=1e-6)


def test_a_part_says_what_the_whole_does(picture, points):
    whole, part = Brightness(picture, 1.5), Brightness(picture, 1.5, points)
    assert part.plane.shape[0] < whole.plane.shape[0]
    for a, b in zip(whole.at(points), part.at(points), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_a_picture_blurred_much_is_kept_smaller(picture, points):
    whole, part = Brightness(picture, 4.0), Brightness(picture, 4.0, points)
    assert whole.smaller == 2
    exact = cv2.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), 4.0)
    for bright in (whole, part):
        values, slopes, inside = bright.at(points)
        at = np.round(points - 0.5).astype(int)
        off = points - 0.5 - at
        value = exact[at[:, 1], at[:, 0]]
        expected = value + (slopes * off[:, None]).sum(-1)
        np.testing.assert_allclose(values, expected, atol=6e-3)
        right = 0.5 * (exact[at[:, 1], at[:, 0] + 1] - exact[at[:, 1], at[:, 0] - 1])
        np.testing.assert_allclose(slopes[..., 0], right, atol=6e-3)
        assert inside.all()


def test_what_lies_outside_is_said_to(picture):
    bright = Brightness(picture, 1.0)
    _, _, inside = bright.at(np.array([[-5.0, 20], [20, 500], [np.nan, 1], [160, 120]]))
    assert inside.tolist() == [0, 0, 0, 1]
