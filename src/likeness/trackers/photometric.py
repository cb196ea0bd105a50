"""The photometric tracker: what the landmarks found, corrected against the pictures themselves.

Landmarks shimmer and lean: a network's opinion. Here points all over the rig learn their typical
colour from the training frames, and each frame's head pose is moved until the picture has those
colours at those points. Shoulders are aligned the same way, as a plane.
"""

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from likeness.core.batching import take
from likeness.core.camera import far_away, project
from likeness.core.capture import Capture, last_fifth
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, invert_rigid, rigid, transform
from likeness.core.progress import counted
from likeness.core.regions import REGION
from likeness.core.rig import Identity, Rig
from likeness.core.track import Track
from likeness.trackers.align import Brightness, align, typical
from likeness.trackers.landmarks import Landmarks, rest_frame
from likeness.trackers.normal_equations import placed
from likeness.trackers.torso import on_screen, screen_motion, world_from_torso
from likeness.trackers.torso_mask import enough, torso_at
from likeness.trackers.torso_modes import torso_modes

_log = logging.getLogger(__name__)
_POINTS = 6000
_LOOKS = 48  # training frames that colours are learned from
_MOST_TURN, _MOST_SHIFT = 0.035, 0.006  # radians, metres: more is a failure, not a correction
_MODE_STIFF = 0.1  # how far personal modes lean on the landmarks, at one standard deviation
_FARTHEST = 4.0  # standard deviations
_STEADY = ("skin", "brows", "lips", "ears", "scalp", "neck")
_TORSO_STIFF = np.array([1e2, 1e1, 1e1, 3e2])  # turn, shifts, growth
_WORTH = {"lips": 0.2, "brows": 0.6, "neck": 0.0, "scalp": 0.5, "ears": 0.6}


@dataclass(frozen=True)
class Photometric:
    """The landmark tracker, then pose and shoulders refined against the pictures."""

    focal: float | None = None
    """Focal length in pixels of the capture's pictures; else the capture's own, else a guess."""
    person: int | None = None
    """Which person, counted from the left, when there are several."""
    modes: int = 12
    """Personal modes: motions of this person that no named shape can say."""
    smooth: float = 1.0
    """How strongly neighbouring frames hold together; 0 lets each stand alone."""
    bends: int = 12
    """Modes in which clothes bend beyond the shoulders' rigid motion."""
    rounds: int = 2
    """How often colours are learned and poses corrected in turn."""
    points: Path | None = None
    """Landmarks of your own (.npz, .json), or a face_landmarker.task to find them with."""
    matte: Path | None = None
    """Robust Video Matting's weights (TorchScript or ONNX), in place of the bundled matting."""
    parser: Path | None = None
    """A face parser with CelebAMask-HQ's 19 classes, in place of regions from landmarks."""
    habits: bool = False
    """Take into account how the face mesh errs on synthetic people. Absolute poses come nearer to
    the truth; avatars of real people come out less sharp, for frames that look alike are told
    apart."""

    def track(self, capture: Capture, rig: Rig, folder: Path) -> Track:
        """Track a capture; mattes and regions go into `folder` as they are drawn."""
        base = Landmarks(
            self.focal, self.person, self.modes, self.smooth, self.points, self.matte, self.parser,
            self.habits,
        )  # fmt: skip
        track = base.track(capture, rig, folder)
        splits = capture.splits or last_fifth(len(capture))
        train = [i for i in splits.train if track.confidence[i] > 0]
        if len(train) < 4:
            _log.info("Too few frames for a photometric pass; the landmarks' poses are kept.")
            return track
        head = HeadPoints.spread(rig, track.identity, Generator().manual_seed(0))
        report, moved = dict(track.report), 0.0
        for _ in range(self.rounds):
            track, moved = refined(capture, track, head, train)
        report["photometric shift, pixels"] = round(moved, 3)
        track = shoulders(capture, track, train)
        reference = rest_frame(track.expressions.world_from_head, train)
        bent = torso_modes(capture, track, train, reference, self.bends)
        if bent is not None:
            expressions = replace(track.expressions, torso=bent[0])
            track = replace(track, expressions=expressions, bends=bent[1])
        return replace(track, report=report)


