"""Where other people's landmarks lie on the clay head."""

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
    """The 468 face points are vertices of ours; the ten of the irises lie on the eyeballs."""
    first = np.full(len(points), -1)
    corner = np.zeros(len(points), np.int64)
    for k in (2, 1, 0):
        first[faces[:, k]] = np.arange(len(faces))
        corner[faces[:, k]] = k
    vertices = np.arange(468)
    vertices = np.concatenate([vertices, _irises(points, ranges)])
    weights = np.zeros((478, 3))
    weights[np.arange(478), corner[vertices]] = 1.0
    return Embedding(
        torch.from_numpy(first[vertices]),
        torch.from_numpy(weights).float(),
        torch.ones(478, dtype=torch.long),
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
