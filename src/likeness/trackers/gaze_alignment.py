"""Gaze against the pictures: where a track's eyeballs look, frame by frame.

The track says where the head is, the rig where its eyeballs are, the landmarks where their lids
end. The shape of a head is never quite known, so eyes drift a little across it as it turns: first,
the skin about them is sought where each picture has it.
"""

from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from likeness.core.batching import take
from likeness.core.capture import Capture
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.rigs.linear import LinearRig
from likeness.trackers.align import LOOKS, Brightness, Pull, align, typical
from likeness.trackers.eyeballs import SIDES, Eyeball, eyeballs, gaze_curves, turns_eyes
from likeness.trackers.eyes import RIMS
from likeness.trackers.head_alignment import projected
from likeness.trackers.head_points import HeadPoints
from likeness.trackers.iris import EyePixels, between_lids, looks
from likeness.trackers.saccades import calmed, straight
from likeness.trackers.together import together

_NEAR, _FAR = 0.015, 0.030  # metres from the middle of an eyeball: skin about it, lids left out
_HELD = np.array([1.3e-3, 3e-2])  # how strongly it stays, sideways and up, per squared millimetre
_ROUNDS = 5
_WIDE = 160  # pixels of both eyes' picture, at most
_OPEN = 0.5  # of a blink: eyes closed further are not looked into


@dataclass(frozen=True, eq=False)
class _Eyes:
    """A frame's picture of both eyes, and where the track has what is in it (pixels of that
    picture, metres in the camera)."""

    picture: UInt8[np.ndarray, "H W 3"]
    lens: Float[np.ndarray, "3 3"]
    turn: Float[np.ndarray, "3 3"]  # camera from head
    middles: Float[np.ndarray, "2 3"]
    rims: Float[np.ndarray, "2 16 2"]
    skin: Float[np.ndarray, "N 2"]
    facing: Float[np.ndarray, " N"]

    @property
    def millimetre(self) -> float:
        return 1e-3 * self.lens[0, 0] / self.middles[:, 2].mean()


def with_gaze(
    capture: Capture, track: Track, rig: Rig, head: HeadPoints, train: list[int]
) -> Track:
    """A track whose eyeLook coefficients are what the pictures show; unchanged for rigs without
    such eyes. Colours are learned from the frames in `train`."""
    if not turns_eyes(rig) or not isinstance(rig, LinearRig) or track.landmarks is None:
        return track
    balls = eyeballs(rig, track.identity)
    middles = torch.from_numpy(np.stack([b.middle for b in balls])).float()
    away = torch.cdist(head.rest, middles).amin(-1)
    skin = head.chosen((away > _NEAR) & (away < _FAR))
    known = np.flatnonzero(track.confidence.numpy() > 0).tolist()
    looked = together(partial(_eyes, capture, track, balls, skin), known, "looking into eyes")
    eyes = dict(zip(known, looked, strict=True))
    drift = _drifts(eyes, skin.worth, [t for t in train if t in eyes])
    blinks = [rig.shape_names.index(f"eyeBlink{side}") for side in SIDES]
    shut = track.expressions.coefficients[:, blinks].amax(-1).numpy()
    nothing = EyePixels.together([])
    pixels = [
        _pixels(eyes[t], balls, drift[t]) if t in eyes and shut[t] < _OPEN else nothing
        for t in range(len(track))
    ]
    gaze, certain = looks(pixels, np.isin(np.arange(len(track)), train))
    gaze = calmed(gaze, certain)
    gaze = gaze - straight(gaze[[f.enough for f in pixels]])
    coefficients = track.expressions.coefficients.clone()
    for name, curve in gaze_curves(rig, gaze).items():
        coefficients[:, rig.shape_names.index(name)] = torch.from_numpy(curve).float()
    return replace(track, expressions=replace(track.expressions, coefficients=coefficients))


