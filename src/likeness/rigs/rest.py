"""A person's surface at rest, for those who only want to know where it is."""

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.regions import REGION
from likeness.core.rig import Identity
from likeness.ops.shading import vertex_normals
from likeness.rigs import RIGS

_HIDDEN = tuple(REGION[name] for name in ("mouth", "teeth", "tongue"))


def rest_surface(identity: Identity) -> Float[Tensor, "V 3"] | None:
    """Vertices without expression, in the frame of the head; None for a rig that is not ours."""
    if identity.rig not in RIGS:
        return None
    rig = RIGS.load(identity.rig)()
    return rig.pose(identity, rig.neutral()).vertices


def rest_skin(identity: Identity) -> tuple[Float[Tensor, "V 3"], Float[Tensor, "V 3"]] | None:
    """The same without what a closed mouth hides, and normals that point outwards."""
    if identity.rig not in RIGS:
        return None
    rig = RIGS.load(identity.rig)()
    mesh = rig.pose(identity, rig.neutral())
    shown = ~torch.isin(rig.regions, torch.tensor(_HIDDEN))
    return mesh.vertices[shown], vertex_normals(mesh.vertices, mesh.triangles)[shown]
