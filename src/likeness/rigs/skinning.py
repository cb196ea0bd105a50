"""One skinning for every rig: blend shapes, joints, and linear blending of their motions."""

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.geometry import axis_angle_to_matrix, rigid


def joint_motions(
    angles: Float[Tensor, "*b J 3"],
    positions: Float[Tensor, "*#b J 3"],
    parents: tuple[int, ...],
) -> Float[Tensor, "*b J 4 4"]:
    """How each joint moves what hangs on it: turned about its place at rest, after its parent.

    `parents[j]` is -1 for a joint that hangs on the frame of the head; parents come first.
    """
    turns = axis_angle_to_matrix(angles)
    positions = positions.expand(angles.shape)
    about = positions - (turns @ positions[..., None])[..., 0]
    local = rigid(turns, about)
    motions: list[Tensor] = []
    for joint, parent in enumerate(parents):
        own = local[..., joint, :, :]
        motions.append(own if parent < 0 else motions[parent] @ own)
    return torch.stack(motions, -3)


def blend(
    vertices: Float[Tensor, "*b V 3"],
    weights: Float[Tensor, "V J"],
    motions: Float[Tensor, "*b J 4 4"],
) -> Float[Tensor, "*b V 3"]:
    """Linear blend skinning. Weights that sum to less than 1 leave the rest with the head."""
    eye = torch.eye(4, dtype=motions.dtype, device=motions.device)
    away = (motions - eye)[..., :3, :]  # what joints add to staying where one is
    mixed = torch.einsum("vj,...jrc->...vrc", weights, away)
    turned = (mixed[..., :3] @ vertices[..., None])[..., 0]
    return vertices + turned + mixed[..., 3]


def displaced(
    base: Float[Tensor, "*#b V 3"],
    coefficients: Float[Tensor, "*b E"],
    shapes: Float[Tensor, "E V 3"],
) -> Float[Tensor, "*b V 3"]:
    """`base` plus a weighted sum of displacements."""
    return base + (coefficients @ shapes.flatten(1)).unflatten(-1, shapes.shape[1:])
