"""Smooth fields on the control mesh: harmonic for weights, biharmonic for displacements."""

from collections.abc import Mapping
from functools import cache

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import splu

from likeness.rigs.clay.control import control


@cache
def _laplacian() -> csr_matrix:
    """Graph Laplacian with edge weight 1 / (length + 0.3 mm). Eye holes and the mouth's slit keep
    upper from lower by themselves."""
    mesh = control()
    t = mesh.triangles
    sides = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    sides = np.unique(np.sort(sides, -1), axis=0)
    weight = 1 / (
        np.linalg.norm(mesh.points[sides[:, 0]] - mesh.points[sides[:, 1]], axis=-1) + 0.3
    )
    n = len(mesh.points)
    both = np.concatenate([sides, sides[:, ::-1]])
    w = csr_matrix((np.concatenate([weight, weight]), both.T), shape=(n, n))
    return csr_matrix(diags(np.asarray(w.sum(1)).ravel()) - w)


def solve(
    handles: Mapping[int, np.ndarray | tuple[float, ...] | float],
    free: Bool[np.ndarray, " N"],
    harmonic: bool = False,
) -> Float[np.ndarray, "N C"]:
    """Values everywhere from `handles` (vertex to value); zero outside `free`."""
    mesh = control()
    first = np.atleast_1d(np.asarray(next(iter(handles.values())), float))
    values = np.zeros((len(mesh.points), len(first)))
    fixed = ~free
    for vertex, value in handles.items():
        values[vertex] = value
        fixed[vertex] = True
    unknown = np.flatnonzero(~fixed)
    if len(unknown) == 0:
        return values
    laplacian = _laplacian()
    system = laplacian if harmonic else csr_matrix(laplacian @ laplacian)
    rows = system[unknown]
    right = -(rows[:, fixed] @ values[fixed])
    values[unknown] = splu(rows[:, unknown].tocsc()).solve(np.asarray(right))
    return values
