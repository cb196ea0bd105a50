"""A window of the pictures, with its camera: points stay on what they marked."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_media import held_capture, held_track, picture

from likeness.captures.window import Window, cropped_capture, cut
from likeness.core.camera import project


def test_a_whole_number_window_of_equal_size_copies_pixels():
    whole = picture(3)
    np.testing.assert_array_equal(cut(whole, Window(5, 2, 10, 10)), whole[2:12, 5:15])


def test_shrinking_averages_areas():
    noise = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    small = cut(noise, Window(4, 8, 16, 4))
    blocks = noise[8:24, 4:20].reshape(4, 4, 4, 4, 3).mean((1, 3))
    assert np.abs(small - blocks).max() <= 1


def test_beyond_the_edge_colour_continues_and_mattes_end():
    whole = picture(3)
    wide = cut(whole, Window(-8, -4, 40, 40))
    assert (wide[:5, :9] == whole[0, 0]).all()
    matte = cut(np.full((24, 32), 255, np.uint8), Window(-8, -4, 40, 40), beyond_edge=0)
    assert matte[:4].max() == 0
    assert matte[10, 20] == 255


def test_labels_are_never_mixed():
    labels = np.random.default_rng(2).choice([0, 9], (24, 32)).astype(np.uint8)
    assert set(np.unique(cut(labels, Window(0, 0, 23.7, 9), 0, labels=True))) <= {0, 9}


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 10), st.floats(-5, 10), st.floats(8, 40), st.integers(4, 64))
def test_projections_move_with_the_window(left, top, side, size):
    capture = held_capture(3, track=held_track(3), focal=60.0)
    seen = cropped_capture(capture, left, top, side, size)
    assert seen.track is not None
    assert capture.track is not None
    points = torch.randn(3, 5, 3) * 0.1
    before, after = (project(t.cameras, points) for t in (capture.track, seen.track))
    moved = (before - torch.tensor([left, top])) * (size / side)
    torch.testing.assert_close(after, moved, atol=1e-2, rtol=1e-4)
    assert seen[0].rgb8.shape == (size, size, 3)
    assert seen.pictures.alpha(0).shape == (size, size)
    assert abs(seen.focal - 60 * size / side) < 1e-6


def test_a_window_in_a_window_is_told_in_pixels_of_the_original():
    capture = held_capture(2)
    once = cropped_capture(capture, 4, 2, 20, 10)
    twice = cropped_capture(once, 1, 3, 5, 5)
    window = twice.notes["window"]
    assert (window["left"], window["top"], window["side"]) == (6, 8, 10)
    assert (window["width"], window["height"]) == (32, 24)