@dataclass(frozen=True, eq=False)
class HeadPoints:
    """Points fixed to the rig's surface, in the frame of the head: where they rest, and how each
    named shape, then each personal mode, moves them."""

    rest: Tensor  # N 3
    normals: Tensor  # N 3
    shapes: Tensor  # E+P N 3
    personal: int
    worth: np.ndarray

    @classmethod
    def spread(cls, rig: Rig, identity: Identity, generator: Generator) -> "HeadPoints":
        triangles = rig.triangles
        region = rig.regions[triangles].mode(-1).values
        plain = rig.neutral()
        steady = torch.zeros(len(REGION))
        for name in _STEADY:
            steady[REGION[name]] = _WORTH.get(name, 1.0)
        corners = rig.pose(identity, plain).vertices[triangles]
        normals = torch.linalg.cross(
            corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=-1
        )
        mass = normals.norm(dim=-1) * (steady[region] > 0)
        face = torch.multinomial(mass, _POINTS, replacement=True, generator=generator)
        u = torch.rand(_POINTS, 2, generator=generator)
        u = torch.where(u.sum(-1, keepdim=True) > 1, 1 - u, u)
        weights = torch.stack([1 - u.sum(-1), u[:, 0], u[:, 1]], -1)[..., None]
        rest = (corners[face] * weights).sum(-2)
        shapes = []
        for one in torch.eye(plain.coefficients.shape[-1]):
            moved = rig.pose(identity, replace(plain, coefficients=one)).vertices
            shapes.append((moved[triangles[face]] * weights).sum(-2) - rest)
        modes = [] if identity.modes is None else list(identity.modes[:, triangles[face]])
        shapes += [(mode * weights).sum(-2) for mode in modes]
        normal = torch.nn.functional.normalize(normals[face], dim=-1)
        worth = steady[region[face]].numpy()
        return cls(rest, normal, torch.stack(shapes), len(modes), worth)

    @property
    def modes(self) -> Tensor:
        """How personal modes move the points."""
        return self.shapes[len(self.shapes) - self.personal :]

    def places(self, expression: Expression) -> Tensor:
        """Where the points are in the frame of the head, in one moment."""
        weights = expression.coefficients
        if self.personal and expression.personal is not None:
            weights = torch.cat([weights, expression.personal])
        shapes = self.shapes[: len(weights)]
        return self.rest + (weights @ shapes.flatten(1)).view_as(self.rest)


def refined(
    capture: Capture, track: Track, head: HeadPoints, train: list[int]
) -> tuple[Track, float]:
    """One round: learn the points' colours, then move every frame's head. Also the median move
    on screen, in pixels."""
    chosen = [train[i] for i in np.linspace(0, len(train) - 1, _LOOKS).round().astype(int)]
    scale = track.cameras.width / 256
    values, seen = [], []
    for index in dict.fromkeys(chosen):
        pixels, facing = _projected(track, head, index)
        value, _, inside = Brightness(capture[index].rgb8, 0.8 * scale).at(pixels)
        values.append(value)
        seen.append(inside * (facing > 0.35) * _matte(track, index, pixels))
    colours, worth = typical(np.stack(values), np.stack(seen))
    worth = worth * head.worth
    poses = track.expressions.world_from_head.clone()
    personal = track.expressions.personal
    personal = None if personal is None else personal.clone()
    moves = []
    for index in counted(range(len(track)), "aligning the head"):
        if track.confidence[index] <= 0:
            continue
        new, modes, move = _aligned_head(capture, track, head, index, colours, worth, scale)
        poses[index] = new
        if personal is not None:
            personal[index] = (personal[index] + modes).clamp(-_FARTHEST, _FARTHEST)
        moves.append(move)
    expressions = replace(track.expressions, world_from_head=poses, personal=personal)
    return replace(track, expressions=expressions), float(np.median(moves))


def _projected(track: Track, head: HeadPoints, index: int) -> tuple[np.ndarray, np.ndarray]:
    camera = take(track.cameras, index)
    pose = track.expressions.world_from_head[index]
    world = transform(pose, head.places(take(track.expressions, index)))
    eye = invert_rigid(camera.camera_from_world)[:3, 3]
    to_eye = torch.nn.functional.normalize(eye - world, dim=-1)
    facing = ((head.normals @ pose[:3, :3].T) * to_eye).sum(-1)
    return project(camera, world).numpy(), facing.numpy()


def _matte(track: Track, index: int, pixels: np.ndarray) -> np.ndarray:
    alpha = track.maps.alpha(index) if track.maps is not None else None
    if alpha is None:
        return np.ones(len(pixels), np.float32)
    at = np.clip(pixels.astype(int), 0, [alpha.shape[1] - 1, alpha.shape[0] - 1])
    return (alpha[at[:, 1], at[:, 0]] > 200).astype(np.float32)


