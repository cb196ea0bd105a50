"""Gaze over time: eyes hold, then jump, and look straight ahead most of the time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import solveh_banded

_JUMP, _STILL = np.radians(0.3), np.radians(0.2)  # a frame: usual change of gaze; not to be seen
_HOLD, _MOVED = np.radians(0.3), np.radians(1.5)  # without a future: still eyes; those that jumped
_ROUNDS = 30
_LOOKED = np.array([300.0, 60.0])  # frames of which half of the usual gaze counts as straight
_OFFSET = np.radians([8.0, 12.0])  # sideways, up: at most this much is our zero being off


def calmed(
    gaze: Float[np.ndarray, "T 2"], certain: Float[np.ndarray, "T 2 2"]
) -> Float[np.ndarray, "T 2"]:
    """Gaze as eyes move: small changes are smoothed, large ones stay sharp. `certain` is what each
    frame says (an inverse covariance); where that is nothing, gaze goes on from its neighbours."""
    weight = np.maximum(certain[:, [0, 1], [0, 1]], 1e-6)
    told = np.flatnonzero(weight.min(1) > 1e-3)
    if len(told) < 2:
        return np.repeat(gaze[told] if len(told) else np.zeros((1, 2)), len(gaze), 0)
    now = np.stack([np.interp(np.arange(len(gaze)), told, g[told]) for g in gaze.T], -1)
    for _ in range(_ROUNDS):
        step = np.linalg.norm(np.diff(now, axis=0), axis=-1)
        tie = 1 / (_JUMP * np.maximum(step, _STILL))
        for k in range(2):
            band = np.zeros((2, len(gaze)))
            band[0, 1:] = -tie
            band[1] = weight[:, k]
            band[1, :-1] += tie
            band[1, 1:] += tie
            now[:, k] = solveh_banded(band, weight[:, k] * gaze[:, k])
    return now


@dataclass(frozen=True, eq=False)
class Held:
    """Gaze up to now, as `calmed` would have it without knowing what comes: it holds while what
    is seen stays near, and jumps with it in the same frame."""

    gaze: Float[np.ndarray, " 2"]
    weight: Float[np.ndarray, " 2"]

    def after(self, gaze: Float[np.ndarray, " 2"], certain: Float[np.ndarray, "2 2"]) -> "Held":
        """One frame later, which says `gaze` with this inverse covariance."""
        weight = np.maximum(certain[[0, 1], [0, 1]], 1e-6)
        now, before = gaze, self.weight
        for _ in range(_ROUNDS):
            step = float(np.linalg.norm(now - self.gaze))
            tie = (1 + (step / _MOVED) ** 2) ** -2 / _HOLD**2
            before = self.weight * tie / (self.weight + tie)
            now = (weight * gaze + before * self.gaze) / (weight + before)
        return Held(now, weight + before)


def straight(gaze: Float[np.ndarray, "T 2"]) -> Float[np.ndarray, " 2"]:
    """How much of a clip's usual gaze is our zero being off: long clips tell, short ones do not."""
    if not len(gaze):
        return np.zeros(2)
    share = len(gaze) / (len(gaze) + _LOOKED)
    return np.clip(share * np.median(gaze, 0), -_OFFSET, _OFFSET)
