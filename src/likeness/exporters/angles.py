"""Rotations as yaw, pitch, roll: about y, then the turned x, then the turned z; radians."""

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.geometry import axis_angle_to_matrix


def matrix_from_turns(turns: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """`R_y(yaw) @ R_x(pitch) @ R_z(roll)`."""
    yaw, pitch, roll = turns.unbind(-1)
    zero = torch.zeros_like(yaw)
    about_y = axis_angle_to_matrix(torch.stack([zero, yaw, zero], -1))
    about_x = axis_angle_to_matrix(torch.stack([pitch, zero, zero], -1))
    about_z = axis_angle_to_matrix(torch.stack([zero, zero, roll], -1))
    return about_y @ about_x @ about_z


def turns_of(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3"]:
    """The yaw, pitch and roll of a rotation; at a pitch of a right angle roll is taken as is."""
    pitch = torch.asin((-matrix[..., 1, 2]).clamp(-1, 1))
    yaw = torch.atan2(matrix[..., 0, 2], matrix[..., 2, 2])
    roll = torch.atan2(matrix[..., 1, 0], matrix[..., 1, 1])
    return torch.stack([yaw, pitch, roll], -1)
