"""Where a person's eyeballs are, and what of them rays from a camera strike."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.rig import Identity, Rig
from likeness.rigs.linear import LinearRig

SIDES = ("Right", "Left")
LOOKS = ("LookOut", "LookIn", "LookUp", "LookDown")


@dataclass(frozen=True, eq=False)
class Eyeball:
    """Its middle in the frame of the head, how each named shape, then each personal mode, moves
    that, and its radius (metres)."""

    middle: Float[np.ndarray, " 3"]
    moved: Float[np.ndarray, "E 3"]
    radius: float

    def at(self, weights: Float[np.ndarray, "T E"]) -> Float[np.ndarray, "T 3"]:
        """The middle in moments with these weights."""
        return self.middle + weights @ self.moved[: weights.shape[1]]


def turns_eyes(rig: Rig) -> bool:
    """Whether a rig has eyeballs that its eyeLook shapes turn, and lids that blink."""
    names = {f"eye{what}{side}" for side in SIDES for what in ("Blink", *LOOKS)}
    return isinstance(rig, LinearRig) and names <= set(rig.shape_names)


def eyeballs(rig: LinearRig, identity: Identity) -> list[Eyeball]:
    """A person's, right and left."""
    rest = rig.shaped(identity)
    shapes = rig.shape_basis
    if identity.modes is not None:
        shapes = torch.cat([shapes, identity.modes])
    found = []
    for side in SIDES:
        joint = rig.joint_names.index(f"{side.lower()}_eye")
        own = rig.skin_weights[:, joint] > 0.5
        middle = rig.joints(rest)[joint]
        # its vertices are densest about the iris: their mean is not its middle
        radius = float((rest[own] - middle).norm(dim=-1).median())
        found.append(Eyeball(_plain(middle), _plain(shapes[:, own].mean(1)), radius))
    return found


def _plain(x: Tensor) -> np.ndarray:
    return x.double().numpy()


def struck(
    rays: Float[np.ndarray, "*b 3"], middle: Float[np.ndarray, "*b 3"], radius: float
) -> tuple[Float[np.ndarray, "*b 3"], Float[np.ndarray, "*b"]]:
    """Unit directions from the middle of a ball to where rays from the origin strike it first, and
    how far inside its outline they pass (a share of the radius squared; less than 0 beside it,
    where the direction is that of the outline)."""
    square = (rays**2).sum(-1, keepdims=True)
    closest = (middle * rays).sum(-1, keepdims=True) / square * rays - middle
    inside = radius**2 - (closest**2).sum(-1, keepdims=True)
    hit = closest - np.sqrt(np.maximum(inside, 0) / square) * rays
    return hit / np.linalg.norm(hit, axis=-1, keepdims=True), inside[..., 0] / radius**2


def gaze_curves(
    rig: LinearRig, gaze: Float[np.ndarray, "*b 2"]
) -> dict[str, Float[np.ndarray, "*b"]]:
    """The eyeLook coefficients that turn both eyes by `gaze` (left, up; radians)."""
    left, up = gaze[..., 0], gaze[..., 1]
    curves = {}
    for side in SIDES:
        out = left if side == "Left" else -left
        for what, angle in zip(LOOKS, (out, -out, up, -up), strict=True):
            name = f"eye{what}{side}"
            full = float(rig.shape_joints[rig.shape_names.index(name)].norm())
            curves[name] = np.clip(angle / full, 0, 1)
    return curves
