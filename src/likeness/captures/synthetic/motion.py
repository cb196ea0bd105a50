"""What a synthetic person does: talk, blink, look about, turn the head, sway."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from likeness.rigs.clay.shapes import ARKIT

# Mouth shapes of speech sounds: named coefficients at full strength, and how loud they are.
VISEMES: dict[str, tuple[dict[str, float], float]] = {
    "rest": ({}, 0.0),
    "a": ({"jawOpen": 0.5, "mouthLowerDownLeft": 0.4, "mouthLowerDownRight": 0.4}, 1.0),
    "e": ({"jawOpen": 0.25, "mouthStretchLeft": 0.4, "mouthStretchRight": 0.4,
           "mouthUpperUpLeft": 0.25, "mouthUpperUpRight": 0.25}, 0.8),
    "i": ({"jawOpen": 0.12, "mouthSmileLeft": 0.35, "mouthSmileRight": 0.35,
           "mouthStretchLeft": 0.2, "mouthStretchRight": 0.2}, 0.7),
    "o": ({"jawOpen": 0.35, "mouthFunnel": 0.6}, 0.9),
    "u": ({"jawOpen": 0.12, "mouthPucker": 0.8}, 0.7),
    "m": ({"mouthPressLeft": 0.5, "mouthPressRight": 0.5, "mouthRollLower": 0.2}, 0.25),
    "f": ({"jawOpen": 0.08, "mouthRollLower": 0.6, "mouthUpperUpLeft": 0.2,
           "mouthUpperUpRight": 0.2}, 0.3),
}  # fmt: skip
_VOICED = ("a", "e", "i", "o", "u")
_CLOSED = ("m", "f")


@dataclass(frozen=True, eq=False)
class Motion:
    """Curves over the frames. `head` and `torso` are axis-angle and shift (radians, metres)."""

    coefficients: Float[np.ndarray, "T 52"]
    head: Float[np.ndarray, "T 6"]
    torso: Float[np.ndarray, "T 6"]
    loudness: Float[np.ndarray, " T"]


def perform(frames: int, fps: float, rng: np.random.Generator) -> Motion:
    """A talking performance. The same generator gives the same one."""
    times = np.arange(frames) / fps
    values = np.zeros((frames, len(ARKIT)))
    loudness = _talk(values, times, rng)
    _blink(values, times, rng)
    _look(values, times, rng)
    _mood(values, times, rng)
    reach = np.array([np.radians(9), np.radians(22), np.radians(4), 0.012, 0.006, 0.008])
    slow = np.stack([_wander(times, 0.22, rng) for _ in range(6)], -1)
    nod = np.stack([_wander(times, 0.9, rng) for _ in range(6)], -1)
    head = reach * (0.85 * slow + 0.12 * nod)
    torso = np.zeros_like(head)
    lag = int(0.3 * fps)
    delayed = np.concatenate([np.repeat(head[:1], lag, 0), head])[:frames]
    torso[:, 1] = 0.15 * delayed[:, 1]
    torso[:, 2] = 0.25 * delayed[:, 2]
    torso[:, 3:] = 0.6 * delayed[:, 3:]
    return Motion(np.clip(values, 0, 1), head, torso, loudness)


def _wander(times: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth signal in about [-1, 1] with changes at about `rate` a second."""
    total = np.zeros_like(times)
    for k in range(4):
        frequency = rate * (0.5 + 0.45 * k)
        total += np.sin(2 * np.pi * (frequency * times + rng.random())) / (1 + 0.6 * k)
    return total / 1.9


