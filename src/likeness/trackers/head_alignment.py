"""Every frame's head moved until the picture has the points' own colours where they are."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.capture import Capture
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, invert_rigid, rigid, transform
from likeness.core.track import Track
from likeness.trackers.align import Brightness, Pull, align, nearest, some, typical
from likeness.trackers.head_points import HeadPoints
from likeness.trackers.normal_equations import placed
from likeness.trackers.plausible import usual_pull
from likeness.trackers.together import together

BLURS = ((1.6, 4), (0.8, 4))
"""Pixels at 256 by which a picture is blurred, and how many steps are taken then."""

_MOST_TURN, _MOST_SHIFT = 0.035, 0.006  # radians, metres: more is a failure, not a correction
# out of the picture plane little is seen: depth and turn lean on the landmarks
_POSE_STIFF = (6e2, 6e2, 6e1, 6e2, 6e2, 6e4)
_MODE_STIFF = 0.05  # how far personal modes lean on the landmarks, at one standard deviation
_SHAPE_STIFF = 0.2  # the same of named shapes, at their usual strength
_BLINK_STIFF = 0.3  # of that: skin tells little of lids, but a lid that hides an eye tells all
_ROBUST = 0.15  # colour difference beyond which a point is doubted: it may be a mouth, ajar
_FARTHEST = 4.0  # standard deviations


def looked(
    capture: Capture, track: Track, head: HeadPoints, frames: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Colours that the points have in some frames [T, N, 3], and which are seen there [T, N]."""

    def one(index: int) -> tuple[np.ndarray, np.ndarray]:
        pixels, facing = projected(track, head, index)
        picture = Brightness(capture[index].rgb8, 0.8 * track.cameras.width / 256, pixels)
        value, _, inside = picture.at(pixels)
        return value, inside * (facing > 0.35) * within_matte(track, index, pixels)

    values, seen = zip(*together(one, frames, "learning colours"), strict=True)
    return np.stack(values), np.stack(seen)


def refined(
    capture: Capture,
    track: Track,
    head: HeadPoints,
    train: list[int],
    frames: Iterable[int] | None = None,
    blurs: tuple[tuple[float, int], ...] = BLURS,
) -> tuple[Track, float]:
    """One round: learn the points' colours from training frames, then move the head in every frame,
    or in some. Also the median move on screen, in pixels."""
    colours, worth = typical(*looked(capture, track, head, some(train)))
    seeker = _Seeker(
        capture, track, head, head.motions, colours, worth * head.worth, _pull(head), blurs
    )
    now, told, moves = track.expressions, head.told, []
    poses, coefficients = now.world_from_head.clone(), now.coefficients.clone()
    personal = None if now.personal is None else now.personal.clone()
    every = [t for t in (frames or range(len(track))) if track.confidence[t] > 0]
    found = together(seeker.aligned, every, "aligning the head")
    for index, new in zip(every, found, strict=True):
        poses[index] = new.pose
        coefficients[index, told] += new.shapes
        if personal is not None:
            personal[index] += new.modes
        moves.append(new.moved)
    expressions = replace(now, world_from_head=poses, personal=personal, coefficients=coefficients)
    return replace(track, expressions=expressions), float(np.median(moves))


@dataclass(frozen=True, eq=False)
class _Aligned:
    """A frame's new pose, what is added to its weights, and by how many pixels points moved."""

    pose: Tensor
    modes: Tensor
    shapes: Tensor
    moved: float