def _eyes(
    capture: Capture, track: Track, balls: list[Eyeball], skin: HeadPoints, index: int
) -> _Eyes:
    camera, now = take(track.cameras, index), take(track.expressions, index)
    camera_from_head = (camera.camera_from_world @ now.world_from_head).double().numpy()
    turn, shift = camera_from_head[:3, :3], camera_from_head[:3, 3]
    weights = now.coefficients
    if now.personal is not None:
        weights = torch.cat([weights, now.personal])
    middles = np.concatenate([ball.at(weights[None].double().numpy()) for ball in balls])
    assert track.landmarks is not None  # `with_gaze` asked
    rims = track.landmarks[index].double().numpy()[RIMS]
    pixels, facing = projected(track, skin, index)
    whole = capture[index].rgb8
    height, width = whole.shape[:2]
    every = np.concatenate([pixels, rims.reshape(-1, 2)])
    low = np.clip(np.floor(every.min(0)).astype(int) - 4, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(every.max(0)).astype(int) + 4, low + 1, [width, height])
    part = whole[low[1] : high[1], low[0] : high[0]]
    size = np.array([part.shape[1], part.shape[0]])
    small = np.ceil(size * min(1.0, _WIDE / size[0])).astype(int)
    if (small < size).any():
        part = cv2.resize(part, (int(small[0]), int(small[1])), interpolation=cv2.INTER_AREA)
    scale = small / size
    lens = camera.intrinsics.double().numpy().copy()
    lens[:2, 2] -= low
    lens[:2] *= scale[:, None]
    return _Eyes(
        np.ascontiguousarray(part),
        lens,
        turn,
        middles @ turn.T + shift,
        (rims - low) * scale,
        (pixels - low) * scale,
        facing,
    )


def _drifts(
    eyes: dict[int, _Eyes], worth: np.ndarray, train: list[int]
) -> dict[int, Float[np.ndarray, " 2"]]:
    """By how many millimetres (right, down) the skin about the eyes is beside where the track has
    it, from what is usual."""
    drift = {t: np.zeros(2) for t in eyes}
    chosen = dict.fromkeys(train[i] for i in np.linspace(0, len(train) - 1, LOOKS).astype(int))
    for _ in range(_ROUNDS):
        values, seen = [], []
        for t in chosen:
            one = eyes[t]
            value, _, inside = _bright(one).at(one.skin + one.millimetre * drift[t])
            values.append(value)
            seen.append(inside * (one.facing > 0.35))
        colours, sure = typical(np.stack(values), np.stack(seen))
        sure = (sure * worth).astype(np.float32)
        work = partial(_drifted, colours, sure)
        pairs = [(one, drift[t]) for t, one in eyes.items()]
        drift = dict(zip(eyes, together(work, pairs, "steadying eyes"), strict=True))
        middle = np.median([drift[t] for t in chosen], 0)
        drift = {t: d - middle for t, d in drift.items()}
    return drift


def _bright(one: _Eyes) -> Brightness:
    return Brightness(one.picture, 0.8 * one.millimetre)


def _drifted(colours: np.ndarray, worth: np.ndarray, begun: tuple[_Eyes, np.ndarray]) -> np.ndarray:
    one, begin = begun
    use = np.flatnonzero((one.facing > 0.3) & (worth > 0.05))
    moves = np.zeros((len(use), 2, 2), np.float32)
    moves[:, [0, 1], [0, 1]] = one.millimetre

    def place(drift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return one.skin[use] + one.millimetre * drift, moves

    pull = Pull(np.diag(_HELD), np.zeros(2))
    return align(_bright(one), colours[use], worth[use], begin, place, pull, 6, 0.15)


def _pixels(one: _Eyes, balls: list[Eyeball], drift: np.ndarray) -> EyePixels:
    """What lies between the lids, as places of the eyeballs."""
    shift = np.append(1e-3 * drift, 0.0)
    return EyePixels.together(
        [
            between_lids(
                one.picture, one.lens, one.rims[eye], one.middles[eye] + shift, ball.radius,
                one.turn, eye,
            )
            for eye, ball in enumerate(balls)
        ]
    )  # fmt: skip
