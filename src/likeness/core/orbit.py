"""Cameras carried around a head."""

from dataclasses import replace

from likeness.core.camera import Camera
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, rigid

_PIVOT = (0.0, -0.03, -0.07)  # metres from the head's origin: about the middle of the skull


def orbited(camera: Camera, expression: Expression, yaw: float, pitch: float = 0.0) -> Camera:
    """The camera carried around the head, by radians to its own left and upwards."""
    like = camera.camera_from_world
    head = expression.world_from_head.to(like)
    pivot = head[:3, :3] @ like.new_tensor(_PIVOT) + head[:3, 3]
    right = like[0, :3]
    up = like.new_tensor([0.0, 1.0, 0.0])
    turn = axis_angle_to_matrix(-up * yaw) @ axis_angle_to_matrix(right * pitch)
    carried = rigid(turn, pivot - turn @ pivot)
    return replace(camera, camera_from_world=like @ carried)
