"""Head models: what they hold and what they are asked."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.expression import Expression


@dataclass(frozen=True, eq=False)
class Mesh:
    """A posed surface: world vertices in metres; triangles wind anticlockwise from outside."""

    BATCHED: ClassVar[tuple[str, ...]] = ("vertices",)

    vertices: Float[Tensor, "*b V 3"]
    triangles: Int[Tensor, "F 3"]


@dataclass(frozen=True, eq=False)
class Identity:
    """Who a head is, in the terms of one rig. Never batched.

    `directions` weigh the rig's `identity_names`. `offsets` are free per-vertex displacements at
    rest. `shape_offsets` adapt the named expression shapes to the person (added to the rig's own),
    so that a coefficient keeps its meaning. `modes` are motions no named shape can say, weighed by
    `Expression.personal`. All metres, in the frame of the head.
    """

    BATCHED: ClassVar[tuple[str, ...]] = ()

    rig: str
    directions: Float[Tensor, " D"]
    offsets: Float[Tensor, "V 3"] | None = None
    shape_offsets: Float[Tensor, "E V 3"] | None = None
    modes: Float[Tensor, "P V 3"] | None = None


@runtime_checkable
class Rig(Protocol):
    """A head model. Holds constants, never a pose: the same question has the same answer.

    Vertices, joints and landmarks live in the frame of the head: metres, x to its own left, y up,
    z out of the face, origin midway between the outer eye corners (FLAME keeps its own origin).
    """

    name: str
    triangles: Int[Tensor, "F 3"]
    uv: Float[Tensor, "U 2"]
    uv_triangles: Int[Tensor, "F 3"]
    regions: Int[Tensor, " V"]
    shape_names: tuple[str, ...]
    identity_names: tuple[str, ...]
    joint_names: tuple[str, ...]

    def pose(self, identity: Identity, expression: Expression) -> Mesh:
        """The surface in the world, for one moment or a batch of them."""
        ...

    def rest(self) -> Identity:
        """The rig's own neutral person."""
        ...

    def neutral(self, count: int | None = None) -> Expression:
        """An expression at rest at the origin; with `count`, a batch of that many."""
        ...

    def landmarks(self, layout: str) -> "Embedding":
        """Where the points of `layout` ("mediapipe478" or "classic68") lie on the surface."""
        ...


@dataclass(frozen=True, eq=False)
class Embedding:
    """Points fixed to a surface: a triangle and barycentric weights each.

    `known` marks the points of the layout that the rig can place; the others hold triangle 0.
    """

    BATCHED: ClassVar[tuple[str, ...]] = ()

    triangles: Int[Tensor, " K"]
    weights: Float[Tensor, "K 3"]
    known: Int[Tensor, " K"]


def embed(mesh: Mesh, embedding: Embedding) -> Float[Tensor, "*b K 3"]:
    """The embedded points on a posed surface."""
    corners = mesh.vertices[..., mesh.triangles[embedding.triangles], :]  # *b K 3 3
    return (corners * embedding.weights[..., None]).sum(-2)
