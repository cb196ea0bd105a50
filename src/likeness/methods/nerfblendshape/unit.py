"""Places in a box as places in the unit cube."""

from jaxtyping import Float
from torch import Tensor


def unit(points: Float[Tensor, "N 3"], box: Float[Tensor, "2 3"]) -> Float[Tensor, "N 3"]:
    """What share of the way through the box along each axis."""
    return (points - box[0]) / (box[1] - box[0])
