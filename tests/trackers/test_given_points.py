"""Landmarks and models that users bring: read, checked, refused in one line."""

import json
import types
import zipfile

import numpy as np
import pytest

from likeness.core.capture import Capture
from likeness.core.errors import LikenessError
from likeness.trackers.detection import found_points
from likeness.trackers.given_points import given_points
from likeness.trackers.task_mesh import TaskMesh
from likeness.verbs.track import tracker

FRAMES, SIZE = 4, 40


class Cut:
    """Dark pictures, then bright ones."""

    def rgb(self, index: int) -> np.ndarray:
        return np.full((SIZE, SIZE, 3), 20 if index < 2 else 220, np.uint8)

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


CAPTURE = Capture("cut", Cut(), tuple(range(FRAMES)), (SIZE, SIZE), fps=25.0)


def points(count: int = 478, width: int = 2) -> np.ndarray:
    found = np.random.default_rng(0).uniform(5, 35, (FRAMES, count, width))
    found[1] = np.nan
    return found


def test_npz_and_json_say_the_same_and_frames_without_a_face_stay_empty(tmp_path):
    own = points()
    np.savez(tmp_path / "ä.npz", points=own, confidence=np.full(FRAMES, 0.5))
    rows = [None if np.isnan(row).any() else row.tolist() for row in own]
    told = {"points": rows, "confidence": [0.5] * FRAMES}
    (tmp_path / "b.json").write_text(json.dumps(told))
    first = found_points(CAPTURE, None, tmp_path / "ä.npz")
    second = found_points(CAPTURE, None, tmp_path / "b.json")
    np.testing.assert_allclose(first.points, second.points)
    np.testing.assert_allclose(first.points[0, :, :2], own[0], rtol=1e-6)
    assert first.confidence.tolist() == [0.5, 0, 0.5, 0.5]
    assert np.isnan(first.points[1]).all()
    assert first.shots.tolist() == [0, 0, 1, 1]


def test_points_of_larger_pictures_are_scaled_and_irises_may_be_missing(tmp_path):
    np.savez(tmp_path / "a.npz", points=2 * points(468, 3), size=[2 * SIZE, 2 * SIZE])
    found, _ = given_points(tmp_path / "a.npz", CAPTURE)
    np.testing.assert_allclose(found[0, :468, :2], points(468, 3)[0, :, :2], rtol=1e-6)
    assert np.isfinite(found[0, 468:]).all()


def bad_files(folder):
    np.savez(folder / "few.npz", points=points()[:2])
    np.savez(folder / "layout.npz", points=points(68))
    np.savez(folder / "other.npz", landmarks=points())
    np.savez(folder / "sure.npz", points=points(), confidence=np.full(FRAMES, 7.0))
    np.savez(folder / "pickled.npz", points=np.array([{}], object))
    (folder / "broken.npz").write_bytes(b"PK\x03\x04half")
    (folder / "words.json").write_text('{"points": [["a"]]}')
    (folder / "ragged.json").write_text('{"points": [[[1, 2]], [[1, 2], [3, 4]]]}')
    return {
        "few.npz": "holds 2 frames; the capture has 4",
        "layout.npz": "of size 4x68x2",
        "other.npz": "no 'points'; it has: landmarks",
        "sure.npz": "outside 0 to 1",
        "pickled.npz": "no .npz of plain arrays",
        "broken.npz": "no .npz of plain arrays",
        "words.json": "no numbers of one shape",
        "ragged.json": "no numbers of one shape",
        "absent.json": "There is no file",
    }


def test_a_file_that_holds_no_landmarks_is_one_line(tmp_path):
    for name, says in bad_files(tmp_path).items():
        with pytest.raises(LikenessError, match=says) as told:
            given_points(tmp_path / name, CAPTURE)
        assert "\n" not in str(told.value)


def test_a_file_chooses_the_default_tracker_with_its_landmarks(tmp_path):
    assert tracker(str(tmp_path / "a.npz"), person=1).points == tmp_path / "a.npz"
    assert tracker("landmarks", focal=300.0).points is None
    with pytest.raises(LikenessError, match="Did you mean 'landmarks'"):
        tracker("landmark")


def test_a_model_that_is_none_is_refused_in_one_line(tmp_path):
    (tmp_path / "page.task").write_text("<html>404</html>")
    with zipfile.ZipFile(tmp_path / "zip.task", "w") as bundle:
        bundle.writestr("face_detector.tflite", b"nothing")
    says = {"page": "no MediaPipe task bundle", "zip": "no face landmarker", "none": "no file"}
    for name, what in says.items():
        with pytest.raises(LikenessError, match=what) as told:
            TaskMesh(tmp_path / f"{name}.task")
        assert "\n" not in str(told.value)


def test_the_landmarkers_answer_becomes_faces_largest_first_with_its_scores():
    def face(scale):
        own = np.random.default_rng(1).uniform(0, scale, (478, 3))
        return [types.SimpleNamespace(x=x, y=y, z=z) for x, y, z in own]

    def score(value):
        return [types.SimpleNamespace(category_name="jawOpen", score=value)]

    answer = types.SimpleNamespace(
        face_landmarks=[face(0.2), face(0.9)], face_blendshapes=[score(0.1), score(0.7)]
    )
    mesh = object.__new__(TaskMesh)
    found = mesh.told(answer, 100, 50)
    assert found[0].width > found[1].width
    assert found[0].points[:, 0].max() == pytest.approx(90, abs=2)
    assert mesh.scores == {"jawOpen": 0.7}
