"""What was learned, and what it can be asked."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.expression import Expression
from likeness.core.rig import Identity, Mesh


@dataclass(frozen=True, eq=False)
class Picture:
    """What a camera sees of an avatar. `rgb` is sRGB in [0, 1], premultiplied by `alpha`.

    `depth` is metres along the view axis (0 where nothing is), `normal` unit and in the world.
    """

    BATCHED: ClassVar[tuple[str, ...]] = ("rgb", "alpha", "depth", "normal")

    rgb: Float[Tensor, "*b H W 3"]
    alpha: Float[Tensor, "*b H W"]
    depth: Float[Tensor, "*b H W"] | None = None
    normal: Float[Tensor, "*b H W 3"] | None = None

    def over(self, background: Float[Tensor, "..."] | float) -> Float[Tensor, "*b H W 3"]:
        """This picture in front of a background: a picture, a colour, or one grey."""
        return self.rgb + (1 - self.alpha[..., None]) * background


@runtime_checkable
class Avatar(Protocol):
    """Anything that can be drawn. The same question has the same answer."""

    rig: str
    identity: Identity

    def render(self, camera: Camera, expression: Expression) -> Picture: ...


@dataclass(frozen=True, eq=False)
class Splats:
    """Posed Gaussians in the world. `scale` is standard deviations in metres, `rotation` unit wxyz
    quaternions, `opacity` in [0, 1], `harmonics` real SH of sRGB colour with (degree + 1)^2 rows
    in the 3DGS convention (colour = 0.5 + sum)."""

    BATCHED: ClassVar[tuple[str, ...]] = ()

    means: Float[Tensor, "N 3"]
    rotation: Float[Tensor, "N 4"]
    scale: Float[Tensor, "N 3"]
    opacity: Float[Tensor, " N"]
    harmonics: Float[Tensor, "N H 3"]


@runtime_checkable
class Differentiable(Protocol):
    """`render` with gradients: to the avatar's parameters, the camera and the expression."""

    def drawn(self, camera: Camera, expression: Expression) -> Picture: ...


@runtime_checkable
class HasMesh(Protocol):
    def mesh(self, expression: Expression) -> Mesh: ...


@runtime_checkable
class HasSplats(Protocol):
    def splats(self, expression: Expression) -> Splats: ...


@runtime_checkable
class HasDensity(Protocol):
    """A volume: density per metre and sRGB colour at world points."""

    def density(
        self, points: Float[Tensor, "N 3"], expression: Expression
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"]]: ...

    def bounds(self, expression: Expression) -> Float[Tensor, "2 3"]:
        """A world box that holds everything: least corner, greatest corner."""
        ...


@dataclass(frozen=True, eq=False)
class Reach:
    """How far training saw a person go: bounds of their coefficients, their own neutral face, and
    radians that the head turned away from rest (None where that was not kept)."""

    neutral: Float[Tensor, " E"]
    low: Float[Tensor, " E"]
    high: Float[Tensor, " E"]
    turn: float | None = None


@runtime_checkable
class RemembersTraining(Protocol):
    def reach(self, neutral: float) -> Reach:
        """`neutral` is which quantile of each coefficient in training counts as a face at rest;
        avatars that kept only the bounds answer a face of zeros within them."""
        ...


@runtime_checkable
class Relightable(Protocol):
    def relit(
        self, camera: Camera, expression: Expression, light: Float[Tensor, "9 3"]
    ) -> Picture: ...
