"""Loop subdivision as a matrix, so that whatever lives on the control mesh becomes smooth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class Smooth:
    """`matrix` takes values at control vertices to the fine ones; control vertices come first,
    then one vertex per edge of `edges`."""

    matrix: csr_matrix
    triangles: Int[np.ndarray, "F 3"]
    edges: Int[np.ndarray, "E 2"]
    mirror: Int[np.ndarray, " V"]


def subdivide(
    triangles: Int[np.ndarray, "F 3"], mirror: Int[np.ndarray, " N"], count: int
) -> Smooth:
    """One round of Loop's scheme (1987) with its rule for open borders."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    opposite = np.concatenate([triangles[:, 2], triangles[:, 0], triangles[:, 1]])
    edges, which = np.unique(np.sort(sides, -1), axis=0, return_inverse=True)
    which = which.reshape(-1)
    uses = np.bincount(which, minlength=len(edges))
    border = uses == 1
    rows, columns, values = [], [], []

    def add(row: np.ndarray, column: np.ndarray, value: np.ndarray | float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(np.broadcast_to(value, row.shape))

    at = count + np.arange(len(edges))
    for end in (0, 1):
        add(at, edges[:, end], np.where(border, 0.5, 0.375))
    inner = ~border[which]
    add(count + which[inner], opposite[inner], 0.125)
    _vertex_rule(edges, border, count, add)
    size = (count + len(edges), count)
    matrix = csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=size
    )
    middle = (count + which).reshape(3, -1)
    a, b, c = triangles.T
    ab, bc, ca = middle
    fine = np.concatenate(
        [
            np.stack([a, ab, ca], -1),
            np.stack([ab, b, bc], -1),
            np.stack([ca, bc, c], -1),
            np.stack([ab, bc, ca], -1),
        ]
    )
    return Smooth(matrix, fine, edges, _mirrored(edges, mirror, count))


def _vertex_rule(edges: np.ndarray, border: np.ndarray, count: int, add) -> None:
    both = np.concatenate([edges, edges[:, ::-1]])
    on_border = np.zeros(count, bool)
    on_border[edges[border].ravel()] = True
    degree = np.bincount(both[:, 0], minlength=count)
    n = np.maximum(degree, 3)
    beta = (0.625 - (0.375 + 0.25 * np.cos(2 * np.pi / n)) ** 2) / n
    inner = ~on_border[both[:, 0]]
    add(both[inner, 0], both[inner, 1], beta[both[inner, 0]])
    outer = np.concatenate([edges[border], edges[border][:, ::-1]])
    add(outer[:, 0], outer[:, 1], 0.125)
    every = np.arange(count)
    add(every, every, np.where(on_border, 0.75, 1 - degree * beta))


def _mirrored(edges: np.ndarray, mirror: np.ndarray, count: int) -> np.ndarray:
    partner = np.sort(mirror[edges], -1)
    order = np.lexsort(edges.T[::-1])
    keys = edges[order, 0].astype(np.int64) * count + edges[order, 1]
    wanted = partner[:, 0].astype(np.int64) * count + partner[:, 1]
    return np.concatenate([mirror, count + order[np.searchsorted(keys, wanted)]])


def interpolated(
    smooth: Smooth, points: Float[np.ndarray, "N C"], rounds: int = 8
) -> Float[np.ndarray, "N C"]:
    """Control points whose subdivision passes through `points` at the control vertices."""
    control = points.copy()
    for _ in range(rounds):
        control += 0.7 * (points - (smooth.matrix @ control)[: len(points)])
    return control
