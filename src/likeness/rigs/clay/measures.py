"""The measured face: landmark places, and the rings they form. Millimetres throughout this room."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float, Int

# Closed rings around the left eye, from the lid margin outwards, and around the mouth, from the
# inner lips outwards. Ring k and k + 1 have equally many points, so quads lie between them.
EYE = (
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    (359, 255, 339, 254, 253, 252, 256, 341, 463, 414, 286, 258, 257, 259, 260, 467),
    (446, 261, 448, 449, 450, 451, 452, 453, 464, 413, 441, 442, 443, 444, 445, 342),
    (353, 265, 340, 346, 347, 348, 349, 350, 357, 465, 417, 285, 295, 282, 283, 276),
)
MOUTH = (
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 407, 272, 271, 268, 12, 38, 41, 42, 183),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 408, 304, 303, 302, 11, 72, 73, 74, 184),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    (57, 43, 106, 182, 83, 18, 313, 406, 335, 273, 287, 410, 322, 391, 393, 164, 167, 165, 92, 186),
)
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LOWER_LID = EYE[0][1:8]
UPPER_LID = EYE[0][9:16]
BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)


@dataclass(frozen=True, eq=False)
class Measures:
    landmarks: Float[np.ndarray, "468 3"]
    mean: Float[np.ndarray, "468 3"]
    mirror: Int[np.ndarray, "468"]
    modes: Float[np.ndarray, "3 468 3"]


@cache
def measures() -> Measures:
    """`landmarks` are the face at rest with its mouth closed, a nose of no particular sex and
    published corrections of depth, `mean` the mean face as it was measured."""
    with np.load(str(files("likeness.rigs.clay") / "measures.npz")) as stored:
        face = stored["landmarks_mm"].astype(np.float64)
        mirror = stored["mirror"].astype(np.int64)
        mean = stored["mean_mm"].astype(np.float64)
        modes = stored["modes_mm"].astype(np.float64)
    face = _closed(face)
    face = 0.5 * (face + face[mirror] * np.array([-1.0, 1, 1]))
    return Measures(face, mean, mirror, modes)


def _closed(face: Float[np.ndarray, "468 3"]) -> Float[np.ndarray, "468 3"]:
    """Inner lips brought to a seam 0.4 mm wide; the rings outside follow, less and less."""
    inner = MOUTH[0]
    gaps = [face[inner[20 - k], 1] - face[inner[k], 1] - 0.4 for k in range(1, 10)]
    face = face.copy()
    for ring, share in zip(MOUTH[:4], (1.0, 0.75, 0.45, 0.1)):
        for k, gap in enumerate(gaps, 1):
            face[ring[k], 1] += 0.5 * share * gap
            face[ring[20 - k], 1] -= 0.5 * share * gap
    return face
