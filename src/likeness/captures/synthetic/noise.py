"""Smooth noise in space, the same for a seed wherever it is asked."""

import numba as nb
import numpy as np
from jaxtyping import Float


def noise(at: Float[np.ndarray, "N 3"], size: float, seed: int) -> Float[np.ndarray, " N"]:
    """Smooth value noise in [-1, 1] with features of about `size` millimetres."""
    return _noise(np.ascontiguousarray(at, np.float64), 1 / size, int(seed))


@nb.njit(cache=True)
def _noise(at: np.ndarray, rate: float, seed: int) -> np.ndarray:
    out = np.empty(len(at))
    for n in range(len(at)):
        x, y, z = at[n, 0] * rate, at[n, 1] * rate, at[n, 2] * rate
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        u, v, w = x - i, y - j, z - k
        u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
        total = 0.0
        for corner in range(8):
            a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
            share = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
            total += share * _value(i + a, j + b, k + c, seed)
        out[n] = total
    return out


@nb.njit
def _value(i: int, j: int, k: int, seed: int) -> float:
    key = i * 73856093 + j * 19349663 + k * 83492791 + seed * 2654435761
    key = (key ^ (key >> 13)) * 1274126177
    return ((key ^ (key >> 16)) & 0xFFFF) / 32767.5 - 1
