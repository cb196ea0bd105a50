"""The linear rig: what clay, FLAME and ICT all are, up to their numbers."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from likeness.core.errors import Unsupported
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, transform
from likeness.core.rig import Embedding, Identity, Mesh
from likeness.rigs.lids import Lids
from likeness.rigs.skinning import blend, displaced, joint_motions


@dataclass(frozen=True, eq=False)
class LinearRig:
    """A template, directions of identity, named shapes, and joints. Constants only.

    Vertices are in the frame of the head, in metres. `joint_positions` are at rest of the
    template; `joint_weights` [J, V], when given, regress them from the shaped vertices instead.
    `root_weights` regress the place that FLAME's own root rotation turns about, which readers of
    other tools' files need.
    `shape_joints` is the axis-angle a coefficient of 1 adds to each joint. `pose_correctives`
    are displacements per entry of (rotation - identity) of `corrective_joints`, row-major.
    `lids`, when given, fit eyeballs and eye shapes to each person.
    """

    BATCHED: ClassVar[tuple[str, ...]] = ()

    name: str
    template: Float[Tensor, "V 3"]
    triangles: Int[Tensor, "F 3"]
    uv: Float[Tensor, "U 2"]
    uv_triangles: Int[Tensor, "F 3"]
    regions: Int[Tensor, " V"]
    shape_names: tuple[str, ...]
    shape_basis: Float[Tensor, "E V 3"]
    identity_names: tuple[str, ...]
    identity_basis: Float[Tensor, "D V 3"]
    joint_names: tuple[str, ...]
    joint_positions: Float[Tensor, "J 3"]
    joint_parents: tuple[int, ...]
    skin_weights: Float[Tensor, "V J"]
    shape_joints: Float[Tensor, "E J 3"]
    joint_weights: Float[Tensor, "J V"] | None = None
    root_weights: Float[Tensor, " V"] | None = None
    pose_correctives: Float[Tensor, "C V 3"] | None = None
    corrective_joints: tuple[int, ...] = ()
    layouts: dict[str, Embedding] = field(default_factory=dict)
    mirror: Int[Tensor, " V"] | None = None
    parts: dict[str, Bool[Tensor, " V"]] = field(default_factory=dict)
    lids: Lids | None = None

    def pose(self, identity: Identity, expression: Expression) -> Mesh:
        """The surface in the world, for one moment or a batch of them."""
        vertices = self.pose_head(identity, expression)
        return Mesh(transform(expression.world_from_head, vertices), self.triangles)

    def pose_head(self, identity: Identity, expression: Expression) -> Float[Tensor, "*b V 3"]:
        """Vertices in the frame of the head: shaped and turned at its joints, not moved."""
        self.check(identity, expression)
        rest = self.shaped(identity)
        vertices = self._expressed(rest, identity, expression)
        motions = self._motions(rest, vertices, expression)
        if self.pose_correctives is not None:
            vertices = vertices + self._corrected(self.angles(expression))
        return blend(vertices, self.skin_weights, motions)

    def joint_transforms(
        self, identity: Identity, expression: Expression
    ) -> Float[Tensor, "*b J 4 4"]:
        """How each joint moves what hangs on it, in the frame of the head."""
        self.check(identity, expression)
        rest = self.shaped(identity)
        return self._motions(rest, self._expressed(rest, identity, expression), expression)

    def _expressed(self, rest: Tensor, identity: Identity, expression: Expression) -> Tensor:
        shapes = self.shape_basis
        if identity.shape_offsets is not None:
            shapes = shapes + identity.shape_offsets
        vertices = displaced(rest, expression.coefficients, shapes)
        if self.lids is not None:
            vertices = self.lids.moved(vertices, expression.coefficients, rest)
        if identity.modes is not None and expression.personal is not None:
            vertices = displaced(vertices, expression.personal, identity.modes)
        return vertices

    def _motions(self, rest: Tensor, expressed: Tensor, expression: Expression) -> Tensor:
        regressed = self.joint_weights is not None  # then expressions carry joints along
        places = self.joints(expressed if regressed else rest)
        return joint_motions(self.angles(expression), places, self.joint_parents)

    def shaped(self, identity: Identity) -> Float[Tensor, "V 3"]:
        """The person at rest."""
        rest = displaced(self.template, identity.directions, self.identity_basis)
        rest = rest if identity.offsets is None else rest + identity.offsets
        return rest if self.lids is None else self.lids.seated(rest)

    def joints(self, rest: Float[Tensor, "*b V 3"]) -> Float[Tensor, "*b J 3"]:
        """Where the joints of a person are, from the surface before it is turned.

        Without a regressor a joint moves with the mean of the vertices it turns, which for an
        eyeball is its centre.
        """
        if self.joint_weights is not None:
            return self.joint_weights @ rest
        share = self.skin_weights / self.skin_weights.sum(0).clamp(min=1e-8)
        return self.joint_positions + share.T @ (rest - self.template)

    def angles(self, expression: Expression) -> Float[Tensor, "*b J 3"]:
        """Joint angles: the expression's own, and what coefficients such as gaze imply."""
        implied = expression.coefficients @ self.shape_joints.flatten(1)
        return expression.joints + implied.unflatten(-1, self.shape_joints.shape[1:])

    def _corrected(self, angles: Tensor) -> Tensor:
        assert self.pose_correctives is not None
        turns = axis_angle_to_matrix(angles[..., list(self.corrective_joints), :])
        eye = torch.eye(3, dtype=turns.dtype, device=turns.device)
        away = (turns - eye).flatten(-3)
        return (away @ self.pose_correctives.flatten(1)).unflatten(-1, self.template.shape)

    def rest(self) -> Identity:
        """The rig's own neutral person."""
        return Identity(self.name, self.template.new_zeros(len(self.identity_names)))

    def neutral(self, count: int | None = None) -> Expression:
        """An expression at rest at the origin; with `count`, a batch of that many."""
        batch = () if count is None else (count,)
        like = self.template
        return Expression(
            self.name,
            like.new_zeros(*batch, len(self.shape_names)),
            like.new_zeros(*batch, len(self.joint_names), 3),
            torch.eye(4, dtype=like.dtype, device=like.device).expand(*batch, 4, 4).contiguous(),
        )

    def landmarks(self, layout: str) -> Embedding:
        """Where the points of `layout` lie on the surface."""
        if layout not in self.layouts:
            known = ", ".join(sorted(self.layouts)) or "none"
            raise Unsupported(
                f"The rig {self.name!r} has no landmarks {layout!r}; it has: {known}."
            )
        return self.layouts[layout]

    def check(self, identity: Identity, expression: Expression) -> None:
        """Raise when either belongs to another rig or has another width."""
        for what, rig in (("identity", identity.rig), ("expression", expression.rig)):
            if rig != self.name:
                raise Unsupported(
                    f"This {what} is of the rig {rig!r}, not {self.name!r}. "
                    f"Track again with --rig {self.name}, or retarget it."
                )
        widths = (
            ("coefficients", expression.coefficients.shape[-1], len(self.shape_names)),
            ("joints", expression.joints.shape[-2], len(self.joint_names)),
            ("identity directions", identity.directions.shape[-1], len(self.identity_names)),
        )
        for what, found, expected in widths:
            if found != expected:
                raise Unsupported(
                    f"The rig {self.name!r} has {expected} {what}; {found} were given."
                )

    def baked(self, identity: Identity) -> "LinearRig":
        """This rig with one person as its template: no directions left, shapes adapted."""
        rest = self.shaped(identity)
        shapes = self.shape_basis
        if identity.shape_offsets is not None:
            shapes = shapes + identity.shape_offsets
        if self.lids is not None:
            shapes = self.lids.added(shapes, rest)
        return replace(
            self,
            template=rest,
            shape_basis=shapes,
            identity_names=(),
            identity_basis=rest.new_zeros(0, *rest.shape),
            joint_positions=self.joints(rest),
            joint_weights=None,
            lids=None,
        )