def projected(track: Track, head: HeadPoints, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Where points of the head are on a frame, and how much they face it (a cosine)."""
    camera = take(track.cameras, index)
    pose = track.expressions.world_from_head[index]
    world = transform(pose, head.places(take(track.expressions, index)))
    eye = invert_rigid(camera.camera_from_world)[:3, 3]
    to_eye = torch.nn.functional.normalize(eye - world, dim=-1)
    facing = ((head.normals @ pose[:3, :3].T) * to_eye).sum(-1)
    return project(camera, world).numpy(), facing.numpy()


def within_matte(track: Track, index: int, pixels: np.ndarray) -> np.ndarray:
    alpha = track.maps.alpha(index) if track.maps is not None else None
    if alpha is None:
        return np.ones(len(pixels), np.float32)
    return (nearest(alpha, pixels) > 200).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Seeker:
    """Finds the head where its points have their colours."""

    capture: Capture
    track: Track
    head: HeadPoints
    motions: Tensor
    colours: np.ndarray
    worth: np.ndarray
    pull: Pull
    blurs: tuple[tuple[float, int], ...]

    def aligned(self, index: int) -> _Aligned:
        camera, now = take(self.track.cameras, index), take(self.track.expressions, index)
        camera_from_head = camera.camera_from_world @ now.world_from_head
        turn = camera_from_head[:3, :3]
        _, facing = projected(self.track, self.head, index)
        use = np.flatnonzero((facing > 0.3) & (self.worth > 0.05))
        place = partial(
            _placed,
            points=(self.head.places(now)[use] @ turn.T).double().contiguous().numpy(),
            modes=(self.motions[:, use] @ turn.T).contiguous().numpy(),
            shift=camera_from_head[:3, 3].double().numpy(),
            lens=camera.intrinsics.double().numpy(),
        )
        pull = _within(self.pull, self.head, now)
        begin = found = pull.to
        first = place(begin, slopes=False)[0]
        for blur, rounds in self.blurs:
            blur = blur * self.track.cameras.width / 256
            picture = Brightness(self.capture[index].rgb8, blur, first)
            colours, worth = self.colours[use], self.worth[use]
            found = align(picture, colours, worth, found, place, pull, rounds, _ROBUST)
        if np.abs(found[:3]).max() > _MOST_TURN or np.abs(found[3:6]).max() > _MOST_SHIFT:
            found = begin
        move = np.linalg.norm(place(found, slopes=False)[0] - first, axis=-1)
        further = axis_angle_to_matrix(torch.from_numpy(found[:3])).float()
        shift = torch.from_numpy(found[3:6]).float()
        new = rigid(further @ turn, camera_from_head[:3, 3] + shift)
        weights = torch.from_numpy(found[6:]).float()
        return _Aligned(
            invert_rigid(camera.camera_from_world) @ new,
            weights[: self.head.personal],
            weights[self.head.personal :],
            float(np.median(move)) if len(move) else 0.0,
        )


def _pull(head: HeadPoints) -> Pull:
    """How changes of pose, modes and shapes are held near none."""
    shapes = head.told
    strength = np.zeros((6 + head.personal + len(shapes),) * 2)
    held = [*_POSE_STIFF, *[_MODE_STIFF] * head.personal]
    strength[range(len(held)), range(len(held))] = held
    usual = _SHAPE_STIFF * usual_pull(head.names).numpy()[np.ix_(shapes, shapes)]
    for k, shape in enumerate(shapes):
        usual[k, k] *= _BLINK_STIFF if head.names[shape].startswith("eyeBlink") else 1.0
    strength[len(held) :, len(held) :] = usual
    return Pull(strength, np.zeros(len(strength)))


def _within(pull: Pull, head: HeadPoints, now: Expression) -> Pull:
    """The same with weights in their range, whatever they are now."""
    low, high = np.full(len(pull.to), -np.inf), np.full(len(pull.to), np.inf)
    if head.personal and now.personal is not None:
        own = slice(6, 6 + head.personal)
        low[own], high[own] = _room(now.personal, -_FARTHEST, _FARTHEST)
    shapes = slice(6 + head.personal, None)
    low[shapes], high[shapes] = _room(now.coefficients[head.told], 0.0, 1.0)
    return replace(pull, low=low, high=high)


def _room(weights: Tensor, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """By how much weights may fall and rise."""
    w = weights.double().numpy()
    return np.minimum(low - w, 0), np.maximum(high - w, 0)


def _placed(
    change: np.ndarray,
    points: np.ndarray,
    modes: np.ndarray,
    shift: np.ndarray,
    lens: np.ndarray,
    slopes: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of points turned and shifted in the camera and bent by modes; and derivatives."""
    pixels = np.empty((len(points), 2))
    moves = np.empty((len(points), 2, len(change) if slopes else 0), np.float32)
    placed(points, modes, change, shift, lens, pixels, moves)
    return pixels, moves
