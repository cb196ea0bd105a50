"""Where both eyes look, from the pixels between their lids, one frame at a time.

As the offline tracker finds it (see `iris`): rings of colour about the line of sight. They are
learned from the first frames that show open eyes and kept as the last seconds showed them; each
frame looks at one remembered frame again, so no frame pays for all.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from likeness.core.rig import Identity, Rig
from likeness.rigs.linear import LinearRig
from likeness.trackers.eyeballs import eyeballs, gaze_curves, turns_eyes
from likeness.trackers.eyes import RIMS
from likeness.trackers.iris import EyePixels, Rings, between_lids, rings_of
from likeness.trackers.live_fit import Fitted
from likeness.trackers.saccades import Held, straight

_FIRST, _LEAST = 20, 8  # frames with open eyes that their rings are learned from
_KEPT, _EVERY = 60, 4  # frames that are remembered: one in so many: ten seconds of a camera
_RENEWED = 25  # frames after which the rings are taken from what is remembered
_LOOKED = 300  # frames that say what is straight ahead
_FITTED = 50  # frames that say how well rings fit as a rule
_FACE, _LIGHT = 468, 0.5  # landmarks that lie on skin, and how bright it is made
_NARROW = 6.0  # pixels between the corners of an eye: less shows no iris
_OPEN = 0.5  # of an eye: those closed further are not looked into
_PLACED = np.radians(1.0)  # usual error of gaze by that of the pose and the lids' landmarks
_MISFIT = 2.5  # times the usual: what is there is not an eye, but a lid


@dataclass(frozen=True, eq=False)
class EyePicture:
    """Both eyes cut out of a frame, that frame's landmarks in pixels of the whole picture, and the
    usual colour of the face, by which light and camera are told from eyes."""

    part: UInt8[np.ndarray, "H W 3"]
    low: Float[np.ndarray, " 2"]
    points: Float[np.ndarray, "478 2"]
    light: Float[np.ndarray, " 3"]

    @staticmethod
    def of(picture: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "478 2"]) -> "EyePicture":
        rims, (height, width) = points[RIMS].reshape(-1, 2), picture.shape[:2]
        low = np.clip(np.floor(rims.min(0)).astype(int) - 1, 0, [width - 1, height - 1])
        high = np.clip(np.ceil(rims.max(0)).astype(int) + 1, low + 1, [width, height])
        part = picture[low[1] : high[1], low[0] : high[0]].copy()
        x, y = np.clip(points[:_FACE].astype(int), 0, [width - 1, height - 1]).T
        light = np.median(picture[y, x], 0) / 255
        return EyePicture(part, low.astype(np.float64), points, light)


@dataclass(frozen=True, eq=False)
class _Memory:
    """A frame's eyes, where they looked, and how each alone looks past that."""

    pixels: EyePixels
    gaze: Float[np.ndarray, " 2"]
    past: Float[np.ndarray, "2 2"]


class LiveGaze:
    """Follows the line of sight of one person."""

    def __init__(self, rig: Rig, identity: Identity) -> None:
        self._rig = rig if isinstance(rig, LinearRig) and turns_eyes(rig) else None
        self._balls = eyeballs(self._rig, identity) if self._rig is not None else []
        self._rings: Rings | None = None
        self._fresh: list[EyePixels] = []
        self._memory = deque[_Memory](maxlen=_KEPT)
        self._looked = deque[np.ndarray](maxlen=_LOOKED)
        self._misfits = deque[float](maxlen=_FITTED)
        self._held: Held | None = None
        self._count = 0

    def lose(self) -> None:
        """The face was lost: nobody knows where its eyes look now."""
        self._held = None

    def read(
        self,
        eyes: EyePicture,
        at: Fitted,
        focal: float,
        centre: Float[np.ndarray, " 2"],
        lids: Sequence[float],
    ) -> dict[str, float]:
        """The eyeLook coefficients of one more frame, whose eyes are open by `lids`: 1 as usual, 0
        closed. Nothing while the eyes are not known, or too small to be."""
        rims = eyes.points[RIMS]
        wide = np.linalg.norm(rims[:, 8] - rims[:, 0], axis=-1).max()
        if self._rig is None or wide < _NARROW:
            return {}
        pixels = self._pixels(eyes, at, focal, centre, lids)
        if self._rings is None:
            if pixels.enough:
                self._fresh.append(pixels)
            if len(self._fresh) == _FIRST:
                self.learn()
            return {}
        if pixels.enough:
            self._look(self._rings, pixels)
        if self._held is None:
            return {}
        gaze = self._held.gaze - straight(np.stack(self._looked))
        return {name: float(value) for name, value in gaze_curves(self._rig, gaze).items()}

    def learn(self) -> bool:
        """Take the rings from the frames seen so far, unless they show too little; whether eyes
        are known then."""
        frames = self._fresh
        if self._rings is None and len(frames) >= _LEAST:
            self._take(frames)
        return self._rings is not None

    def _take(self, frames: list[EyePixels]) -> None:
        rings, gaze = rings_of(frames)
        self._rings, self._fresh = rings, []
        for pixels, looked in zip(frames, gaze, strict=True):
            self._memory.append(_Memory(pixels, looked, rings.past(pixels, looked)))
            self._misfits.append(rings.misfit(pixels, looked))

    def _look(self, rings: Rings, pixels: EyePixels) -> None:
        gaze, certain = rings.look(pixels, None if self._held is None else self._held.gaze)
        misfit = rings.misfit(pixels, gaze)
        self._misfits.append(misfit)
        if misfit > _MISFIT * float(np.median(self._misfits)):
            return  # keeps looking where it looked
        certain = np.linalg.inv(np.linalg.inv(certain + np.eye(2)) + _PLACED**2 * np.eye(2))
        before = Held(gaze, np.zeros(2)) if self._held is None else self._held
        self._held = before.after(gaze, certain)
        self._looked.append(gaze)
        self._count += 1
        if self._count % _EVERY == 0:
            self._memory.append(_Memory(pixels, gaze, rings.past(pixels, gaze)))
        again = self._count % len(self._memory)
        old = self._memory[again].pixels
        looked = rings.nudged(old, self._memory[again].gaze)
        self._memory[again] = _Memory(old, looked, rings.past(old, looked))
        if self._count % _RENEWED == 0:
            kept = list(self._memory)
            self._rings = rings.learned_anew(
                [m.pixels for m in kept], np.stack([m.gaze for m in kept]), [m.past for m in kept]
            )

    def _pixels(
        self,
        eyes: EyePicture,
        at: Fitted,
        focal: float,
        centre: np.ndarray,
        lids: Sequence[float],
    ) -> EyePixels:
        lens = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
        lens[:2, 2] -= eyes.low
        parts = []
        if min(lids) < _OPEN:
            return EyePixels.together([])
        for eye, ball in enumerate(self._balls):
            weights = at.coefficients[: len(ball.moved)]
            middle = at.rotation @ ball.at(weights[None])[0] + at.translation
            rim = eyes.points[RIMS[eye]] - eyes.low
            parts.append(between_lids(eyes.part, lens, rim, middle, ball.radius, at.rotation, eye))
        seen = EyePixels.together(parts)
        return replace(seen, colours=seen.colours * _LIGHT / np.maximum(eyes.light, 0.05))
