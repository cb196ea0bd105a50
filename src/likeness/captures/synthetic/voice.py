"""A voice tied to the mouth: pulses of the glottis through resonances that jaw and lips set."""

import numpy as np
import torch
from scipy.signal import lfilter

from likeness.captures.synthetic.motion import Motion
from likeness.core.capture import Sound
from likeness.rigs.clay.shapes import ARKIT

RATE = 16_000
_BLOCK = 160  # samples between new filter settings


def speak(motion: Motion, fps: float, rng: np.random.Generator) -> Sound:
    """The sound of a performance. The first resonance rises as the jaw opens, the second falls as
    the lips round and rises as they spread, so that what is heard can be told from what is seen."""
    count = round(len(motion.loudness) / fps * RATE)
    at = np.arange(count) / RATE * fps
    frames = np.arange(len(motion.loudness))

    def curve(*names: str) -> np.ndarray:
        total = sum(motion.coefficients[:, ARKIT.index(n)] for n in names)
        return np.interp(at, frames, total)

    jaw = curve("jawOpen")
    rounded = curve("mouthPucker", "mouthFunnel")
    spread = curve("mouthStretchLeft", "mouthSmileLeft")
    loud = np.interp(at, frames, motion.loudness)
    pitch = rng.uniform(95, 210)
    wander = 1 + 0.06 * np.sin(2 * np.pi * 0.7 * np.arange(count) / RATE + rng.random() * 6)
    phase = np.cumsum(pitch * wander / RATE)
    pulse = np.where(phase % 1 < 0.4, np.sin(np.pi * (phase % 1) / 0.4) ** 2, 0.0) - 0.2
    source = loud * (pulse + 0.03 * rng.standard_normal(count))
    first = 280 + 900 * jaw
    second = np.clip(1500 - 800 * rounded + 900 * spread, 600, 2600)
    voiced = _resonated(_resonated(source, first, 80), second, 110)
    peak = np.abs(voiced).max()
    samples = 0.5 * voiced / peak if peak > 0 else voiced
    return Sound(torch.from_numpy(samples.astype(np.float32)), RATE)


def _resonated(source: np.ndarray, frequency: np.ndarray, width: float) -> np.ndarray:
    """A resonance whose frequency changes every block, its state carried on."""
    out, state = np.empty_like(source), np.zeros(2)
    radius = np.exp(-np.pi * width / RATE)
    for start in range(0, len(source), _BLOCK):
        turn = 2 * np.pi * frequency[start] / RATE
        a = [1.0, -2 * radius * np.cos(turn), radius * radius]
        gain = [1 - 2 * radius * np.cos(turn) + radius * radius]
        block = slice(start, start + _BLOCK)
        out[block], state = lfilter(gain, a, source[block], zi=state)
    return out
