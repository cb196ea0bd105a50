import sys

import numpy as np
import pytest
import torch

from likeness.captures.synthetic import film
from likeness.captures.synthetic.film import draw
from likeness.captures.synthetic.hair import browed, hairiness
from likeness.captures.synthetic.motion import perform
from likeness.captures.synthetic.subject import draw_subject
from likeness.captures.synthetic.voice import RATE, speak
from likeness.core.camera import project
from likeness.core.regions import REGION
from likeness.core.rig import embed
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT


@pytest.fixture(scope="module")
def small():
    return film(3, frames=5, size=64)


def test_the_same_seed_films_the_same_pictures_and_sound(small):
    again = film(3, frames=5, size=64)
    assert np.array_equal(small[0][2].rgb8, again[0][2].rgb8)
    assert torch.equal(small[0].sound.samples, again[0].sound.samples)


def test_another_seed_is_another_person(small):
    other = film(4, frames=5, size=64)
    assert np.abs(small[0][0].rgb8.astype(int) - other[0][0].rgb8).mean() > 10
    assert not torch.equal(small[1].identity.directions, other[1].identity.directions)


def test_the_true_landmarks_lie_on_the_person(small):
    capture, truth = small
    for index in range(len(capture)):
        alpha = capture.pictures.alpha(index)
        at = truth.landmarks[index, :468].long()
        hit = alpha[at[:, 1].clamp(0, 63), at[:, 0].clamp(0, 63)] > 100
        assert hit.mean() > 0.97


def test_many_frames_posed_a_few_at_a_time_are_those_posed_at_once():
    _, truth = film(3, frames=37, size=64)
    mesh = clay().pose(truth.identity, truth.expressions)
    at_once = project(truth.cameras, embed(mesh, clay().landmarks("mediapipe478")))
    torch.testing.assert_close(truth.landmarks, at_once, atol=1e-3, rtol=0)


def test_a_film_that_keeps_nothing_holds_one_frame_and_draws_it_once(monkeypatch):
    drawn = []
    module = sys.modules[draw.__module__]
    monkeypatch.setattr(module, "draw", lambda *a: drawn.append(1) or draw(*a))
    capture, _ = film(3, frames=4, size=32, keep=0)
    for frame in capture:
        assert frame.rgb8.shape == (32, 32, 3)
        assert frame.alpha is not None
        assert len(capture.pictures._kept) == 1
    assert len(drawn) == 4


def test_the_regions_of_a_portrait_are_all_there(small):
    labels = set(np.unique(small[0].pictures.regions(0)).tolist())
    wanted = ("background", "skin", "lips", "brows", "eyes", "irises", "hair", "neck", "clothes")
    assert {REGION[name] for name in wanted} <= labels


def test_the_matte_agrees_with_the_regions(small):
    alpha, regions = small[0].pictures.alpha(1), small[0].pictures.regions(1)
    assert (alpha[regions == 0] < 255).mean() > 0.95
    assert (alpha[regions != 0] > 0).all()


def test_loudness_follows_the_mouth():
    motion = perform(200, 25.0, np.random.default_rng(5))
    sound = speak(motion, 25.0, np.random.default_rng(6))
    window = RATE // 25
    energy = sound.samples[: 200 * window].view(200, window).square().mean(-1).sqrt().numpy()
    vowels = motion.coefficients[:, ARKIT.index("jawOpen")]
    assert np.corrcoef(energy, vowels)[0, 1] > 0.4
    assert sound.samples.abs().max() <= 0.5 + 1e-6


def test_eyes_close_fully_in_a_blink_and_coefficients_stay_in_range():
    motion = perform(250, 25.0, np.random.default_rng(7))
    assert motion.coefficients.min() >= 0
    assert motion.coefficients.max() <= 1
    assert motion.coefficients[:, ARKIT.index("eyeBlinkLeft")].max() > 0.95


def test_hair_stands_off_the_scalp_and_shoulders_do_not_follow_the_head():
    subject = draw_subject(1)
    assert float(subject.hair_lift.norm(dim=-1).max()) > 0.004
    assert float(subject.follow[subject.part == 2].max()) == 0
    assert float(subject.follow[subject.part == 1].min()) == 1


def test_hair_covers_the_crown_and_the_nape_but_neither_forehead_nor_chin():
    places = np.array([[0, 112, -60], [0, 0, -170], [0, 40, 15], [0, -110, 10], [60, -20, -20.0]])
    assert hairiness(places, seed=3, raised=4).round(2).tolist() == [1, 1, 0, 0, 0]


def test_brows_are_as_dense_on_both_sides_and_end_before_nose_and_ears():
    x = np.linspace(-70, 70, 281)
    row = np.stack([x, np.full_like(x, 17), np.full_like(x, 15)], -1)
    dense = np.stack([browed(row + [0, dy, 0], seed=5) for dy in np.linspace(-6, 6, 25)]).max(0)
    assert dense[np.abs(x) < 8].max() == dense[np.abs(x) > 62].max() == 0
    left, right = dense[x > 0].mean(), dense[x < 0].mean()
    assert left > 0.3
    assert abs(left - right) < 0.1
