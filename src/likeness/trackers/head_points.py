"""Points all over a rig's surface, which pictures are compared at."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from likeness.core.expression import Expression
from likeness.core.regions import REGION
from likeness.core.rig import Identity, Rig

_POINTS = 6000
_STEADY = ("skin", "brows", "lips", "ears", "scalp", "neck")
_WORTH = {"brows": 0.6, "neck": 0.0, "scalp": 0.5, "ears": 0.6}
_GAZE = ("eyeLook", "tongue")  # shapes that move nothing of what is looked at, or lids only


@dataclass(frozen=True, eq=False)
class HeadPoints:
    """Points fixed to the rig's surface, in the frame of the head: where they rest, and how each
    named shape, then each personal mode, moves them."""

    rest: Tensor  # N 3
    normals: Tensor  # N 3
    shapes: Tensor  # E+P N 3
    personal: int
    worth: np.ndarray
    names: tuple[str, ...]  # of the E

    @classmethod
    def spread(cls, rig: Rig, identity: Identity, generator: Generator) -> "HeadPoints":
        triangles = rig.triangles
        region = rig.regions[triangles].mode(-1).values
        plain = rig.neutral()
        steady = torch.zeros(len(REGION))
        for name in _STEADY:
            steady[REGION[name]] = _WORTH.get(name, 1.0)
        corners = rig.pose(identity, plain).vertices[triangles]
        normals = torch.linalg.cross(
            corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=-1
        )
        mass = normals.norm(dim=-1) * (steady[region] > 0)
        face = _evenly(mass, corners.mean(1), _POINTS, generator)
        u = _scattered(_POINTS, generator)
        u = torch.where(u.sum(-1, keepdim=True) > 1, 1 - u, u)
        weights = torch.stack([1 - u.sum(-1), u[:, 0], u[:, 1]], -1)[..., None]
        rest = (corners[face] * weights).sum(-2)
        count = plain.coefficients.shape[-1]
        each = replace(rig.neutral(count), coefficients=torch.eye(count))
        moved = rig.pose(identity, each).vertices
        shapes = [(one[triangles[face]] * weights).sum(-2) - rest for one in moved]
        modes = [] if identity.modes is None else list(identity.modes[:, triangles[face]])
        shapes += [(mode * weights).sum(-2) for mode in modes]
        normal = torch.nn.functional.normalize(normals[face], dim=-1)
        worth = steady[region[face]].numpy()
        return cls(rest, normal, torch.stack(shapes), len(modes), worth, tuple(rig.shape_names))

    def chosen(self, mask: Tensor) -> "HeadPoints":
        """Some of the points."""
        return replace(
            self,
            rest=self.rest[mask],
            normals=self.normals[mask],
            shapes=self.shapes[:, mask],
            worth=self.worth[mask.numpy()],
        )

    @property
    def told(self) -> list[int]:
        """The shapes that the points tell of: gaze is not, for eyeballs have none."""
        return [i for i, name in enumerate(self.names) if not name.startswith(_GAZE)]

    @property
    def motions(self) -> Tensor:
        """How personal modes move the points, then those shapes."""
        modes = self.shapes[len(self.shapes) - self.personal :]
        return torch.cat([modes, self.shapes[self.told]])

    def places(self, expression: Expression) -> Tensor:
        """Where the points are in the frame of the head, in one moment."""
        weights = expression.coefficients
        if self.personal and expression.personal is not None:
            weights = torch.cat([weights, expression.personal])
        shapes = self.shapes[: len(weights)]
        return self.rest + (weights @ shapes.flatten(1)).view_as(self.rest)


def _evenly(mass: Tensor, places: Tensor, count: int, generator: Generator) -> Tensor:
    """So many of some places, by their mass: at even steps along a path through all of them that
    hardly jumps. Drawn by lot they would lie in heaps, and poses would hang on the lot."""
    span = places.amax(0) - places.amin(0)
    cell = (1023 * (places - places.amin(0)) / span.clamp(min=1e-9)).long()
    code = torch.zeros(len(places), dtype=torch.long)
    for bit in range(10):  # Morton's order: bits of x, y and z in turn
        for axis in range(3):
            code |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    order = code.argsort(stable=True)
    along = mass[order].double().cumsum(0)
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    steps = (torch.arange(count) + start) / count * along[-1]
    return order[torch.searchsorted(along, steps).clamp(max=len(order) - 1)]


def _scattered(count: int, generator: Generator) -> Tensor:
    """Points of the unit square, no two in a row near each other (Roberts' sequence, 2018)."""
    start = torch.rand(2, generator=generator, dtype=torch.float64)
    steps = torch.tensor([0.7548776662466927, 0.5698402909980532], dtype=torch.float64)
    return ((torch.arange(count)[:, None] * steps + start) % 1).float()
