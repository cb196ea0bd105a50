"""A rig seen through its landmarks: places that are linear in who someone is and what they do."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.rig import Identity, Rig, embed


@dataclass(frozen=True, eq=False)
class PointModel:
    """Landmarks in the frame of the head: `base + directions @ identity + shapes @ coefficients`.

    Shapes that turn joints (gaze) are linearised over their whole range, which is exact to a
    fraction of a millimetre.
    """

    base: Float[Tensor, "K 3"]
    directions: Float[Tensor, "D K 3"]
    shapes: Float[Tensor, "E K 3"]
    known: Tensor

    def rest(self, identity: Float[Tensor, " D"]) -> Float[Tensor, "K 3"]:
        return self.base + torch.einsum("d,dkc->kc", identity, self.directions)

    def at(
        self, identity: Float[Tensor, " D"], coefficients: Float[Tensor, "T E"]
    ) -> Float[Tensor, "T K 3"]:
        return self.rest(identity) + torch.einsum("te,ekc->tkc", coefficients, self.shapes)

    def with_base(self, base: Tensor) -> "PointModel":
        return replace(self, base=base)

    def with_shapes(self, more: Float[Tensor, "P K 3"]) -> "PointModel":
        return replace(self, shapes=torch.cat([self.shapes, more]))


def point_model(rig: Rig, layout: str = "mediapipe478") -> PointModel:
    """Ask the rig, direction by direction and shape by shape, where its landmarks go."""
    embedding = rig.landmarks(layout)
    person, still = rig.rest(), rig.neutral()
    base = embed(rig.pose(person, still), embedding)

    directions = []
    for d in range(len(rig.identity_names)):
        one = torch.zeros_like(person.directions)
        one[d] = 1.0
        other = Identity(person.rig, one)
        directions.append(embed(rig.pose(other, still), embedding) - base)
    eye = torch.eye(len(rig.shape_names), dtype=base.dtype)
    moved = rig.neutral(len(rig.shape_names))
    shapes = embed(rig.pose(person, replace(moved, coefficients=eye)), embedding) - base
    empty = base.new_zeros(0, *base.shape)
    return PointModel(
        base, torch.stack(directions) if directions else empty, shapes, embedding.known.bool()
    )
