"""The focal length that turning heads tell.

A head that keeps still looks the same through every lens, up to its depth; one that turns shows how
much nearer a cheek is than an ear. How well landmarks fit is compared between focal lengths, with
the face mesh's habits taken into account: without them its errors outweigh what perspective does.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor

from likeness.trackers.point_model import PointModel
from likeness.trackers.solve import Evidence, Priors, Solution, cost_of, solve, start

_LEAST_TURN = 0.5  # radians from side to side (or up to down); less tells nothing
_DOUBT = 0.3  # of the logarithm of a guess
_STEPS = (-2, -1, 0, 1, 2)  # times the step below, from the guess
_STEP, _HALVINGS = 0.35, 2
_SURE = 0.12  # of the logarithm: focal lengths less sure than that are left at the guess


@dataclass(frozen=True)
class SeenFocal:
    """A focal length in pixels, and by what share it may be off (one standard deviation)."""

    pixels: float
    doubt: float


def seen_focal(
    model: PointModel, evidence: Evidence, priors: Priors, guess: float
) -> SeenFocal | None:
    """What some frames of one person say of the focal length; None where they say too little.

    Frames of one clip repeat each other's errors: together they count as one.
    """
    frames = len(evidence.points)
    first = _fitted(model, evidence, priors, guess)
    if _turned(first.rotation) < _LEAST_TURN:
        return None
    scores: dict[float, float] = {}

    def score(away: float) -> float:
        if away not in scores:
            fit = _fitted(model, evidence, priors, guess * exp(away))
            scores[away] = float(cost_of(evidence, priors, fit)) / frames + (away / _DOUBT) ** 2
        return scores[away]

    best, step = min((_STEP * k for k in _STEPS), key=score), _STEP
    for _ in range(_HALVINGS):
        step /= 2
        best = min((best - step, best, best + step), key=score)
    left, middle, right = (score(best + step * k) for k in (-1, 0, 1))
    bend = (left - 2 * middle + right) / step**2
    if bend <= 2 / _SURE**2:  # a score is a square in standard deviations
        return None
    vertex = best + min(max((left - right) / (2 * bend * step), -step), step)
    return SeenFocal(guess * exp(vertex), (2 / bend) ** 0.5)


def _fitted(model: PointModel, evidence: Evidence, priors: Priors, focal: float) -> Solution:
    return solve(model, evidence, priors, start(model, evidence, focal), rounds=12)


def _turned(rotation: Tensor) -> float:
    """From side to side or from up to down, whichever is more; the outermost tenths left out."""
    out = rotation[:, :, 2]  # where the face looks to, seen by the camera
    angles = torch.stack([torch.atan2(out[:, 0], -out[:, 2]), torch.asin(out[:, 1])])
    low, high = angles.quantile(torch.tensor([0.1, 0.9]), dim=1)
    return float((high - low).max())
