"""How the shoulders move, which is not how the head does: alignment away from neck and face."""

from functools import partial

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.capture import Capture
from likeness.core.geometry import axis_angle_to_matrix, invert_rigid, rigid, transform
from likeness.core.rig import Identity, Rig
from likeness.trackers.align import Brightness, align
from likeness.trackers.camera_motion import matrix_of
from likeness.trackers.together import together
from likeness.trackers.torso_mask import Mask, enough

_POINTS = 1500
_BLUR = 2.4  # pixels at 256
_STIFF = np.array([1e2, 1e1, 1e1, 3e2])  # turn, shifts, growth
_FARTHEST = 0.15  # radians, picture widths: more from frame to frame is a failure
_NECK_ENDS = 0.05  # of a rig's vertices lie lower
_CHEST = 0.02  # metres before the middle of where the neck ends


def shoulder_motion(
    capture: Capture,
    torso: Mask,
    reference: int,
    seen: Float[np.ndarray, " T"],
    swaying: Float[np.ndarray, "T 4"],
) -> Float[np.ndarray, "T 4"]:
    """Per frame turn (radians, clockwise on screen), shift (x, y, in picture widths) and growth
    (0: none) of the shoulders since the reference frame, about the middle of the lower edge, as
    the first frame's camera would see them. `torso` is where they are in the reference frame,
    `swaying` the camera's own motion.

    Zero throughout where shoulders cannot be seen. Frames that fail to align keep the last motion.
    """
    motion, middle = np.zeros((len(capture), 4)), 0.5 * np.array(capture.size)
    near = _widened(torso)
    if not enough(near):
        return motion
    rows, columns = np.nonzero(near)
    step = max(1, len(rows) // _POINTS)
    shown = np.stack([columns[::step], rows[::step]], -1) + 0.5
    sways = [_on_pixels(move, middle) for move in swaying]
    undo = np.linalg.inv(sways[reference])
    points = shown @ undo[:2, :2].T + undo[:2, 2]
    blur = _BLUR * capture.size[0] / 256
    colours, _, worth = Brightness(capture[reference].rgb8, blur, shown).at(shown)

    def look(index: int) -> Brightness | None:
        return Brightness(capture[index].rgb8, blur) if seen[index] > 0 else None

    def follow(frames: range) -> None:
        last = motion[reference]
        ahead = together(look, frames, "following the shoulders")
        for index, picture in zip(frames, ahead, strict=True):
            place = partial(on_screen, points, size=capture.size[0], swaying=sways[index])
            if picture is not None:
                found = align(picture, colours, worth, last, place, _STIFF, 8)
                last = found if np.abs(found - last).max() < _FARTHEST else last
            motion[index] = last

    follow(range(reference + 1, len(capture)))
    follow(range(reference - 1, -1, -1))
    return _steadied(_about_lower_edge(motion, capture.size))


def _widened(mask: Mask) -> Mask:
    """With a little of what is around it: edges tell most."""
    reach = max(3, mask.shape[1] // 40) | 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0


def _on_pixels(
    move: Float[np.ndarray, " 4"], middle: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, "3 3"]:
    """A motion of `camera_motion`, of pixels."""
    matrix = matrix_of(move)
    matrix[:2, 2] = matrix[:2, 2] * 2 * middle[0] + middle - matrix[:2, :2] @ middle
    return matrix


def _about_lower_edge(
    motion: Float[np.ndarray, "T 4"], size: tuple[int, int]
) -> Float[np.ndarray, "T 4"]:
    """Motion about the middle of the lower edge, from that of `on_screen`, whose pictures are
    square."""
    width, height = size
    pivot, still = np.array([[width / 2, float(height)]]), np.eye(3)
    moved = [carried_along(pivot, move, width, still)[0] - pivot[0] for move in motion]
    return np.concatenate([motion[:, :1], np.array(moved) / width, motion[:, 3:]], 1)


def _steadied(motion: np.ndarray) -> np.ndarray:
    """A short smoothing (1-2-1): alignment is noisy, shoulders are heavy."""
    padded = np.concatenate([motion[:1], motion, motion[-1:]])
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


def shoulder_depth(
    rig: Rig, identity: Identity, camera: Camera, world_from_head: Float[Tensor, "4 4"]
) -> float:
    """Metres along the view to where most of the clothes are: a little before the middle of where
    the neck ends."""
    resting = rig.pose(identity, rig.neutral()).vertices
    ends = resting[resting[:, 1] <= resting[:, 1].quantile(_NECK_ENDS)].mean(0)
    return float(transform(camera.camera_from_world @ world_from_head, ends[None])[0, 2]) - _CHEST


def world_from_torso(
    motion: Float[np.ndarray, "T 4"],
    camera: Camera,
    reference: Float[Tensor, "4 4"],
    depth: float,
) -> Float[Tensor, "T 4 4"]:
    """The torso's rigid motion: at the reference it is where the head's frame is.

    Screen motion is taken as happening at one depth, in planes that face the camera; growth is
    coming nearer.
    """
    pose = camera.camera_from_world
    focal = camera.intrinsics[0, 0]
    pivot = lower_edge(camera) * depth / focal
    moves = torch.from_numpy(motion).to(pose)
    turn = torch.zeros(len(moves), 3)
    turn[:, 2] = moves[:, 0]
    rotation = axis_angle_to_matrix(turn)
    nearer = 1 / (1 + moves[:, 3:])
    shifted = nearer * (pivot[:2] + moves[:, 1:3] * camera.width * depth / focal)
    goal = torch.cat([shifted, nearer * depth], -1)
    about = goal - (rotation @ pivot[:, None])[..., 0]
    return invert_rigid(pose) @ rigid(rotation, about) @ pose @ reference


def screen_motion(
    torso: Float[Tensor, "T 4 4"], camera: Camera, reference: int, depth: float
) -> Float[np.ndarray, "T 4"]:
    """The motion on screen since a reference frame that `world_from_torso` was made from, read
    back; the reference may be another than it was made with."""
    pose = camera.camera_from_world
    moves = pose @ torso @ invert_rigid(torso[reference]) @ invert_rigid(pose)
    focal = camera.intrinsics[0, 0]
    pivot = lower_edge(camera) * depth / focal
    goal = (moves[:, :3, :3] @ pivot) + moves[:, :3, 3]
    growth = depth / goal[:, 2:] - 1
    shift = ((1 + growth) * goal[:, :2] - pivot[:2]) * focal / depth / camera.width
    turn = torch.atan2(moves[:, 1, 0], moves[:, 0, 0])
    return torch.cat([turn[:, None], shift, growth], -1).double().numpy()


def lower_edge(camera: Camera) -> Float[Tensor, " 3"]:
    """The middle of the picture's lower edge, in pixels from the principal point; the last number
    is the focal length, so that scaled by depth over focal it is a place in the camera."""
    edge = camera.intrinsics.new_tensor([camera.width / 2, float(camera.height)])
    return torch.cat([edge - camera.intrinsics[:2, 2], camera.intrinsics[:1, 0]])


def on_screen(
    points: Float[np.ndarray, "N 2"],
    motion: Float[np.ndarray, " 4"],
    size: int,
    swaying: Float[np.ndarray, "3 3"],
) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, "N 2 4"]]:
    """Points turned, grown and shifted about the middle of the lower edge, then as the frame's own
    camera sees them; and derivatives."""
    pivot = np.array([size / 2, size])
    c, s = np.cos(motion[0]), np.sin(motion[0])
    away, grown = points - pivot, 1 + motion[3]
    turned = np.stack([c * away[:, 0] - s * away[:, 1], s * away[:, 0] + c * away[:, 1]], -1)
    slopes = np.zeros((len(points), 2, 4))
    slopes[:, :, 0] = grown * np.stack([-turned[:, 1], turned[:, 0]], -1)
    slopes[:, 0, 1] = slopes[:, 1, 2] = size
    slopes[:, :, 3] = turned
    own = swaying[:2, :2]
    return carried_along(points, motion, size, swaying), own @ slopes


def carried_along(
    points: Float[np.ndarray, "N 2"],
    motion: Float[np.ndarray, " 4"],
    size: int,
    swaying: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "N 2"]:
    """The same points without derivatives."""
    pivot = np.array([size / 2, size])
    c, s = np.cos(motion[0]), np.sin(motion[0])
    own = (1 + motion[3]) * swaying[:2, :2] @ np.array([[c, -s], [s, c]])
    onto = swaying[:2, :2] @ (pivot + motion[1:3] * size) + swaying[:2, 2]
    return (points - pivot) @ own.T + onto
