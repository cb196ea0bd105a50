"""Where other people's landmarks lie on the clay head."""

from importlib.resources import files

import numpy as np
import torch

from likeness.core.rig import Embedding
from likeness.rigs.clay.control import EYE_CENTRE
from likeness.rigs.clay.parts import IRIS_RADIUS

# The 68 points of the classical layout among MediaPipe's: jaw from the subject's right ear to the
# left one, brows, nose, eyes, outer and inner lips.
CLASSIC = (
    127, 234, 93, 132, 58, 172, 136, 150, 152, 379, 365, 397, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 6, 195, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,
    78, 81, 13, 311, 308, 402, 14, 178,
)  # fmt: skip


def mediapipe478(faces: np.ndarray, points: np.ndarray, ranges: dict[str, slice]) -> Embedding:
    """The 468 face points where MediaPipe puts them on heads like ours (`landmarks.npz`; the first
    468 vertices are where the mean face has them), and ten vertices of the eyeballs for the
    irises."""
    with np.load(str(files("likeness.rigs.clay") / "landmarks.npz")) as stored:
        corners, shares = stored["vertices"].astype(np.int64), stored["weights"]
    irises = np.repeat(_irises(points, ranges)[:, None], 3, 1)
    corners = np.concatenate([corners, irises])
    shares = np.concatenate([shares, np.tile([1.0, 0.0, 0.0], (10, 1))])
    triangles = _with_corners(faces, corners)
    here = faces[triangles][:, :, None] == corners[:, None]  # corner of the triangle, our corner
    return Embedding(
        torch.from_numpy(triangles),
        torch.from_numpy((here * shares[:, None]).sum(-1)).float(),
        torch.ones(478, dtype=torch.long),
    )


def _with_corners(faces: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The triangle with these three corners; any with the vertex where all three are the same."""
    index = {tuple(sorted(face)): k for k, face in enumerate(faces.tolist())}
    around = {vertex: k for k, face in enumerate(faces.tolist()) for vertex in face}
    return np.array(
        [around[c[0]] if c[0] == c[1] else index[tuple(sorted(c))] for c in corners.tolist()]
    )


def _irises(points: np.ndarray, ranges: dict[str, slice]) -> np.ndarray:
    """Per eye the pupil's middle and four points of the rim. MediaPipe's first is the right eye;
    rim order is towards the picture's right, up, left, down."""
    found = []
    for name, centre in (("right_eye", EYE_CENTRE * [-1, 1, 1]), ("left_eye", EYE_CENTRE)):
        where = ranges[name]
        ball = points[where] - centre
        r = IRIS_RADIUS
        depth = np.sqrt(144 - r * r)
        for x, y, z in ((0, 0, 12.8), (r, 0, depth), (0, r, depth), (-r, 0, depth), (0, -r, depth)):
            found.append(where.start + int(np.abs(ball - [x, y, z]).sum(-1).argmin()))
    return np.array(found)


def classic68(whole: Embedding) -> Embedding:
    index = torch.tensor(CLASSIC)
    return Embedding(whole.triangles[index], whole.weights[index], whole.known[index])
