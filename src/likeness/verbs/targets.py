"""Whom a driver moves: an avatar's rest, its range in training, and how much of a driver's own
face gets through."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.avatar import HasMesh, RemembersTraining
from likeness.core.batching import move
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, transform
from likeness.core.rig import Identity, Mesh, Rig, embed
from likeness.drivers.placing import Target
from likeness.verbs.moments import at_rest

_LEAST = 0.2  # radians that any head may turn, however still it was in training
_LAYOUT = "mediapipe478"


def target_of(avatar: Any, neutral: float = 0.1) -> Target:
    """What to know of an avatar before driving it.

    Its neutral face is the same quantile of the coefficients in training that a driver's is (of
    `Retarget.neutral`), where the avatar remembers them; else coefficients of zero.
    """
    rest: Expression = move(at_rest(avatar), "cpu")
    rest = replace(rest, personal=None)
    if not isinstance(avatar, RemembersTraining):
        width = rest.coefficients.shape[-1]
        return Target(rest, torch.zeros(width), torch.ones(width))
    known = avatar.reach(neutral)
    face, low, high = (x.detach().cpu() for x in (known.neutral, known.low, known.high))
    rest = replace(rest, coefficients=face)
    if known.turn is None:
        return Target(rest, low, high)
    return Target(rest, low, high, max(_LEAST, known.turn))


def face_of(avatar: Any, rig: Rig, coefficients: Float[Tensor, " E"]) -> Float[Tensor, "K 3"]:
    """Landmarks of an avatar's own surface with some expression, in the frame of its head."""
    moment = replace(rig.neutral(), coefficients=coefficients)
    embedding = rig.landmarks(_LAYOUT)
    if isinstance(avatar, HasMesh):
        device = next(iter(avatar.state_dict().values())).device  # type: ignore[attr-defined]
        mesh = move(avatar.mesh(move(moment, device)), "cpu")
        inside = transform(invert_rigid(moment.world_from_head), mesh.vertices)
        points = embed(Mesh(inside, rig.triangles), embedding)
    else:
        points = embed(rig.pose(move(avatar.identity, "cpu"), moment), embedding)
    return points[embedding.known.bool()]


def leak(
    avatar: Any,
    rig: Rig,
    driver: Identity,
    rest: Float[Tensor, " E"],
    driven: Float[Tensor, " E"],
) -> dict[str, float]:
    """How much of the driver's identity gets through, in landmarks of the frame of the head.

    With `own` the avatar's neutral face, `ours` its face for the coefficients `driven` that the
    driver's stillest frames gave, and `theirs` the driver's own neutral face:

        share = |ours - own| / |theirs - own|         (root mean squares; 0 is none)
        along = <ours - own, theirs - own> / |theirs - own|^2    (1: has become the driver)

    Millimetres are given beside, because two alike people make the share look large.
    """
    own, ours = face_of(avatar, rig, rest), face_of(avatar, rig, driven)
    embedding = rig.landmarks(_LAYOUT)
    theirs = embed(rig.pose(driver, rig.neutral()), embedding)[embedding.known.bool()]
    moved, apart = ours - own, theirs - own
    between = float(apart.square().sum(-1).mean().sqrt())
    strayed = float(moved.square().sum(-1).mean().sqrt())
    return {
        "share": strayed / max(between, 1e-6),
        "along": float((moved * apart).sum() / apart.square().sum().clamp(min=1e-9)),
        "neutral_moved_mm": 1e3 * strayed,
        "identities_apart_mm": 1e3 * between,
    }
