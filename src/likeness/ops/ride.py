"""Splats that ride on a moving head: from what is learned to where each is in the world."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from likeness.core.geometry import matrix_to_quaternion, quaternion_multiply
from likeness.ops.carry import _carry
from likeness.ops.twins import one_place, pick, within

AWAY = (-0.4, -0.2)
"""Cosines between where a splat's surface faces and the eye: hidden below the first, all there
above the second. A closed head is not looked through, and half its splats need not be drawn."""


@dataclass(frozen=True, eq=False)
class Riders:
    """N splats on a surface of triangles, as they are learned.

    Where each rides (`corners`, barycentric `weights`) and whether that is part of the closed head
    (`closed`); then its place and turn in the axes of its triangle (see `ops.carry`), logarithm of
    its deviations in metres, logit of its opacity, colour, and logit of how much it follows the
    head rather than the torso.
    """

    corners: Int[Tensor, "N 3"]
    weights: Float[Tensor, "N 3"]
    closed: Bool[Tensor, " N"]
    offset: Float[Tensor, "N 3"]
    rotation: Float[Tensor, "N 4"]
    log_scale: Float[Tensor, "N 3"]
    opacity: Float[Tensor, " N"]
    colour: Float[Tensor, "N 3"]
    follow: Float[Tensor, " N"]


@dataclass(frozen=True, eq=False)
class Posed:
    """Splats in the world as the rasteriser wants them; `shown` says which of the riders."""

    means: Float[Tensor, "N 3"]
    rotation: Float[Tensor, "N 4"]
    scale: Float[Tensor, "N 3"]
    opacity: Float[Tensor, " N"]
    colour: Float[Tensor, "N 3"]
    shown: Int[Tensor, " N"]


def ride(
    riders: Riders,
    vertices: Float[Tensor, "V 3"],
    motion: Float[Tensor, "N 3"],
    shade: Float[Tensor, "N 5"],
    head: Float[Tensor, "4 4"],
    torso: Float[Tensor, "4 4"],
    eye: Float[Tensor, " 3"] | None = None,
) -> Posed:
    """Where splats are, with `vertices` of the surface in the frame of the head.

    `motion` is added to places in that frame, `shade` to colour (3), logarithm of size, and logit
    of opacity. `head` carries the frame of the head into the world, `torso` does so for what goes
    with the torso; between them places are blended. With an `eye`, closed surfaces that face away
    from it are left out. Rotations pass gradients to `rotation` only, places to all that moves
    them but the axes of triangles.
    """
    one_place(riders.corners, riders.offset, vertices, motion, shade, head, torso, eye)
    within(riders.corners, vertices.shape[0], "vertices")
    return pick(_ride, vertices.device.type)(riders, vertices, motion, shade, head, torso, eye)


def _ride(
    riders: Riders,
    vertices: Tensor,
    motion: Tensor,
    shade: Tensor,
    head: Tensor,
    torso: Tensor,
    eye: Tensor | None,
) -> Posed:
    turned = F.normalize(riders.rotation, dim=-1)
    means, rotation = _carry(vertices, riders.corners, riders.weights, riders.offset, turned)
    means = means + motion
    follow = torch.sigmoid(riders.follow)[:, None]
    with_head = means @ head[:3, :3].T + head[:3, 3]
    with_torso = means @ torso[:3, :3].T + torso[:3, 3]
    world = with_torso + follow * (with_head - with_torso)
    turn = between(head, torso, follow.detach())
    share = facing(riders, vertices, head, world, eye)
    shown = torch.nonzero(share > 0)[:, 0]
    opacity = torch.sigmoid(riders.opacity + shade[:, 4]) * share
    return Posed(
        world[shown],
        quaternion_multiply(turn, rotation)[shown],
        torch.exp(riders.log_scale + shade[:, 3:4])[shown],
        opacity[shown],
        (riders.colour + shade[:, :3])[shown],
        shown,
    )


def between(head: Tensor, torso: Tensor, follow: Float[Tensor, "N 1"]) -> Float[Tensor, "N 4"]:
    """Turns between those of torso and head, not of unit length."""
    turns = matrix_to_quaternion(torch.stack([head, torso])[:, :3, :3]).detach()
    with_head, with_torso = turns[0], turns[1]
    if float(with_head @ with_torso) < 0:
        with_head = -with_head
    return with_torso + follow * (with_head - with_torso)


@torch.no_grad()
def facing(
    riders: Riders, vertices: Tensor, head: Tensor, world: Tensor, eye: Tensor | None
) -> Float[Tensor, " N"]:
    """1 for what is drawn, less where a closed surface begins to face away, 0 beyond."""
    if eye is None:
        return torch.ones_like(world[:, 0])
    a, b, c = vertices[riders.corners.T]
    normal = F.normalize(torch.linalg.cross(b - a, c - a), dim=-1) @ head[:3, :3].T
    cosine = (F.normalize(eye - world, dim=-1) * normal).sum(-1) * riders.closed
    share = ((cosine - AWAY[0]) / (AWAY[1] - AWAY[0])).clamp(0, 1)
    return share * share * (3 - 2 * share)
