"""Displacements under which no triangle turns inside out, by smoothing only where one would."""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix, diags

LEAST = 0.08  # cosine between a triangle before and after; 0 stands on its edge
_ROUNDS = 6  # of smoothing before more of the surroundings join
_WIDEST = 12  # rings of surroundings


class Untangler:
    """Of one surface at rest. Neighbours pull by 1 / distance, so that corners of a sliver, a
    fraction of a millimetre apart, go together."""

    def __init__(self, points: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "F 3"]) -> None:
        self.points, self.triangles = points, triangles
        self.normals = _normals(points, triangles)
        sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        sides = np.concatenate([sides, sides[:, ::-1]]).astype(np.int64) @ [len(points), 1]
        ends = np.divmod(np.unique(sides), len(points))
        length = np.linalg.norm(points[ends[0]] - points[ends[1]], axis=-1)
        pull = csr_matrix((1 / (length + 0.1), ends), shape=(len(points), len(points)))
        self.mean = csr_matrix(diags(1 / np.asarray(pull.sum(1)).ravel()) @ pull)

    def turned(
        self, moved: Float[np.ndarray, "V 3"], among: Int[np.ndarray, " N"], least: float = LEAST
    ) -> Int[np.ndarray, " M"]:
        """Which of some triangles a displacement turns by a right angle, or nearly."""
        after = _normals(self.points + moved, self.triangles[among])
        return among[(after * self.normals[among]).sum(-1) < least]

    def __call__(
        self,
        moved: Float[np.ndarray, "V 3"],
        before: Float[np.ndarray, "V 3"] | float = 0.0,
        least: float = LEAST,
    ) -> Float[np.ndarray, "V 3"]:
        """`moved`, smoothed at triangles that it would turn on top of `before`, and around them."""
        out = moved.copy()
        turned = self.turned(out + before, np.arange(len(self.triangles)), least)
        near = np.zeros(len(out), bool)
        for ring in range(_WIDEST):
            if not len(turned):
                break
            near[self.triangles[turned]] = True
            near |= (self.mean @ near) > 0
            here = np.flatnonzero(near)
            among = np.flatnonzero(near[self.triangles].any(-1))
            rows = self.mean[here]
            for _ in range(_ROUNDS + 4 * ring):
                out[here] = 0.3 * out[here] + 0.7 * (rows @ out)
                turned = self.turned(out + before, among, least)
                if not len(turned):
                    break
            for corners in self.triangles[turned]:  # needles: their corners go together
                out[corners] = out[corners].mean(0)
            turned = self.turned(out + before, among, least)
        return out


def _normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points.T[:, corner] for corner in triangles.T)
    (x, y, z), (u, v, w) = b - a, c - a  # numpy's `cross` takes twice as long
    normals = np.stack([y * w - z * v, z * u - x * w, x * v - y * u])
    return (normals / np.maximum(np.sqrt((normals * normals).sum(0)), 1e-12)).T
