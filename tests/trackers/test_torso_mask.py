"""Where the torso is taken to be."""

import numpy as np
import pytest

from likeness.captures.synthetic import film
from likeness.core.regions import REGION
from likeness.trackers.torso_mask import enough, torso_at, torso_mask


@pytest.fixture(scope="module")
def pair():
    return film(4, frames=3, size=128)


def test_the_torso_is_the_clothes_and_little_else(pair):
    capture, truth = pair
    found = torso_at(capture, truth, 1)
    assert found is not None
    torso, front = found
    regions = truth.maps.regions(1)
    clothes = regions == REGION["clothes"]
    assert (torso & clothes).sum() > 0.9 * clothes.sum()
    face = np.isin(regions, [REGION[name] for name in ("skin", "eyes", "lips", "brows")])
    assert not (torso & face).sum() > 0.02 * face.sum()
    assert (front & face).sum() > 0.9 * face.sum()
    assert not (torso & front).any()
    assert not (torso & (regions == REGION["background"])).any()


def test_without_a_face_a_person_is_all_torso(pair):
    capture, _ = pair
    person = np.zeros((128, 128), bool)
    person[60:] = True
    torso, front = torso_mask(capture.pictures.rgb(0), person, np.full((478, 2), np.nan))
    assert np.array_equal(torso, person)
    assert not front.any()


def test_a_sliver_of_torso_is_not_enough():
    mask = np.zeros((100, 100), bool)
    mask[-3:] = True
    assert not enough(mask)
    mask[-5:] = True
    assert enough(mask)


def test_a_face_half_out_of_the_picture_does_no_harm(pair):
    capture, truth = pair
    points = truth.landmarks[0].numpy() + (90, -60)
    torso, _ = torso_mask(capture.pictures.rgb(0), truth.maps.alpha(0) >= 128, points)
    assert torso.shape == (128, 128)
