"""How the shoulders move, which is not how the head does: alignment away from neck and face."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.capture import Capture
from likeness.core.geometry import axis_angle_to_matrix, invert_rigid, rigid, transform
from likeness.core.progress import counted
from likeness.core.rig import Identity, Rig
from likeness.trackers.camera_motion import steadied
from likeness.trackers.torso_mask import Mask, enough

_SIZE = 192  # pixels along a side that alignment works on
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

    def picture(index: int) -> np.ndarray:
        return _grey(steadied(capture[index].rgb8, swaying[index]))

    motion = np.zeros((len(capture), 4))
    template, mask = picture(reference), _widened(torso)
    if not enough(mask):
        return motion
    for way in (1, -1):
        warp = np.eye(2, 3, dtype=np.float32)
        frames = range(reference, len(capture)) if way == 1 else range(reference, -1, -1)
        for index in counted(frames, "following the shoulders"):
            if seen[index] > 0:
                warp = _aligned(template, picture(index), warp, mask)
            motion[index] = _about_lower_edge(warp)
    return _steadied(motion)


def _grey(picture: UInt8[np.ndarray, "H W 3"]) -> np.ndarray:
    small = cv2.resize(picture, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)


def _widened(mask: Mask) -> np.ndarray:
    small = cv2.resize(mask.astype(np.uint8), (_SIZE, _SIZE), interpolation=cv2.INTER_NEAREST)
    return cv2.dilate(small, np.ones((5, 5), np.uint8))


def _aligned(
    template: np.ndarray, picture: np.ndarray, warp: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-4)
    try:
        score, found = cv2.findTransformECC(
            template, picture, warp.copy(), cv2.MOTION_EUCLIDEAN, criteria, mask, 3
        )
    except cv2.error:  # OpenCV's way of saying that it did not converge
        return warp
    far = np.abs(found[:, 2] - warp[:, 2]).max() > 0.15 * _SIZE
    return warp if score < 0.5 or far else found


def _about_lower_edge(warp: np.ndarray) -> np.ndarray:
    pivot = np.array([_SIZE / 2, _SIZE])
    moved = warp[:, :2] @ pivot + warp[:, 2] - pivot
    return np.array([np.arctan2(warp[1, 0], warp[0, 0]), *(moved / _SIZE), 0.0])


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
