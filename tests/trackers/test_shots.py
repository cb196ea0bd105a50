"""Cuts, and which stretches of a clip belong to one scene."""

import numpy as np
import pytest

from likeness.captures.in_memory import in_memory
from likeness.core.capture import last_fifth, parted
from likeness.core.errors import BadInput
from likeness.trackers import window
from likeness.trackers.detection import of_one_scene
from likeness.trackers.shots import Cuts
from likeness.trackers.window import find_face_window


def scene(seed: int, moved: int = 0) -> np.ndarray:
    """A wall of large blots, before which something moves."""
    rng = np.random.default_rng(seed)
    wall = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    wall[30:60, 20 + moved : 40 + moved] = 200
    return wall


def looked(pictures: list[np.ndarray]) -> Cuts:
    cuts = Cuts()
    for picture in pictures:
        cuts.look(picture)
    return cuts


def test_motion_is_no_cut_and_another_scene_is_one():
    still = [scene(0, k) for k in range(10)]
    assert set(looked(still).shots) == {0}
    assert looked([*still, *(scene(1, k) for k in range(5))]).shots == [0] * 10 + [1] * 5


def test_stretches_of_one_scene_belong_together_whatever_lies_between():
    pictures = [scene(0, k) for k in range(6)] + [scene(1)] * 4 + [scene(0, k) for k in range(9)]
    cuts = looked(pictures)
    assert max(cuts.shots) == 2
    aside = cuts.aside(np.ones(19, bool))
    assert aside.tolist() == [False] * 6 + [True] * 4 + [False] * 9


def test_the_scene_that_shows_the_person_counts_not_the_longest():
    cuts = looked([scene(0)] * 9 + [scene(1)] * 4)
    seen = np.array([False] * 9 + [True] * 4)
    assert cuts.aside(seen).tolist() == [True] * 9 + [False] * 4


def test_a_clip_that_shakes_is_not_cut_all_the_time():
    shaken = [np.roll(scene(0), 5 * (k % 2), 1) for k in range(12)]
    assert max(looked(shaken).shots) <= 1


class Painted:
    """Finds a face wherever a picture has a white square, and is a face mesh that finds nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def find(self, picture):
        y, x = np.nonzero((picture == 255).all(-1))
        return [(float(x.mean()), float(y.mean()), float(np.ptp(x)))] if len(x) else []

    def find_in(self, *_):
        return None


@pytest.fixture
def painted(monkeypatch):
    monkeypatch.setattr(window, "FaceBoxes", Painted)
    monkeypatch.setattr(window, "FaceMesh", Painted)


def with_face(picture: np.ndarray, x: int, side: int) -> np.ndarray:
    out = np.minimum(picture, 250)
    out[20 : 20 + side, x : x + side] = 255
    return out


def test_the_window_is_that_of_the_scene_shown_most(painted):
    mine = [with_face(scene(0), 10, 20)] * 8
    other = [with_face(scene(1), 50, 40)] * 5
    alone, both = find_face_window(in_memory(mine)), find_face_window(in_memory(mine + other))
    assert both == alone


def test_photos_are_no_cut_clip(painted):
    mine, other = with_face(scene(0), 10, 20), with_face(scene(1), 30, 20)
    photos = [mine, mine, other]
    assert find_face_window(in_memory(photos)) == find_face_window(in_memory([mine] * 2))
    assert find_face_window(in_memory(photos, fps=None)) != find_face_window(in_memory([mine] * 2))
    found = of_one_scene(np.zeros((3, 478, 3)), np.ones(3), looked(photos), moving=False)
    assert (found.confidence > 0).all()


def test_a_face_in_three_of_three_hundred_pictures_is_found(painted):
    wall, face = scene(0), with_face(scene(0), 10, 20)
    pictures = [face if 150 <= k < 153 else wall for k in range(300)]
    assert find_face_window(in_memory(pictures)) == find_face_window(in_memory([face] * 3))
    with pytest.raises(BadInput, match="No face was found"):
        find_face_window(in_memory([wall] * 50))


def test_splits_go_by_the_frames_seen_where_one_side_shows_nobody():
    capture = in_memory([scene(0)] * 50)
    assert parted(capture, range(50)) == last_fifth(50)
    assert parted(capture, range(20, 45)) == last_fifth(50)
    early = parted(capture, range(30))
    assert early.test == tuple(range(24, 30))
    assert early.train == tuple(range(24))
