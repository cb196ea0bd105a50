"""The colours that a person's skin, hair and clothes have in one picture.

Each is a histogram over Lab, counted where a part certainly is. Histograms hold striped shirts and
greying hair as they are, and where two parts share a colour they say nothing: places then decide.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt16

from likeness.ops.jit import njit

Share = Float[np.ndarray, " B"]
"""How much of a part has each colour; sums to 1."""

_STEPS = (16, 24, 24)  # of L, a, b
_COUNT = 16 * 24 * 24
_LIT = (1.12, 1.06, 1.0, 1.0, 0.94)  # lightness against a face's own of the skin above the eyes
_SHADED = (1.06, 1.0, 1.0, 1.0, 0.92, 0.92, 0.84, 0.76, 0.68)  # of ears and necks
_ENOUGH = 24  # pixels to count a part's colours from
_SAMPLES = 800  # pixels of a face that are looked at
_UNSEEN = 4.0  # how much worse than a colour that is rare in a part one fits a part never seen

# From 256 steps of OpenCV's Lab to ours, times what each counts; no colours of people lie beyond
# the ends of a and b.
_WHICH = np.stack(
    [np.arange(256) // 16 * 576, *(np.clip((np.arange(256) - 80) // 4, 0, 23) * c for c in (24, 1))]
).astype(np.uint16)


def colours(picture: UInt8[np.ndarray, "H W 3"]) -> UInt16[np.ndarray, "H W"]:
    """Every pixel's step of the histograms."""
    return _step_of(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB))


def share_of(steps: UInt16[np.ndarray, " N"]) -> Share | None:
    """How much of a part has each colour; None where too little of it is seen."""
    return None if len(steps) < _ENOUGH else _spread(np.bincount(steps, minlength=_COUNT))


def skin_shares(seen: UInt8[np.ndarray, "N 3"]) -> tuple[Share, Share] | tuple[None, None]:
    """Skin's colours from the pixels of a face: those around the middle one (glasses and shine are
    not), in the lights that are usual above the eyes and in those below."""
    if len(seen) < _ENOUGH:
        return None, None
    some = np.ascontiguousarray(seen[:: 1 + len(seen) // _SAMPLES])
    lab = cv2.cvtColor(some[None], cv2.COLOR_RGB2LAB)[0].astype(np.float32)
    away = np.abs(lab - np.median(lab, 0))
    spread = np.maximum(1.48 * np.median(away, 0), (6, 2, 2))
    near = (away < 2.5 * spread).all(-1)
    lab = lab[near] if near.any() else lab
    return _in_lights(lab, _LIT), _in_lights(lab, _SHADED)


def alike(some: Share, usual: Share) -> float:
    """How much of some pixels has the colours that make up nearly all of a part."""
    order = np.argsort(-usual)
    usually = order[: 1 + int(np.searchsorted(np.cumsum(usual[order]), 0.97))]
    return float(some[usually].sum())


def fit_of(share: Share | None, rare: float) -> Float[np.ndarray, " B"]:
    """How well each colour fits a part, as a log; `rare` is the share of those never seen in it.
    All fit badly what is not seen at all."""
    if share is None:
        return np.full(_COUNT, np.log(rare) - _UNSEEN, np.float32)
    return np.log(share + np.float32(rare))


def _in_lights(lab: Float[np.ndarray, "N 3"], lights: tuple[float, ...]) -> Share:
    """A surface in other lights: all of (L + 16, a, b) grow by one factor."""
    zero = np.array([-41, 128, 128], np.float32)
    scale = np.array(lights, np.float32)[:, None, None]
    shaded = np.clip(zero + scale * (lab - zero), 0, 255).astype(np.uint8)
    return _spread(np.bincount(_step_of(shaded).ravel(), minlength=_COUNT))


def _step_of(lab: UInt8[np.ndarray, "*s 3"]) -> UInt16[np.ndarray, "*s"]:
    steps = np.empty(lab.shape[:-1], np.uint16)
    _look_up(lab.reshape(-1, 3), _WHICH, steps.reshape(-1))
    return steps


@njit(cache=True, nogil=True)
def _look_up(lab, which, steps):
    for n in range(lab.shape[0]):
        steps[n] = which[0, lab[n, 0]] + which[1, lab[n, 1]] + which[2, lab[n, 2]]


def _spread(counts: np.ndarray) -> Share:
    """Counts as shares, each lent to its neighbours: twice a box of three along each axis."""
    cube = counts.astype(np.float32).reshape(_STEPS[0], -1)
    cube = cv2.blur(cv2.blur(cube, (1, 3)), (1, 3))
    planes = np.ascontiguousarray(cube.T).reshape(*_STEPS[1:], _STEPS[0])
    planes = cv2.blur(cv2.blur(planes, (3, 3)), (3, 3)).reshape(-1, _STEPS[0])
    return np.ascontiguousarray(planes.T).ravel() / planes.sum()
