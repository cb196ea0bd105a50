"""Aligning points of known colour with a picture: Gauss-Newton on brightness, robustly."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from likeness.trackers.normal_equations import light, look_up, sums

LOOKS = 48
"""Training frames that colours are learned from."""

_ROBUST = 0.10  # colour difference beyond which a point is doubted
_BLURRED = 2.0  # pixels: of pictures blurred so much every other pixel will do
_LEAST = 32  # pixels along a side
_ROOM = 12.0  # pixels around those one will ask for


class Brightness:
    """A blurred picture that can be asked for values and slopes between its pixels. One that is
    blurred much is kept at half its size, or less. With pixels that it will be asked for, only
    what is `near` them is kept: all others are then outside."""

    def __init__(
        self,
        picture: UInt8[np.ndarray, "H W 3"],
        blur: float,
        near: Float[np.ndarray, "N 2"] | None = None,
    ) -> None:
        self.smaller, self.corner = 1, np.zeros(2)
        if near is not None and len(near) and bool(np.isfinite(near).all()):
            size, room = picture.shape[1::-1], _ROOM + 4 * blur
            low = np.clip(near.min(0) - room, 0, np.subtract(size, 2 * _LEAST)).astype(int)
            high = np.clip(near.max(0) + room, low + 2 * _LEAST, size).astype(int)
            low = np.maximum(low, 0)
            picture, self.corner = picture[low[1] : high[1], low[0] : high[0]], low.astype(float)
        while blur > _BLURRED and min(picture.shape[:2]) >= 2 * _LEAST:
            half = (picture.shape[1] // 2, picture.shape[0] // 2)
            picture = picture[: 2 * half[1], : 2 * half[0]]
            picture = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            blur, self.smaller = float(np.sqrt(blur**2 / 4 - 1 / 12)), 2 * self.smaller
        bell = _bell(round(float(blur), 6))
        self.plane = cv2.sepFilter2D(picture, cv2.CV_32F, bell, bell)

    def at(
        self, pixels: Float[np.ndarray, "N 2"]
    ) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3 2"], Float[np.ndarray, " N"]]:
        """Colours, their slopes per pixel, and 1 for what lies well inside the picture."""
        count = len(pixels)
        values, slopes = np.empty((count, 3), np.float32), np.empty((count, 3, 2), np.float32)
        inside = np.empty(count, np.float32)
        pixels = np.ascontiguousarray(pixels - self.corner, np.float64)
        look_up(self.plane, self.smaller, pixels, values, slopes, inside)
        return values, slopes, inside


@lru_cache(maxsize=64)
def _bell(blur: float) -> Float[np.ndarray, "K 1"]:
    """A Gaussian out to three standard deviations: beyond, it adds less than a tenth of a 255th."""
    return cv2.getGaussianKernel(2 * int(np.ceil(3 * blur)) + 1, blur, cv2.CV_32F)


@dataclass(frozen=True, eq=False)
class Pull:
    """Where parameters are believed to be before the picture is looked at: how strongly `to` holds
    (an inverse covariance), and between which ends they stay, when there are any."""

    strength: Float[np.ndarray, "P P"]
    to: Float[np.ndarray, " P"]
    low: Float[np.ndarray, " P"] | float = -np.inf
    high: Float[np.ndarray, " P"] | float = np.inf


def align(
    picture: Brightness,
    colours: Float[np.ndarray, "N 3"],
    worth: Float[np.ndarray, " N"],
    begin: Float[np.ndarray, " P"],
    place: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    pull: Pull | Float[np.ndarray, " P"],
    rounds: int = 5,
    robust: float = _ROBUST,
) -> Float[np.ndarray, " P"]:
    """The parameters near `begin` that put points where the picture has their colours.

    `place` gives pixels [N, 2] and their derivatives [N, 2, P]. An even change of light (one gain,
    one offset a channel) is solved along. Strengths alone pull each parameter back to `begin`.
    Parameters at an end that want further out stay there, else all others would count on a move
    that is then cut short.
    """
    pull = pull if isinstance(pull, Pull) else Pull(np.diag(pull), begin)
    now = begin.copy()
    for _ in range(rounds):
        pixels, moves = place(now)
        values, slopes, inside = picture.at(pixels)
        weight = worth * inside
        if weight.sum() < 20:
            return begin
        gain, offset = light(colours, values, weight)
        system, right = sums(colours, values, slopes, weight, gain, offset, moves, robust)
        system += pull.strength + 1e-9 * np.eye(len(now))
        slope = right + pull.strength @ (now - pull.to)
        free = ~(((now <= pull.low) & (slope > 0)) | ((now >= pull.high) & (slope < 0)))
        step = np.zeros_like(now)
        step[free] = np.linalg.solve(system[np.ix_(free, free)], slope[free])
        now = np.clip(now - step, pull.low, pull.high)
        if np.abs(step * np.sqrt(np.diag(system))).max() < 1e-3:
            break
    return now


def nearest(plane: np.ndarray, pixels: Float[np.ndarray, "N 2"]) -> np.ndarray:
    """The plane's value at each pixel, or at the border's nearest."""
    at = np.clip(np.floor(pixels).astype(int), 0, [plane.shape[1] - 1, plane.shape[0] - 1])
    return plane[at[:, 1], at[:, 0]]


def some(train: list[int], most: int = LOOKS) -> list[int]:
    """At most so many training frames, evenly."""
    chosen = [train[i] for i in np.linspace(0, len(train) - 1, most).round().astype(int)]
    return list(dict.fromkeys(chosen))


def typical(
    values: Float[np.ndarray, "T N 3"], weights: Float[np.ndarray, "T N"]
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, " N"]]:
    """Each point's median colour over frames in which it is seen, and how far it can be trusted:
    less where it varies, not at all where it is hardly ever seen."""
    masked = np.where(weights[..., None] > 0.5, values, np.nan)
    seen = (weights > 0.5).sum(0)
    enough = seen >= max(2, len(values) // 6)
    masked[:, ~enough] = 0
    colours = np.nanmedian(masked, 0)
    spread = np.nanmedian(np.abs(masked - colours), 0).mean(-1)
    worth = enough / (1 + (spread / 0.10) ** 2)
    return colours.astype(np.float32), worth.astype(np.float32)
