"""Which splats of a start can be seen, so that a budget goes where pictures can teach it."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from likeness.core.camera import Camera
from likeness.ops.splats import project_splats, rasterise_splats

_OPACITY = 0.8  # that splats have while one asks which of them show
SHOWS = 0.05  # pixels of a picture a splat must fill to count as seen
_NEIGHBOURS = 3
_UNSEEN = 0.1  # of a budget may go to splats that no training frame shows: other views see them


def shown(
    camera: Camera, world: Float[Tensor, "N 3"], spacing: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """How many pixels each of these places fills with a round splat of its own spacing on it.

    The sum of a splat's blending weights is the derivative of the picture by its brightness.
    """
    turn = torch.tensor([1.0, 0, 0, 0]).expand(len(world), 4)
    with torch.no_grad():
        projected = project_splats(world, turn, 0.6 * spacing[:, None].expand(-1, 3), camera)
    light = torch.ones(len(world), 1, requires_grad=True)
    opacity = torch.full((len(world),), _OPACITY)
    with torch.enable_grad():
        picture, _ = rasterise_splats(projected, light, opacity, camera.width, camera.height)
        (found,) = torch.autograd.grad(picture.sum(), light)
    return found[:, 0]


def affordable(filled: Float[Tensor, " N"], count: int) -> Tensor:
    """Which `count` of the candidates to keep, in their own order: seen ones first, with a tenth
    of the unseen. Candidates are taken to be in random or evenly spread order."""
    seen = torch.nonzero(filled >= SHOWS)[:, 0]
    unseen = torch.nonzero(filled < SHOWS)[:, 0]
    first = min(len(seen), count - min(len(unseen), int(_UNSEEN * count)))
    return torch.cat([thinned(seen, first), thinned(unseen, count - first)]).sort().values


def thinned(index: Tensor, count: int) -> Tensor:
    """`count` of these, evenly along the list."""
    places = torch.arange(count, dtype=torch.float64) * (len(index) / max(count, 1))
    return index[places.long()]


def gaps(places: Float[Tensor, "N 3"], least: float, most: float) -> Float[Tensor, " N"]:
    """How far apart places are: the mean distance to their nearest neighbours, as the side of the
    square each would have if they were spread on a surface."""
    if len(places) <= _NEIGHBOURS:
        return torch.full((len(places),), most)
    away, _ = KDTree(places.numpy()).query(places.numpy(), k=_NEIGHBOURS + 1)
    side = away[:, 1:].mean(-1) / 0.73  # of points thrown at random on a plane
    return torch.from_numpy(side.astype(np.float32)).clamp(least, most)


def borrowed(
    places: Float[Tensor, "N 3"], colour: Float[Tensor, "N 3"], seen: Tensor
) -> Float[Tensor, "N 3"]:
    """Unseen splats in the colour of the nearest seen one: what covers them says nothing."""
    if bool(seen.all()) or not bool(seen.any()):
        return colour
    _, nearest = KDTree(places[seen].numpy()).query(places[~seen].numpy())
    result = colour.clone()
    result[~seen] = colour[seen][torch.from_numpy(nearest)]
    return result
