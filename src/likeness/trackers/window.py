"""Where the head is in a whole clip: one fixed square around head and shoulders."""

from dataclasses import dataclass

import numpy as np

from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.trackers.mesh_points import FaceBoxes, FaceMesh
from likeness.trackers.shots import cuts_of, scenes_of, thumbnail

_LOOKS = 24  # pictures looked at, evenly over the clip
_MORE = 400  # where none of them shows a face
_FACE_SHARE = 0.40  # of the window's side that the width of the face takes


@dataclass(frozen=True)
class Window:
    """A square in pixels of the recording; it may reach over the edges."""

    left: float
    top: float
    side: float


def find_face_window(capture: Capture, person: int | None = None) -> Window:
    """The square that holds the head throughout the clip, hair and shoulders included.

    `person` counts faces from the left; without it the largest face is taken. A few pictures
    spread over the clip are looked at; small faces are searched for in tiles.
    """
    faces = _faces(capture, _evenly(len(capture), _LOOKS), person)
    if not faces:
        faces = _faces(capture, _evenly(len(capture), _MORE), person)
    if not faces:
        raise BadInput(
            f"No face was found in {capture.name!r} ({min(len(capture), _MORE)} pictures looked "
            "at). Is the person in the picture, the right way up and lit? `likeness ingest --crop "
            "none` reads a recording without looking for a face."
        )
    kept = _of_one_scene(capture, [index for index, _ in faces])
    return around(np.array([face for index, face in faces if index in kept]))


def _evenly(count: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()


def _faces(
    capture: Capture, looks: list[int], person: int | None
) -> list[tuple[int, tuple[float, float, float]]]:
    """Numbers of pictures that show the person, with the face's centre and width."""
    faces = []
    with FaceBoxes() as boxes, FaceMesh() as mesh:
        for index in looks:
            picture = capture[index].rgb8
            found = boxes.find(picture)
            if not found:
                continue
            x, y, side = _chosen(found, person)
            face = mesh.find_in(picture, np.array([x, y]), 1.8 * side)
            if face is None:
                faces.append((index, (x, y, side)))
            else:
                cx, cy = face.centre
                faces.append((index, (float(cx), float(cy), face.width)))
    return faces


def _of_one_scene(capture: Capture, looks: list[int]) -> set[int]:
    """Those of some pictures that belong to the scene which most of them show. Only where they
    differ are all of the clip's looked at for cuts, as a camera that is carried differs too."""
    if capture.fps is None:  # photos, each a scene of its own
        return set(looks)
    thumbs = np.stack([thumbnail(capture[index].rgb8) for index in looks])
    if not scenes_of(thumbs, np.arange(len(looks))).any():
        return set(looks)
    cuts = cuts_of(capture)
    seen = np.zeros(len(capture), bool)
    seen[looks] = True
    other = cuts.aside(seen)
    return {index for index in looks if not other[index]}


def _chosen(
    found: list[tuple[float, float, float]], person: int | None
) -> tuple[float, float, float]:
    if person is None:
        return found[0]
    row = sorted(found)
    if not 0 <= person < len(row):
        raise BadInput(f"--person {person}: {len(row)} face(s) were found, counted from 0.")
    return row[person]


def around(faces: np.ndarray) -> Window:
    """One window for faces given as centre and width; outliers do not stretch it."""
    width = float(np.median(faces[:, 2]))
    near = np.abs(faces[:, :2] - np.median(faces[:, :2], 0)).max(-1) < 2.5 * width
    low, high = faces[near, :2].min(0), faces[near, :2].max(0)
    side = max(width / _FACE_SHARE, float((high - low).max()) + 1.9 * width)
    centre = 0.5 * (low + high) + np.array([0.0, 0.03 * width])
    return Window(float(centre[0] - side / 2), float(centre[1] - side / 2), side)
