"""Rays through pixels, where they cross a box, and where along them to look."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from likeness.core.camera import Camera, pixel_grid, pixel_rays
from likeness.core.errors import BadInput

_LEAST_MASS = 1e-5  # what an empty bin still weighs, and the least slope of the inverse


def picture_rays(
    camera: Camera,
) -> tuple[Float[Tensor, "*b H W 3"], Float[Tensor, "*b H W 3"]]:
    """Origins and directions through every pixel centre. Directions have camera z = 1."""
    batch = camera.intrinsics.shape[:-2]
    pixels = pixel_grid(camera)
    origins, directions = pixel_rays(camera, pixels.expand(*batch, *pixels.shape))
    shape = (*batch, camera.height, camera.width, 3)
    return origins.reshape(shape), directions.reshape(shape)


def ray_box(
    origins: Float[Tensor, "*r 3"],
    directions: Float[Tensor, "*r 3"],
    box: Float[Tensor, "2 3"],
) -> tuple[Float[Tensor, "*r"], Float[Tensor, "*r"]]:
    """Where rays enter and leave a box (least corner, greatest corner), in units of the direction.

    A ray that misses leaves before it enters: test `far > near`. A start inside the box gives a
    negative entry. A ray parallel to a face is bounded by that slab only in being inside it or not.
    """
    low, high = box[0], box[1]
    flat = directions == 0
    safe = torch.where(flat, 1, directions)
    one, other = (low - origins) / safe, (high - origins) / safe
    # parallel: never enters from outside, has always been inside
    outside = torch.where((origins < low) | (origins > high), torch.inf, -torch.inf)
    enter = torch.where(flat, outside, torch.minimum(one, other))
    leave = torch.where(flat, -outside, torch.maximum(one, other))
    return enter.amax(-1), leave.amin(-1)


def stratified(
    near: Float[Tensor, "*r"],
    far: Float[Tensor, "*r"],
    count: int,
    jitter: Generator | Float[Tensor, "*r S"] | None = None,
    inverse: bool = False,
) -> Float[Tensor, "*r S"]:
    """`count` distances between `near` and `far`, in order, ends included.

    Evenly spaced, or evenly in 1 / distance when `inverse`. With jitter (a generator, or numbers
    in [0, 1)) each moves within the bin that reaches half way to its neighbours.
    """
    t = torch.linspace(0, 1, count, dtype=near.dtype, device=near.device)
    near, far = near[..., None], far[..., None]
    if inverse:
        even = 1 / ((1 - t) / near + t / far)
    else:
        even = near * (1 - t) + far * t
    if jitter is None or count == 0:
        return even
    middle = (even[..., 1:] + even[..., :-1]) / 2
    lower = torch.cat([even[..., :1], middle], dim=-1)
    upper = torch.cat([middle, even[..., -1:]], dim=-1)
    return lower + (upper - lower) * uniform(jitter, even)


def uniform(jitter: Generator | Float[Tensor, "..."], like: Tensor) -> Float[Tensor, "..."]:
    """Numbers in [0, 1) of the shape of `like`: drawn from a generator, or those handed in."""
    if isinstance(jitter, Generator):
        drawn = torch.rand(like.shape, generator=jitter, dtype=like.dtype, device=jitter.device)
        return drawn.to(like.device)
    return jitter


def importance(
    edges: Float[Tensor, "*r B"],
    weights: Float[Tensor, "*r W"],
    count: int,
    jitter: Generator | Float[Tensor, "*r S"] | None = None,
) -> Float[Tensor, "*r S"]:
    """`count` distances drawn where `weights` are, by inverting their cumulative sum.

    `weights` has one entry for each of the bins between `edges`, so one fewer. Evenly spaced
    quantiles without jitter (so in order); quantiles from a generator, or handed in, with it. An
    empty bin keeps a mass of 1e-5, so that a ray that saw nothing is sampled evenly. Nothing is
    differentiated: the samples are where to look, not what was seen.
    """
    if weights.shape[-1] + 1 != edges.shape[-1]:
        raise BadInput(
            f"{edges.shape[-1]} edges bound {edges.shape[-1] - 1} bins, but there are "
            f"{weights.shape[-1]} weights. Give one weight per bin."
        )
    edges, mass = edges.detach(), weights.detach() + _LEAST_MASS
    mass = mass / mass.sum(-1, keepdim=True)
    reached = torch.cat([torch.zeros_like(mass[..., :1]), mass.cumsum(-1)], dim=-1)
    even = torch.linspace(0, 1, count, dtype=edges.dtype, device=edges.device)
    even = even.expand(*edges.shape[:-1], count).contiguous()
    quantile = even if jitter is None else uniform(jitter, even).contiguous()
    index = torch.searchsorted(reached, quantile, right=True)
    low, high = (index - 1).clamp(min=0), index.clamp(max=edges.shape[-1] - 1)
    start, slope = reached.gather(-1, low), reached.gather(-1, high) - reached.gather(-1, low)
    slope = torch.where(slope < _LEAST_MASS, 1, slope)
    left, right = edges.gather(-1, low), edges.gather(-1, high)
    return left + (quantile - start) / slope * (right - left)


def refine(
    t: Float[Tensor, "*r S"],
    weights: Float[Tensor, "*r S"],
    count: int,
    jitter: Generator | Float[Tensor, "*r M"] | None = None,
) -> Float[Tensor, "*r N"]:
    """The distances `t` together with `count` new ones where `weights` are, in order.

    The new ones fall in the bins between midpoints of `t`; the first and last sample have half a
    bin each, and are left out (NeRF's second pass).
    """
    middle = (t[..., 1:] + t[..., :-1]) / 2
    fresh = importance(middle, weights[..., 1:-1], count, jitter)
    return torch.cat([t, fresh], dim=-1).sort(dim=-1).values
