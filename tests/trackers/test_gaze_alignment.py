"""Where eyes look, found in the pictures of somebody whose truth is known."""

from dataclasses import replace

import numpy as np
import torch
from torch import Generator

from likeness.captures.synthetic import film
from likeness.rigs.clay import clay
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.detection import found_points
from likeness.trackers.gaze_alignment import with_gaze
from likeness.trackers.head_points import HeadPoints

GAZE = [i for i, name in enumerate(ARKIT) if name.startswith("eyeLook")]
SIDEWAYS = ARKIT.index("eyeLookOutLeft"), ARKIT.index("eyeLookInLeft")


def test_gaze_that_a_track_does_not_know_is_found_in_the_pictures():
    capture, truth = film(2, 40, 256)
    rig, found = clay(), found_points(capture, None, None)
    head = HeadPoints.spread(rig, truth.identity, Generator().manual_seed(0))
    blind = truth.expressions.coefficients.clone()
    blind[:, GAZE] = 0
    track = replace(
        truth,
        expressions=replace(truth.expressions, coefficients=blind),
        confidence=torch.from_numpy(found.confidence),
        landmarks=torch.from_numpy(found.points[..., :2]),
    )
    seen = with_gaze(capture, track, rig, head, list(range(32))).expressions.coefficients

    def sideways(c):
        return (c[:, SIDEWAYS[0]] - c[:, SIDEWAYS[1]]).numpy()

    assert np.corrcoef(sideways(seen), sideways(truth.expressions.coefficients))[0, 1] > 0.9
    others = [i for i in range(len(ARKIT)) if i not in GAZE]
    torch.testing.assert_close(seen[:, others], blind[:, others])
