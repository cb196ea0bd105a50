"""What makes one person's face their own: offsets at rest, and motions no named shape can say."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.rig import Identity, Rig, embed
from likeness.trackers.point_model import PointModel
from likeness.trackers.solve import Evidence, Solution

_SPREAD = 0.016  # metres over which a landmark's offset is felt
_STIFF = 0.15  # of the interpolation: noise in single landmarks is not followed
_TRUST = 40.0  # frames' worth of doubt about an offset


@dataclass(frozen=True, eq=False)
class Personal:
    """A person's point model, and the landmark offsets and modes in it."""

    model: PointModel
    offsets: Float[Tensor, "K 3"]
    modes: Float[Tensor, "P K 3"]

    @property
    def count(self) -> int:
        return len(self.modes)

    def identity(self, rig: Rig, directions: Float[Tensor, " D"]) -> Identity:
        """The whole identity: landmark offsets and modes spread smoothly over the rig."""
        embedding = rig.landmarks("mediapipe478")
        person = Identity(rig.name, directions)
        surface = rig.pose(person, rig.neutral()).vertices
        places = embed(rig.pose(person, rig.neutral()), embedding)
        spread = spreading(places, surface, rig)
        flat = torch.cat([self.offsets[None], self.modes])
        fields = torch.einsum("vk,pkc->pvc", spread, flat)
        modes = fields[1:] if self.count else None
        return Identity(rig.name, directions, offsets=fields[0], modes=modes)


def adapt(model: PointModel, evidence: Evidence, solution: Solution, count: int) -> Personal:
    """Explain what a solution leaves: its mean by offsets, the rest by at most `count` modes.

    Residuals on screen are carried back to the head at each landmark's depth; depth itself stays
    as the rig has it. Irises are left to gaze.
    """
    left = carried_back(model, evidence, solution)
    weight = (evidence.weights > 0).to(left.dtype)[..., None]
    frames = weight.sum(0)
    offsets = (left * weight).sum(0) / (frames + 0.02 * _TRUST)
    offsets[468:] = 0
    rest = (left - offsets) * weight
    rest[:, 468:] = 0
    own = offsets
    modes = _modes(rest, count)
    model = model.with_base(model.base + own)
    return Personal(model.with_shapes(modes) if len(modes) else model, own, modes)


def carried_back(
    model: PointModel, evidence: Evidence, solution: Solution
) -> Float[Tensor, "T K 3"]:
    """By how much each landmark misses, in the frame of the head (metres)."""
    head = model.at(solution.identity, solution.coefficients)
    head = head + model.strayed(solution.rotation, solution.translation)
    depth = (head @ solution.rotation.mT + solution.translation[:, None])[..., 2:]
    missed = -solution.residual * depth / solution.focal
    zero = torch.zeros_like(missed[..., :1])
    return torch.cat([missed, zero], -1) @ solution.rotation


def _modes(rest: Float[Tensor, "T K 3"], count: int) -> Float[Tensor, "P K 3"]:
    """Principal motions, one standard deviation each; fewer when there are few frames or little
    to explain."""
    flat = rest.flatten(1)
    count = min(count, max(0, (len(flat) - 1) // 8))
    if count == 0:
        return rest.new_zeros(0, *rest.shape[1:])
    _, spread, basis = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    sigma = spread[:count] / (len(flat) - 1) ** 0.5
    kept = sigma > 1e-5
    return (basis[:count] * sigma[:, None])[kept].unflatten(-1, rest.shape[1:])


def spreading(
    places: Float[Tensor, "K 3"], surface: Float[Tensor, "V 3"], rig: Rig
) -> Float[Tensor, "V K"]:
    """Takes offsets at landmarks to all vertices: Gaussian interpolation, stiffened; eyeballs
    move as one, teeth and tongue not at all."""
    skin = torch.arange(len(places)) < 468

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(a, b).square() / (2 * _SPREAD**2))

    own = places[skin].double()
    system = kernel(own, own) + _STIFF * torch.eye(len(own), dtype=torch.float64)
    field = kernel(surface.double(), own) @ torch.linalg.inv(system)
    parts = getattr(rig, "parts", {})
    for name, mask in parts.items():
        if name.endswith("_eye"):
            field[mask] = field[mask].mean(0)
        elif name.endswith(("teeth", "tongue")):
            field[mask] = 0
    whole = field.new_zeros(len(surface), len(places))
    whole[:, skin] = field
    return whole.to(places.dtype)