def _talk(values: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Syllables into the mouth's coefficients; returns how loud each frame is."""
    at, sounds = 0.15, []
    while at < times[-1] + 0.5:
        for _ in range(rng.integers(5, 14)):
            if rng.random() < 0.45:
                sounds.append((at, str(rng.choice(_CLOSED))))
                at += rng.uniform(0.06, 0.10)
            sounds.append((at, str(rng.choice(_VOICED))))
            at += rng.uniform(0.11, 0.20)
        sounds.append((at, "rest"))
        at += rng.uniform(0.25, 0.7)
    targets = np.zeros_like(values)
    loud = np.zeros(len(times))
    starts = np.array([s for s, _ in sounds])
    which = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(sounds) - 1)
    stress = rng.uniform(0.6, 1.1, len(sounds))
    for frame, index in enumerate(which):
        if times[frame] < starts[0]:
            continue
        shape, volume = VISEMES[sounds[index][1]]
        for name, weight in shape.items():
            targets[frame, ARKIT.index(name)] = weight * stress[index]
        loud[frame] = volume * min(1.0, stress[index])
    step = times[1] - times[0] if len(times) > 1 else 0.04
    values += _smoothed(targets, 0.045 / step)
    return _smoothed(loud[:, None], 0.03 / step)[:, 0]


def _smoothed(rows: np.ndarray, sigma: float) -> np.ndarray:
    reach = max(1, int(np.ceil(3 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    taps /= taps.sum()
    padded = np.concatenate([np.repeat(rows[:1], reach, 0), rows, np.repeat(rows[-1:], reach, 0)])
    return np.stack([np.convolve(c, taps, "valid") for c in padded.T], -1)


def _blink(values: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> None:
    """Lids close in 80 ms, rest for 30 and open in 150."""
    at = rng.uniform(0.4, 1.2)
    left, right = ARKIT.index("eyeBlinkLeft"), ARKIT.index("eyeBlinkRight")
    while at < times[-1]:
        away = times - at
        lid = np.interp(away, [-0.08, 0.0, 0.03, 0.18], [0, 1, 1, 0])
        values[:, left] = np.maximum(values[:, left], lid)
        values[:, right] = np.maximum(values[:, right], lid)
        at += rng.uniform(1.4, 4.0)


def _look(values: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> None:
    """Saccades: the eyes jump, then hold."""
    side, up = np.zeros(len(times)), np.zeros(len(times))
    at = 0.0
    while at < times[-1]:
        hold = rng.uniform(0.4, 1.6)
        now = (times >= at) & (times < at + hold)
        side[now], up[now] = 0.45 * rng.standard_normal(), 0.25 * rng.standard_normal()
        at += hold
    step = times[1] - times[0] if len(times) > 1 else 0.04
    both = np.clip(_smoothed(np.stack([side, up], -1), 0.012 / step), -1, 1)
    for name, signal in (
        ("eyeLookOutLeft", both[:, 0]), ("eyeLookInRight", both[:, 0]),
        ("eyeLookInLeft", -both[:, 0]), ("eyeLookOutRight", -both[:, 0]),
        ("eyeLookUpLeft", both[:, 1]), ("eyeLookUpRight", both[:, 1]),
        ("eyeLookDownLeft", -both[:, 1]), ("eyeLookDownRight", -both[:, 1]),
    ):  # fmt: skip
        values[:, ARKIT.index(name)] = np.maximum(signal, 0)


def _mood(values: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> None:
    """Slow smiles and brows."""
    smile = np.clip(_wander(times, 0.18, rng), 0, 1) * 0.6
    brow = np.clip(_wander(times, 0.3, rng), 0, 1)
    frown = np.clip(_wander(times, 0.25, rng) - 0.3, 0, 1)
    for name, curve in (
        ("mouthSmileLeft", smile), ("mouthSmileRight", 0.9 * smile),
        ("cheekSquintLeft", 0.5 * smile), ("cheekSquintRight", 0.5 * smile),
        ("browInnerUp", 0.7 * brow), ("browOuterUpLeft", 0.5 * brow),
        ("browOuterUpRight", 0.5 * brow), ("browDownLeft", 0.6 * frown),
        ("browDownRight", 0.6 * frown),
    ):  # fmt: skip
        values[:, ARKIT.index(name)] += curve
