"""A person's surface at rest, for those who only want to know where it is."""

from jaxtyping import Float
from torch import Tensor

from likeness.core.rig import Identity
from likeness.rigs import RIGS


def rest_surface(identity: Identity) -> Float[Tensor, "V 3"] | None:
    """Vertices without expression, in the frame of the head; None for a rig that is not ours."""
    if identity.rig not in RIGS:
        return None
    rig = RIGS.load(identity.rig)()
    return rig.pose(identity, rig.neutral()).vertices
