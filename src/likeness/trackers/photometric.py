"""The photometric tracker: what the landmarks found, corrected against the pictures themselves.

Landmarks shimmer and lean: a network's opinion. Here points all over the rig learn their typical
colour from the training frames, and each frame's head and face are moved until the picture has
those colours at those points. Shoulders are aligned the same way, as a plane.
"""

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from likeness.core.batching import take
from likeness.core.camera import far_away
from likeness.core.capture import Capture, last_fifth
from likeness.core.geometry import rigid
from likeness.core.progress import counted
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.trackers.agreement import agreeing
from likeness.trackers.align import Brightness, align, typical
from likeness.trackers.gaze_alignment import with_gaze
from likeness.trackers.habits import has_habits
from likeness.trackers.head_alignment import LOOKS, refined, within_matte
from likeness.trackers.head_points import HeadPoints
from likeness.trackers.landmarks import Landmarks, finished, rest_frame
from likeness.trackers.steady import steadied, steadied_rotations
from likeness.trackers.torso import on_screen, screen_motion, shoulder_depth, world_from_torso
from likeness.trackers.torso_mask import enough, torso_at
from likeness.trackers.torso_modes import torso_modes

_log = logging.getLogger(__name__)
_FEW = 4  # training frames: fewer tell no colours
_POINTS = 3000  # of the shoulders
_CALM = 2  # frames to each side; four cost a twentieth of a pixel
_TORSO_STIFF = np.array([1e2, 1e1, 1e1, 3e2])  # turn, shifts, growth
_WORTH = {"lips": 0.2, "brows": 0.6, "neck": 0.0, "scalp": 0.5, "ears": 0.6}


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
        splits = capture.splits or last_fifth(len(capture))
        train = [i for i in splits.train if track.confidence[i] > 0]
        if len(train) < _FEW:
            _log.info("Too few frames for a photometric pass; the landmarks' poses are kept.")
            return track
        head = HeadPoints.spread(rig, track.identity, Generator().manual_seed(0))
        report, moved = dict(track.report), 0.0
        for _ in range(self.rounds):
            track, moved = refined(capture, track, head, train)
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
        fits = [plain.fitted(capture, rig, sight)]
        which = 0
        if self.habits is None and has_habits(rig) and len(sight.train) >= _FEW:
            fits.append(replace(plain, habits=True).fitted(capture, rig, sight))
            which = agreeing(capture, rig, [fit.track for fit in fits], sight.train)
        track = finished(capture, rig, sight, fits[which])
        report = track.report | {"habits of the face mesh": bool(self.habits) or which == 1}
        return replace(track, report=report)


def calm(track: Track) -> Track:
    """Poses without the noise of single pictures: parabolas through two neighbours to each side."""
    poses, known = track.expressions.world_from_head, (track.confidence > 0).float()
    joined = torch.zeros_like(known)
    joined[1:-1] = known[:-2] * known[1:-1] * known[2:]
    turned = steadied_rotations(poses[:, :3, :3], joined, _CALM)
    calmed = rigid(turned, steadied(poses[:, :3, 3], joined, _CALM))
    return replace(track, expressions=replace(track.expressions, world_from_head=calmed))


def shoulders(
    capture: Capture, track: Track, train: list[int], reference: int, depth: float
) -> Track:
    """The torso's motion again, against the typical picture of the shoulders."""
    torso = track.expressions.world_from_torso
    shown = torso_at(capture, track, reference)
    if torso is None or shown is None or not enough(shown[0]):
        return track
    size = track.cameras.width
    rows, columns = np.nonzero(shown[0])
    step = max(1, len(rows) // _POINTS)
    points = np.stack([columns[::step], rows[::step]], -1) + 0.5
    camera, rest = take(track.cameras, reference), track.expressions.world_from_head[reference]
    motion = screen_motion(torso, camera, reference, depth)
    swaying = far_away(track.cameras, camera).double().numpy()
    scale = size / 256
    for _ in range(2):
        chosen = [train[i] for i in np.linspace(0, len(train) - 1, LOOKS).round().astype(int)]
        values, seen = [], []
        for index in dict.fromkeys(chosen):
            pixels, _ = on_screen(points, motion[index], size, swaying[index])
            value, _, inside = Brightness(capture[index].rgb8, 0.8 * scale).at(pixels)
            values.append(value)
            seen.append(inside * within_matte(track, index, pixels))
        colours, worth = typical(np.stack(values), np.stack(seen))
        for index in counted(range(len(track)), "aligning the shoulders"):
            found = motion[index]
            place = partial(on_screen, points, size=size, swaying=swaying[index])
            for blur in (1.6, 0.8):
                picture = Brightness(capture[index].rgb8, blur * scale)
                found = align(picture, colours, worth, found, place, _TORSO_STIFF, 4)
            if np.abs(found - motion[index]).max() < 0.05:
                motion[index] = found
    placed = world_from_torso(motion, camera, rest, depth)
    return replace(track, expressions=replace(track.expressions, world_from_torso=placed))