def _aligned_head(
    capture: Capture,
    track: Track,
    head: HeadPoints,
    index: int,
    colours: np.ndarray,
    worth: np.ndarray,
    scale: float,
) -> tuple[Tensor, Tensor, float]:
    """A frame's new pose, by how much its personal modes change, and by how many pixels its points
    moved."""
    camera = take(track.cameras, index)
    pose = track.expressions.world_from_head[index]
    camera_from_head = camera.camera_from_world @ pose
    places = head.places(take(track.expressions, index))
    _, facing = _projected(track, head, index)
    use = np.flatnonzero((facing > 0.3) & (worth > 0.05))
    place = partial(
        _placed,
        points=(places[use] @ camera_from_head[:3, :3].T).double().contiguous().numpy(),
        modes=(head.modes[:, use] @ camera_from_head[:3, :3].T).double().contiguous().numpy(),
        shift=camera_from_head[:3, 3].double().numpy(),
        lens=camera.intrinsics.double().numpy(),
    )
    # out of the picture plane little is seen: depth and turn lean on the landmarks
    stiff = np.concatenate([[2e3, 2e3, 2e2, 2e3, 2e3, 2e5], np.full(len(head.modes), _MODE_STIFF)])
    begin = np.zeros(len(stiff))
    found = begin
    for blur, rounds in ((1.6, 4), (0.8, 4)):
        picture = Brightness(capture[index].rgb8, blur * scale)
        found = align(picture, colours[use], worth[use], found, place, stiff, rounds)
    if np.abs(found[:3]).max() > _MOST_TURN or np.abs(found[3:6]).max() > _MOST_SHIFT:
        return pose, torch.zeros(len(head.modes)), 0.0
    move = np.linalg.norm(place(found)[0] - place(begin)[0], axis=-1)
    delta = rigid(
        axis_angle_to_matrix(torch.from_numpy(found[:3])), torch.from_numpy(found[3:6])
    ).float()
    turned = delta[:3, :3] @ camera_from_head[:3, :3]
    new = rigid(turned, camera_from_head[:3, 3] + delta[:3, 3])
    modes = torch.from_numpy(found[6:]).float()
    return invert_rigid(camera.camera_from_world) @ new, modes, float(np.median(move))


def _placed(
    change: np.ndarray,
    points: np.ndarray,
    modes: np.ndarray,
    shift: np.ndarray,
    lens: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of points turned and shifted in the camera and bent by modes; and derivatives."""
    turn = axis_angle_to_matrix(torch.from_numpy(change[:3])).numpy()
    pixels, moves = np.empty((len(points), 2)), np.empty((len(points), 2, len(change)))
    placed(points, modes, turn, change, shift, lens, pixels, moves)
    return pixels, moves


def shoulders(capture: Capture, track: Track, train: list[int]) -> Track:
    """The torso's motion again, against the typical picture of the shoulders."""
    torso = track.expressions.world_from_torso
    reference = rest_frame(track.expressions.world_from_head, train)
    shown = torso_at(capture, track, reference)
    if torso is None or shown is None or not enough(shown[0]):
        return track
    size = track.cameras.width
    rows, columns = np.nonzero(shown[0])
    step = max(1, len(rows) // _POINTS)
    points = np.stack([columns[::step], rows[::step]], -1) + 0.5
    camera, rest = take(track.cameras, reference), track.expressions.world_from_head[reference]
    motion = screen_motion(torso, camera, rest)
    swaying = far_away(track.cameras, camera).double().numpy()
    scale = size / 256
    for _ in range(2):
        chosen = [train[i] for i in np.linspace(0, len(train) - 1, _LOOKS).round().astype(int)]
        values, seen = [], []
        for index in dict.fromkeys(chosen):
            pixels, _ = on_screen(points, motion[index], size, swaying[index])
            value, _, inside = Brightness(capture[index].rgb8, 0.8 * scale).at(pixels)
            values.append(value)
            seen.append(inside * _matte(track, index, pixels))
        colours, worth = typical(np.stack(values), np.stack(seen))
        for index in counted(range(len(track)), "aligning the shoulders"):
            found = motion[index]
            place = partial(on_screen, points, size=size, swaying=swaying[index])
            for blur in (1.6, 0.8):
                picture = Brightness(capture[index].rgb8, blur * scale)
                found = align(picture, colours, worth, found, place, _TORSO_STIFF, 4)
            if np.abs(found - motion[index]).max() < 0.05:
                motion[index] = found
    placed = world_from_torso(motion, camera, rest)
    return replace(track, expressions=replace(track.expressions, world_from_torso=placed))
