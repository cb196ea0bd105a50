"""Marching on a CPU, one ray after another: once to count the samples, once to write them."""

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from likeness.ops.march import Stride
from likeness.ops.twins import match_threads

_BLOCK = 64  # rays per work item


def march(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    occupied: Tensor,
    box: Tensor,
    stride: Stride,
    jitter: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    match_threads()
    rays = origins.shape[0]
    draws = (near.new_zeros(rays, 0) if jitter is None else jitter).contiguous().numpy()
    arrays = (
        *(origins.contiguous().numpy(), directions.contiguous().numpy()),
        *(near.contiguous().numpy(), far.contiguous().numpy()),
        *(occupied.contiguous().numpy(), box.contiguous().numpy()),
    )
    rule = (stride.least, stride.most, stride.per_distance, stride.limit, draws, _BLOCK)
    counts, end = torch.zeros(rays, dtype=torch.long), torch.empty(rays, dtype=torch.double)
    nowhere = np.empty(0)
    walk(*arrays, *rule, counts.numpy(), counts.numpy(), end.numpy(), nowhere, nowhere)
    first = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    t, step = near.new_empty(int(first[-1])), near.new_empty(int(first[-1]))
    filled = (first.numpy(), counts.numpy(), end.numpy(), t.numpy(), step.numpy())
    walk(*arrays, *rule, *filled)
    return t, step, counts, end


@njit(parallel=True, cache=True, error_model="numpy")
def walk(
    origins, directions, near, far, occupied, box, least, most, per_distance, limit, draws, block,
    first, counts, end, t_out, step_out,
):  # fmt: skip
    """Fill counts and end; and, where there is room in them, t_out and step_out from `first`."""
    rays = near.shape[0]
    for item in prange((rays + block - 1) // block):
        for ray in range(item * block, min((item + 1) * block, rays)):
            counts[ray], end[ray] = _walk_one(
                ray, origins, directions, near[ray], far[ray], occupied, box, least, most,
                per_distance, limit, draws, first[ray], t_out, step_out,
            )  # fmt: skip


@njit(cache=True, error_model="numpy")
def _walk_one(
    ray, origins, directions, t, far, occupied, box, least, most, per_distance, limit, draws,
    first, t_out, step_out,
):  # fmt: skip
    vertex = np.empty(3, np.int64)
    count = 0
    while t < far and count < limit:
        step = min(max(t * per_distance, least), most)
        if t + step == t:  # so far away that a step is lost to rounding
            break
        ahead = math.inf
        for k in range(3):
            extent, cells = box[1, k] - box[0, k], occupied.shape[k] - 1
            place = min(max(origins[ray, k] + t * directions[ray, k], box[0, k]), box[1, k])
            at = np.int64(math.floor((place - box[0, k]) / extent * cells + 0.5))
            vertex[k] = min(max(at, 0), cells)
            if directions[ray, k] != 0:
                next_plane = vertex[k] + (1 if directions[ray, k] >= 0 else 0)
                plane = box[0, k] + next_plane / cells * extent
                ahead = min(ahead, (plane - place) / directions[ray, k])
        if occupied[vertex[0], vertex[1], vertex[2]]:
            if draws.shape[1] > 0:
                step = 2 * draws[ray, count % draws.shape[1]] * step
            if t_out.shape[0] > 0:
                t_out[first + count], step_out[first + count] = t, step
            count += 1
            t += step
        else:
            target = t + max(ahead, 0.0)
            t += step
            while t < target and t < far:
                t += min(max(t * per_distance, least), most)
    return count, t
