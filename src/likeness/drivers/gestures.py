"""Gestures: a small library of what faces do, composed in time."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likeness.core.errors import BadInput, Unsupported, unknown
from likeness.core.expression import Expression
from likeness.core.rig import Rig
from likeness.drivers.placing import turned


@dataclass(frozen=True)
class Gesture:
    """Curves over a phase from 0 to 1: coefficients by name, and turns of the head.

    `turns` gives axis-angle in radians (positive: down, to the own left, towards the own
    left shoulder is negative roll).
    """

    seconds: float
    shapes: Callable[[Tensor], dict[str, Tensor]] | None = None
    turns: Callable[[Tensor], Tensor] | None = None


def _pulse(phase: Tensor, rise: float = 0.3, fall: float = 0.3) -> Tensor:
    """0, up to 1, and back: smooth, flat in between."""
    up, down = (phase / rise).clamp(0, 1), ((1 - phase) / fall).clamp(0, 1)
    edge = torch.minimum(up, down)
    return edge * edge * (3 - 2 * edge)


def _both(name: str, values: Tensor) -> dict[str, Tensor]:
    return {f"{name}Left": values, f"{name}Right": values}


def _blink(phase: Tensor) -> dict[str, Tensor]:
    return _both("eyeBlink", _pulse(phase, 0.3, 0.55))


def _wink(phase: Tensor) -> dict[str, Tensor]:
    lid = _pulse(phase)
    return {"eyeBlinkLeft": lid, "cheekSquintLeft": 0.5 * lid, "mouthSmileLeft": 0.35 * lid}


def _smile(phase: Tensor) -> dict[str, Tensor]:
    curve = _pulse(phase)
    return {
        **_both("mouthSmile", 0.8 * curve),
        **_both("cheekSquint", 0.45 * curve),
        **_both("mouthDimple", 0.2 * curve),
        **_both("eyeSquint", 0.2 * curve),
    }


def _frown(phase: Tensor) -> dict[str, Tensor]:
    curve = _pulse(phase)
    return {
        **_both("browDown", 0.8 * curve),
        **_both("mouthFrown", 0.6 * curve),
        **_both("eyeSquint", 0.3 * curve),
        "mouthShrugLower": 0.3 * curve,
    }


def _surprise(phase: Tensor) -> dict[str, Tensor]:
    curve = _pulse(phase, 0.18, 0.4)
    return {
        **_both("browOuterUp", 0.8 * curve),
        **_both("eyeWide", 0.7 * curve),
        "browInnerUp": 0.8 * curve,
        "jawOpen": 0.35 * curve,
    }


def _look(phase: Tensor) -> dict[str, Tensor]:
    """The eyes go left, right and up, and come back."""
    side = 0.6 * (_pulse((3 * phase).clamp(0, 1)) - _pulse((3 * phase - 1).clamp(0, 1)))
    up = 0.5 * _pulse((3 * phase - 2).clamp(0, 1))
    left, right = side.clamp(min=0), (-side).clamp(min=0)
    return {
        "eyeLookOutLeft": left, "eyeLookInRight": left,
        "eyeLookInLeft": right, "eyeLookOutRight": right,
        "eyeLookUpLeft": up, "eyeLookUpRight": up,
    }  # fmt: skip


_SYLLABLES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.42, "mouthLowerDownLeft": 0.3, "mouthLowerDownRight": 0.3},
    {"mouthPressLeft": 0.4, "mouthPressRight": 0.4, "mouthRollLower": 0.2},
    {"jawOpen": 0.22, "mouthStretchLeft": 0.3, "mouthStretchRight": 0.3,
     "mouthUpperUpLeft": 0.2, "mouthUpperUpRight": 0.2},
    {"jawOpen": 0.12, "mouthPucker": 0.6},
    {"jawOpen": 0.3, "mouthFunnel": 0.5},
    {"jawOpen": 0.06, "mouthRollLower": 0.4},
    {"jawOpen": 0.15, "mouthSmileLeft": 0.3, "mouthSmileRight": 0.3},
    {"jawOpen": 0.5, "mouthLowerDownLeft": 0.35, "mouthLowerDownRight": 0.35},
)  # fmt: skip


def _babble(phase: Tensor) -> dict[str, Tensor]:
    """Twelve syllables that blend into each other, as in speech without words."""
    count, curves = 12, {}
    envelope = _pulse(phase, 0.06, 0.1)
    for number in range(count):
        away = (phase * count - number - 0.5).abs()
        weight = torch.cos(away.clamp(max=1) * math.pi / 2).square() * envelope
        for name, value in _SYLLABLES[(5 * number + number // 8) % len(_SYLLABLES)].items():
            curves[name] = curves.get(name, 0.0) + value * weight
    return curves


def _nod(phase: Tensor) -> Tensor:
    return _about(0, 0.17 * _pulse(phase, 0.2, 0.3) * torch.sin(4 * math.pi * phase))


def _shake(phase: Tensor) -> Tensor:
    return _about(1, 0.22 * _pulse(phase, 0.2, 0.3) * torch.sin(5 * math.pi * phase))


def _tilt(phase: Tensor) -> Tensor:
    return _about(2, 0.16 * _pulse(phase))


def _turn(phase: Tensor) -> Tensor:
    return _about(1, 0.4 * torch.sin(2 * math.pi * phase) * _pulse(phase, 0.1, 0.1))


def _about(axis: int, angle: Tensor) -> Tensor:
    vector = angle.new_zeros(len(angle), 3)
    vector[:, axis] = angle
    return vector


LIBRARY: dict[str, Gesture] = {
    "nod": Gesture(1.4, turns=_nod),
    "shake": Gesture(1.6, turns=_shake),
    "tilt": Gesture(1.8, turns=_tilt),
    "turn": Gesture(3.0, turns=_turn),
    "blink": Gesture(0.32, _blink),
    "wink": Gesture(0.6, _wink),
    "smile": Gesture(2.0, _smile),
    "frown": Gesture(1.6, _frown),
    "surprise": Gesture(1.4, _surprise),
    "look": Gesture(2.4, _look),
    "babble": Gesture(2.4, _babble),
}
REEL = (
    "blink@0.4 nod@0.8 shake@2.4 smile@4.2-6.4 blink@6.6 surprise@7 look@8.6 frown@11.2 "
    "babble@13 blink@14.2 turn@15.6 wink@18.8"
)
"""Everything once: what `likeness reenact AVATAR gestures` plays."""
_WORD = re.compile(r"([A-Za-z]\w*)(?:\*([\d.]+))?@([\d.]+)(?:-([\d.]+))?")


@dataclass(frozen=True)
class Cue:
    """One gesture at a time: where it starts and ends in seconds, and how strongly."""

    name: str
    start: float
    end: float
    strength: float = 1.0


@dataclass(frozen=True)
class Gestures:
    """Gestures at their times, such as `nod@0.5 smile@1-3 blink@2 jawOpen*0.4@3-4`.

    A word is a gesture of the library or a coefficient of the rig, an optional `*strength`, and
    `@start` or `@start-end` in seconds. Where gestures overlap they add up.
    """

    fps: float = 25.0
    """Moments a second."""

    def drive(self, source: str, rig: Rig) -> Expression:
        """The performance; an empty `source` plays the whole reel."""
        if not 0 < self.fps <= 240:
            raise BadInput(f"{self.fps} frames a second is no rate for gestures.")
        cues = read_cues(source or REEL, rig.shape_names)
        count = math.ceil((max(cue.end for cue in cues) + 0.3) * self.fps)
        times = torch.arange(count) / self.fps
        coefficients = torch.zeros(count, len(rig.shape_names))
        angles = torch.zeros(count, 3)
        for cue in cues:
            phase = ((times - cue.start) / (cue.end - cue.start)).clamp(0, 1)
            gesture = LIBRARY.get(cue.name)
            shapes = {cue.name: _pulse(phase)} if gesture is None else {}
            if gesture is not None and gesture.shapes is not None:
                shapes = gesture.shapes(phase)
            if gesture is not None and gesture.turns is not None:
                angles += cue.strength * gesture.turns(phase)
            known = {name: curve for name, curve in shapes.items() if name in rig.shape_names}
            if shapes and not known:
                raise Unsupported(
                    f"The rig {rig.name!r} has none of the ARKit coefficients that {cue.name!r} "
                    "moves. Use an avatar on the clay rig, or head gestures such as nod and shake."
                )
            for name, curve in known.items():
                coefficients[:, rig.shape_names.index(name)] += cue.strength * curve
        still = rig.neutral(count)
        return replace(still, coefficients=coefficients.clamp(0, 1), world_from_head=turned(angles))


def read_cues(text: str, shapes: tuple[str, ...] = ()) -> list[Cue]:
    """The cues of a line of gestures."""
    cues = []
    for word in text.replace(",", " ").split():
        found = _WORD.fullmatch(word)
        try:
            name, strength, start, end = found.groups() if found else ("", None, "", None)
            begins = float(start)
            if name not in LIBRARY and name not in shapes:
                raise unknown("gesture", name, [*LIBRARY, *shapes])
            length = LIBRARY[name].seconds if name in LIBRARY else 1.0
            ends = begins + length if end is None else float(end)
            cue = Cue(name, begins, ends, 1.0 if strength is None else float(strength))
        except ValueError as error:
            raise BadInput(
                f"The gesture {word!r} should look like nod@0.5, smile@1-3 or jawOpen*0.4@2-3."
            ) from error
        if not cue.start < cue.end <= 3600:
            raise BadInput(f"The gesture {word!r} should end after it starts, within an hour.")
        cues.append(cue)
    if not cues:
        raise BadInput("No gesture was given. Try nod@0.5 smile@1-3, or leave it out for the reel.")
    return cues
