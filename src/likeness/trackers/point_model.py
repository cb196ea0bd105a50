"""A rig seen through its landmarks: places that are linear in who someone is and what they do."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.rig import Identity, Rig, embed

_STEP = 1 / 16  # of a direction: further from its rest a rig may put eyeballs out of the lids' way


@dataclass(frozen=True, eq=False)
class PointModel:
    """Landmarks in the frame of the head: `base + directions @ identity + shapes @ coefficients`.

    Shapes that turn joints (gaze) are linearised over their whole range, which is exact to a
    fraction of a millimetre. The last `strange_directions` and `strange_shapes` are not the rig's:
    they say how whoever finds the landmarks errs, once a person and frame by frame (see `habits`).
    """

    base: Float[Tensor, "K 3"]
    directions: Float[Tensor, "D K 3"]
    shapes: Float[Tensor, "E K 3"]
    known: Tensor
    views: Float[Tensor, "5 K 3"] | None = None
    """How landmarks stray with the side a head is seen from: `view_terms`."""
    worth: Float[Tensor, " K"] | None = None
    """How much each landmark says: one over its variance in square millimetres."""
    use: Int[Tensor, " U"] | None = None
    """Landmarks enough to solve with; None: all."""
    strange_directions: int = 0
    strange_shapes: int = 0
    names: tuple[str, ...] = ()
    """The rig's shapes, which come first; personal ones and strange ones follow."""

    def rest(self, identity: Float[Tensor, " D"]) -> Float[Tensor, "K 3"]:
        return self.base + torch.einsum("d,dkc->kc", identity, self.directions)

    def at(
        self, identity: Float[Tensor, " D"], coefficients: Float[Tensor, "T E"]
    ) -> Float[Tensor, "T K 3"]:
        return self.rest(identity) + torch.einsum("te,ekc->tkc", coefficients, self.shapes)

    def strayed(
        self, rotation: Float[Tensor, "T 3 3"], translation: Float[Tensor, "T 3"]
    ) -> Float[Tensor, "T K 3"]:
        """What is added to `at` for heads seen from some side."""
        if self.views is None:
            return self.base.new_zeros(len(rotation), *self.base.shape)
        return torch.einsum("tf,fkc->tkc", view_terms(rotation, translation), self.views)

    def used(self) -> "PointModel":
        """Only the landmarks that are solved with."""
        if self.use is None:
            return self
        return replace(
            self,
            base=self.base[self.use],
            directions=self.directions[:, self.use],
            shapes=self.shapes[:, self.use],
            known=self.known[self.use],
            views=None if self.views is None else self.views[:, self.use],
            worth=None if self.worth is None else self.worth[self.use],
            use=None,
        )

    def with_base(self, base: Tensor) -> "PointModel":
        return replace(self, base=base)

    def with_shapes(self, more: Float[Tensor, "P K 3"]) -> "PointModel":
        return replace(self, shapes=torch.cat([self.shapes, more]))

    def without_strange_shapes(self) -> "PointModel":
        count = len(self.shapes) - self.strange_shapes
        return replace(self, shapes=self.shapes[:count], strange_shapes=0)


def view_terms(
    rotation: Float[Tensor, "T 3 3"], translation: Float[Tensor, "T 3"]
) -> Float[Tensor, "T 5"]:
    """From which side of the head the camera looks: sideways, up, and their squares."""
    eye = -(rotation.mT @ translation[..., None])[..., 0]
    x, y, _ = torch.nn.functional.normalize(eye, dim=-1).unbind(-1)
    return torch.stack([x, y, x * x, y * y, x * y], -1)


@lru_cache(maxsize=2)
def point_model(rig: Rig, layout: str = "mediapipe478") -> PointModel:
    """Ask the rig, direction by direction and shape by shape, where its landmarks go."""
    embedding = rig.landmarks(layout)
    person, still = rig.rest(), rig.neutral()
    base = embed(rig.pose(person, still), embedding)

    directions = []
    for d in range(len(rig.identity_names)):
        one = torch.zeros_like(person.directions)
        one[d] = _STEP
        other = Identity(person.rig, one)
        directions.append((embed(rig.pose(other, still), embedding) - base) / _STEP)
    eye = torch.eye(len(rig.shape_names), dtype=base.dtype)
    moved = rig.neutral(len(rig.shape_names))
    shapes = embed(rig.pose(person, replace(moved, coefficients=eye)), embedding) - base
    empty = base.new_zeros(0, *base.shape)
    return PointModel(
        base, torch.stack(directions) if directions else empty, shapes, embedding.known.bool(),
        names=tuple(rig.shape_names),
    )  # fmt: skip
