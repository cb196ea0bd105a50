"""The photometric tracker: what the landmarks found, corrected against the pictures themselves.

Landmarks shimmer and lean: a network's opinion. Here points all over the rig learn their typical
colour from the training frames, and each frame's head and face are moved until the picture has
those colours at those points. Shoulders are aligned the same way, as a plane.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator

from likeness.core.batching import take
from likeness.core.capture import Capture, parted
from likeness.core.geometry import rigid
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.trackers.agreement import agreeing
from likeness.trackers.gaze_alignment import with_gaze
from likeness.trackers.habits import has_habits
from likeness.trackers.head_alignment import BLURS, refined
from likeness.trackers.head_points import HeadPoints
from likeness.trackers.landmarks import Landmarks, finished, rest_frame
from likeness.trackers.outlines import outlined
from likeness.trackers.shoulder_alignment import shoulders
from likeness.trackers.steady import steadied, steadied_rotations
from likeness.trackers.together import together
from likeness.trackers.torso import shoulder_depth
from likeness.trackers.torso_modes import torso_modes

_log = logging.getLogger(__name__)
_FEW = 4  # training frames: fewer tell no colours
_LIKELY = 0.3  # decibels by which pictures must speak against the mesh's habits
_CALM = 2  # frames to each side; four cost a twentieth of a pixel


@dataclass(frozen=True)
class Photometric:
    """The landmark tracker, then head, face and shoulders refined against the pictures."""

    focal: float | None = None
    """Focal length in pixels of the capture's pictures; else the capture's own, else a guess."""
    person: int | None = None
    """Which person, counted from the left, when there are several."""
    modes: int = 12
    """Personal modes: motions of this person that no named shape can say."""
    smooth: float = 1.0
    """How strongly neighbouring frames hold together; 0 lets each stand alone."""
    bends: int = 24
    """Modes in which clothes bend beyond the shoulders' rigid motion."""
    rounds: int = 2
    """How often colours are learned and poses corrected in turn."""
    points: Path | None = None
    """Landmarks of your own (.npz, .json), or a face_landmarker.task to find them with."""
    matte: Path | None = None
    """Robust Video Matting's weights (TorchScript or ONNX), in place of the bundled matting."""
    parser: Path | None = None
    """A face parser with CelebAMask-HQ's 19 classes, in place of regions from landmarks."""
    habits: bool | None = None
    """Take into account how the face mesh errs on synthetic people: true, false, or unless given
    whichever the pictures agree with more."""

    def track(self, capture: Capture, rig: Rig, folder: Path) -> Track:
        """Track a capture; mattes and regions go into `folder` as they are drawn."""
        track = self._landmarks(capture, rig, folder)
        seen = track.confidence.nonzero()[:, 0].tolist()
        train = [i for i in parted(capture, seen).train if track.confidence[i] > 0]
        if len(train) < _FEW:
            _log.info("Too few frames for a photometric pass; the landmarks' poses are kept.")
            return track
        head = HeadPoints.spread(rig, track.identity, Generator().manual_seed(0))
        report, moved = dict(track.report), 0.0
        for k in range(self.rounds):
            track, moved = refined(capture, track, head, train, blurs=BLURS[min(k, 1) :])
        report["photometric shift, pixels"] = round(moved, 3)
        if self.smooth > 0 and capture.fps:
            track = calm(track)
        track = with_gaze(capture, track, rig, head, train)
        reference = rest_frame(track.expressions.world_from_head, train)
        camera, rest = take(track.cameras, reference), track.expressions.world_from_head[reference]
        depth = shoulder_depth(rig, track.identity, camera, rest)
        track = shoulders(capture, track, train, reference, depth)
        bent = torso_modes(capture, track, train, reference, depth, self.bends)
        if bent is not None:
            expressions = replace(track.expressions, torso=bent[0])
            track = replace(track, expressions=expressions, bends=bent[1])
        return replace(track, report=report)

    def _landmarks(self, capture: Capture, rig: Rig, folder: Path) -> Track:
        """What landmarks say, with the mesh's habits or without."""
        plain = Landmarks(
            self.focal, self.person, self.modes, self.smooth, self.points, self.matte, self.parser,
            bool(self.habits),
        )  # fmt: skip
        sight = plain.look(capture, rig, folder)
        ways = [plain]
        if self.habits is None and has_habits(rig) and len(sight.train) >= _FEW:
            ways.append(replace(plain, habits=True))
        fits = list(together(lambda way: way.fitted(capture, rig, sight), ways, "fitting the head"))
        which = 0
        if len(fits) > 1:
            which = agreeing(capture, rig, [fit.track for fit in fits], sight.train, (0.0, _LIKELY))
        fit, moved = fits[which], 0
        if len(sight.train) >= _FEW:
            accounts = [fit.track, outlined(rig, fit, sight.train)]
            moved = agreeing(capture, rig, accounts, sight.train)
            fit = replace(fit, track=accounts[moved])
        track = finished(capture, rig, sight, fit)
        report = {
            "habits of the face mesh": bool(self.habits) or which == 1,
            "outlines of mattes": moved == 1,
        }
        return replace(track, report=track.report | report)


def calm(track: Track) -> Track:
    """Poses without the noise of single pictures: parabolas through two neighbours to each side."""
    poses, known = track.expressions.world_from_head, (track.confidence > 0).float()
    joined = torch.zeros_like(known)
    joined[1:-1] = known[:-2] * known[1:-1] * known[2:]
    turned = steadied_rotations(poses[:, :3, :3], joined, _CALM)
    calmed = rigid(turned, steadied(poses[:, :3, 3], joined, _CALM))
    return replace(track, expressions=replace(track.expressions, world_from_head=calmed))
