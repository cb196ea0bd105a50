"""A person's surface at rest, for those who only want to know where it is."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.regions import REGION
from likeness.core.rig import Identity, Rig
from likeness.ops.shading import vertex_normals
from likeness.rigs import RIGS

_HIDDEN = tuple(REGION[name] for name in ("mouth", "teeth", "tongue"))


def rig_of(identity: Identity) -> Rig | None:
    """The head model of a person; None for one that is not ours."""
    return RIGS.load(identity.rig)() if identity.rig in RIGS else None


def rest_surface(identity: Identity) -> Float[Tensor, "V 3"] | None:
    """Vertices without expression, in the frame of the head; None for a rig that is not ours."""
    rig = rig_of(identity)
    return None if rig is None else rig.pose(identity, rig.neutral()).vertices


def rest_skin(identity: Identity) -> tuple[Float[Tensor, "V 3"], Float[Tensor, "V 3"]] | None:
    """The same without what a closed mouth hides, and normals that point outwards."""
    rig = rig_of(identity)
    if rig is None:
        return None
    mesh = rig.pose(identity, rig.neutral())
    shown = ~torch.isin(rig.regions, torch.tensor(_HIDDEN))
    return mesh.vertices[shown], vertex_normals(mesh.vertices, mesh.triangles)[shown]


def rest_motions(identity: Identity) -> Float[Tensor, "C V"] | None:
    """How far each coefficient and then each personal mode moves each vertex, in metres."""
    rig = rig_of(identity)
    if rig is None:
        return None
    still = rig.neutral()
    width = still.coefficients.shape[-1]
    each = replace(rig.neutral(width), coefficients=torch.eye(width))
    rest = rig.pose(identity, still).vertices
    moved = (rig.pose(identity, each).vertices - rest).norm(dim=-1)
    return moved if identity.modes is None else torch.cat([moved, identity.modes.norm(dim=-1)])
