"""Landmarks over a clip: found in every picture on its own, followed where that fails, never
invented."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from likeness.core.capture import Capture
from likeness.trackers.given_points import given_points
from likeness.trackers.mesh_points import POINTS, FaceBoxes, FaceMesh, Found
from likeness.trackers.shots import Cuts, cuts_of
from likeness.trackers.task_mesh import TaskMesh
from likeness.trackers.together import together

_log = logging.getLogger(__name__)
_RELATIVE_CROP = 1.7  # side of the followed crop in face widths
_JUMP = 0.6  # face widths a face may move between frames


@dataclass(frozen=True, eq=False)
class Landmarks2D:
    """Per frame 478 points in pixels (NaN where no face was found), and how sure we are.

    `shots` numbers the stretches between cuts; those that show another scene than most are
    `aside`, and nobody is followed there.
    """

    points: Float[np.ndarray, "T 478 3"]
    confidence: Float[np.ndarray, " T"]
    shots: Int[np.ndarray, " T"]
    aside: Bool[np.ndarray, " T"]


def found_points(capture: Capture, person: int | None, source: Path | None) -> Landmarks2D:
    """Landmarks by the bundled detector, by the model of a .task file, or out of a file of theirs
    (see `given_points`)."""
    if source is None or source.suffix.lower() == ".task":
        return detect(capture, person, source)
    points, confidence = given_points(source, capture)
    shots = np.array(cuts_of(capture).shots)
    return Landmarks2D(points, confidence, shots, np.zeros(len(shots), bool))  # whoever gave knows


def of_one_scene(
    points: Float[np.ndarray, "T 478 3"],
    confidence: Float[np.ndarray, " T"],
    cuts: Cuts,
    moving: bool,
) -> Landmarks2D:
    """What was found in the scene that shows the person most; nothing in others. Photos, which do
    not make a `moving` picture, each show one of their own and all count."""
    other = cuts.aside(confidence > 0) & moving
    points[other], confidence[other] = np.nan, 0
    if other.any():
        _log.warning(
            "The clip is cut: %d of %d frames show another scene and are left out.",
            int(other.sum()), len(other),
        )  # fmt: skip
    return Landmarks2D(points, confidence, np.array(cuts.shots), other)


def detect(capture: Capture, person: int | None = None, model: Path | None = None) -> Landmarks2D:
    """One person's face mesh in each frame. Frames in which it is not seen stay empty. `model` is a
    face_landmarker.task to look with, in place of the bundled mesh."""
    count, faces = len(capture), 2 if person is None else 4
    points = np.full((count, POINTS, 3), np.nan, np.float32)
    confidence, cuts = np.zeros(count, np.float32), Cuts()
    last: Found | None = None
    look = FaceMesh(faces=faces) if model is None else TaskMesh(model, faces)
    with look as mesh, FaceBoxes() as boxes:
        ahead = together(lambda i: capture[i].rgb8, range(count), "finding the face")
        for index, picture in enumerate(ahead):
            last = None if cuts.look(picture) else last
            found = _find(mesh, boxes, picture, last, person)
            if found is not None and plausible(found):
                points[index] = found.points
                confidence[index] = confidence_of(found, last, picture.shape)
                last = found
    return of_one_scene(points, confidence, cuts, capture.fps is not None)


def _find(
    mesh: FaceMesh | TaskMesh,
    boxes: FaceBoxes,
    picture: np.ndarray,
    last: Found | None,
    person: int | None,
) -> Found | None:
    """The person's face: where it was last, else in the whole picture, else in a close look."""
    found = mesh.find(picture)
    if last is not None and found:
        near = min(found, key=lambda f: float(np.abs(f.centre - last.centre).max()))
        if np.abs(near.centre - last.centre).max() < _JUMP * last.width:
            return near
    if last is not None:
        close = mesh.find_in(picture, last.centre, _RELATIVE_CROP * last.width)
        if close is not None and 0.5 < close.width / last.width < 2:
            return close
    if found and last is None:
        return _of_person(found, person)
    for x, y, side in boxes.find(picture)[:3]:
        close = mesh.find_in(picture, np.array([x, y]), 1.8 * side)
        if close is not None:
            return close
    return None


def _of_person(found: list[Found], person: int | None) -> Found | None:
    if person is None:
        return found[0]
    row = sorted(found, key=lambda f: float(f.centre[0]))
    return row[person] if person < len(row) else None


def plausible(found: Found) -> bool:
    """A face mesh on something else is a crumpled one."""
    height = float(np.linalg.norm(found.points[10, :2] - found.points[152, :2]))
    return found.width > 12 and 0.5 < height / found.width < 4


def confidence_of(found: Found, last: Found | None, shape: tuple[int, ...]) -> float:
    """1 for a face well inside the picture that moves as faces do; less where it is cut off,
    small, or jumps."""
    points = found.points[:468, :2]
    inside = ((points >= 0) & (points < (shape[1], shape[0]))).all(-1).mean()
    size = min(1.0, found.width / 40)
    jump = 0.0
    if last is not None:
        jump = float(np.abs(found.centre - last.centre).max()) / found.width
    return float(np.clip(inside * size * (1 - jump), 0.05, 1))
