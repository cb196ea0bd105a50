"""The torso's motion against the typical picture of the shoulders."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from likeness.core.batching import take
from likeness.core.camera import far_away
from likeness.core.capture import Capture
from likeness.core.track import Track
from likeness.trackers.align import Brightness, align, some, typical
from likeness.trackers.head_alignment import within_matte
from likeness.trackers.together import together
from likeness.trackers.torso import on_screen, screen_motion, world_from_torso
from likeness.trackers.torso_mask import enough, torso_at

_POINTS = 3000
_STIFF = np.array([1e2, 1e1, 1e1, 3e2])  # turn, shifts, growth
_FARTHEST = 0.05  # radians, picture widths: more is a failure, not a correction


@dataclass(frozen=True, eq=False)
class _Shoulders:
    """Points on the shoulders in the reference frame, and how they have moved (see
    `torso.on_screen`)."""

    capture: Capture
    track: Track
    points: np.ndarray  # N 2, pixels
    swaying: np.ndarray  # T 3 3, the camera's own
    motion: np.ndarray  # T 4

    @property
    def size(self) -> int:
        return self.track.cameras.width

    def looked(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Colours of the points in a frame, and which are seen there."""
        pixels, _ = on_screen(self.points, self.motion[index], self.size, self.swaying[index])
        value, _, inside = Brightness(self.capture[index].rgb8, 0.8 * self.size / 256).at(pixels)
        return value, inside * within_matte(self.track, index, pixels)

    def aligned(self, colours: np.ndarray, worth: np.ndarray, index: int) -> np.ndarray:
        """A frame's motion that puts points where they have their colours."""
        begin = found = self.motion[index]
        place = partial(on_screen, self.points, size=self.size, swaying=self.swaying[index])
        near = place(begin)[0]
        for blur in (1.6, 0.8):
            picture = Brightness(self.capture[index].rgb8, blur * self.size / 256, near)
            found = align(picture, colours, worth, found, place, _STIFF, 4)
        return found if np.abs(found - begin).max() < _FARTHEST else begin


def shoulders(
    capture: Capture, track: Track, train: list[int], reference: int, depth: float
) -> Track:
    """A track with its torso aligned; unchanged where shoulders cannot be seen."""
    torso = track.expressions.world_from_torso
    shown = torso_at(capture, track, reference)
    if torso is None or shown is None or not enough(shown[0]):
        return track
    rows, columns = np.nonzero(shown[0])
    step = max(1, len(rows) // _POINTS)
    points = np.stack([columns[::step], rows[::step]], -1) + 0.5
    camera, rest = take(track.cameras, reference), track.expressions.world_from_head[reference]
    motion = screen_motion(torso, camera, reference, depth)
    swaying = far_away(track.cameras, camera).double().numpy()
    now = _Shoulders(capture, track, points, swaying, motion)
    for _ in range(2):
        looks = together(now.looked, some(train), "learning the shoulders' colours")
        colours, worth = typical(*map(np.stack, zip(*looks, strict=True)))
        every = range(len(track))
        found = together(partial(now.aligned, colours, worth), every, "aligning the shoulders")
        now = replace(now, motion=np.stack(list(found)))
    placed = world_from_torso(now.motion, camera, rest, depth)
    return replace(track, expressions=replace(track.expressions, world_from_torso=placed))
