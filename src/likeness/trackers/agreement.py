"""Which of several accounts of one clip its pictures agree with most.

A point that is truly fixed to a face has one colour in all frames. An account whose shape or poses
are wrong sees it wander over skin and features as the head turns; moving heads within that account
cannot mend it. No truth is needed to tell.
"""

import logging
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from torch import Generator

from likeness.core.capture import Capture
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.trackers.align import some, typical
from likeness.trackers.head_alignment import looked, refined
from likeness.trackers.head_points import HeadPoints
from likeness.trackers.normal_equations import light

_log = logging.getLogger(__name__)
_FRAMES = 32  # that are compared
_USUAL = 0.02  # of squared colour differences: many times that is something before the face


def agreeing(
    capture: Capture,
    rig: Rig,
    tracks: list[Track],
    train: list[int],
    favour: Sequence[float] = (),
) -> int:
    """The number of the track whose points keep their colours best, once heads are aligned. Where
    one account is likelier beforehand, `favour` says by how many decibels others must be better."""
    found = [agreement(capture, rig, track, train) for track in tracks]
    found = [x + more for x, more in zip_longest(found, favour, fillvalue=0.0)]
    _log.debug("Points keep their colours to %s dB.", [round(x, 2) for x in found])
    return int(np.argmax(found))


def agreement(capture: Capture, rig: Rig, track: Track, train: list[int]) -> float:
    """How well points of the rig keep their colours over training frames, in decibels."""
    frames = some(train, _FRAMES)
    head = HeadPoints.spread(rig, track.identity, Generator().manual_seed(0))
    aligned, _ = refined(capture, track, head, frames, frames)
    values, seen = looked(capture, aligned, head, frames)
    colours, worth = typical(values, seen)
    missed, total = 0.0, 0.0
    for value, shown in zip(values, seen):
        weight = ((worth > 0.05) * head.worth * shown).astype(np.float32)
        if weight.sum() < 20:
            continue
        gain, offset = light(colours, value, weight)
        square = np.square(value - (gain * colours + offset)).mean(-1)
        missed += float((weight * square / (1 + square / _USUAL)).sum())
        total += float(weight.sum())
    return -10 * float(np.log10(max(missed, 1e-12) / total)) if total else -np.inf
