"""From data sets in which the camera circles a still head, to ours: still camera, moving head."""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid
from likeness.core.rig import Identity
from likeness.core.track import Track

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenCV camera axes from OpenGL's (x right, y up, z towards the viewer), and back."""


def intrinsics_matrix(fx: float, fy: float, cx: float, cy: float) -> Float64[np.ndarray, "3 3"]:
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def still_camera(
    head_from_camera: Float64[np.ndarray, "T 4 4"],
    intrinsics: Float64[np.ndarray, "*t 3 3"],
    width: int,
    height: int,
) -> tuple[Camera, Float[Tensor, "T 4 4"]]:
    """The fixed camera and the `world_from_head` of each frame, from OpenGL camera-to-head poses.

    The camera looks along -z from a distance equal to the clip's mean, so that heads stay near the
    origin and a head that faces the camera is at rest. Lengths keep the data set's unit.
    """
    count = len(head_from_camera)
    distance = float(np.linalg.norm(head_from_camera[:, :3, 3], axis=-1).mean())
    world_from_camera = np.eye(4)
    world_from_camera[2, 3] = distance
    world_from_head = world_from_camera @ np.linalg.inv(head_from_camera)
    camera_from_world = OPENGL @ np.linalg.inv(world_from_camera)
    camera = Camera(
        single(np.broadcast_to(intrinsics, (count, 3, 3))),
        single(np.broadcast_to(camera_from_world, (count, 4, 4))),
        width,
        height,
    )
    return camera, single(world_from_head)


def camera_to_head(track: Track) -> Float[Tensor, "T 4 4"]:
    """The OpenGL camera-to-head matrices such data sets store: the inverse of `still_camera`."""
    world_from_camera = invert_rigid(track.cameras.camera_from_world.double())
    head_from_world = invert_rigid(track.expressions.world_from_head.double())
    turned = world_from_camera @ torch.from_numpy(OPENGL)
    return (head_from_world @ turned).to(track.cameras.camera_from_world.dtype)


def single(values: np.ndarray) -> Tensor:
    """float32, contiguous, its own memory."""
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def track_of(
    camera: Camera,
    rig: str,
    world_from_head: Tensor,
    coefficients: np.ndarray | None = None,
    joints: np.ndarray | None = None,
    identity: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
    landmarks: np.ndarray | None = None,
    sound: np.ndarray | None = None,
    backdrop: np.ndarray | None = None,
    report: dict[str, object] | None = None,
) -> Track:
    """A track whose every frame is trusted; what a layout does not bring is empty, not guessed."""
    count = len(world_from_head)
    expression = Expression(
        rig,
        single(np.zeros((count, 0)) if coefficients is None else coefficients),
        single(np.zeros((count, 0, 3)) if joints is None else joints),
        world_from_head,
        sound=None if sound is None else single(sound),
    )
    return Track(
        camera,
        expression,
        Identity(
            rig,
            single(np.zeros(0) if identity is None else identity),
            None if offsets is None else single(offsets),
        ),
        torch.ones(count),
        None if landmarks is None else single(landmarks),
        backdrop=backdrop,
        report=report or {},
    )
