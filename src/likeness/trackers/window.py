"""Where the head is in a whole clip: one fixed square around head and shoulders."""

from dataclasses import dataclass

import numpy as np

from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.trackers.mesh_points import FaceBoxes, FaceMesh

_LOOKS = 24  # pictures looked at, evenly over the clip
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
    looks = np.unique(np.linspace(0, len(capture) - 1, _LOOKS).round().astype(int))
    faces = []
    with FaceBoxes() as boxes, FaceMesh() as mesh:
        for index in looks:
            picture = capture[int(index)].rgb8
            found = boxes.find(picture)
            if not found:
                continue
            x, y, side = _chosen(found, person)
            face = mesh.find_in(picture, np.array([x, y]), 1.8 * side)
            if face is None:
                faces.append((x, y, side))
            else:
                cx, cy = face.centre
                faces.append((float(cx), float(cy), face.width))
    if not faces:
        raise BadInput(
            f"No face was found in {capture.name!r} ({len(looks)} pictures looked at). Is the "
            "person in the picture, the right way up and lit? `likeness ingest --crop none` reads "
            "a recording without looking for a face."
        )
    return around(np.array(faces))


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
