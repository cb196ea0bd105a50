"""Lids end in open tubes behind the eyes: closed, so that no gap shows beside an eyeball."""

from itertools import pairwise

import torch
from jaxtyping import Int
from torch import Tensor

from likeness.core.regions import REGION

_LONGEST = 40  # edges around a socket; the collar has more


def closed_sockets(
    triangles: Int[Tensor, "F 3"], uv_triangles: Int[Tensor, "F 3"], regions: Int[Tensor, " V"]
) -> tuple[Int[Tensor, "G 3"], Int[Tensor, "G 3"]]:
    """The triangles with a fan over every short open edge that lies in skin, and their texture's.

    No vertex is added: the fan starts from one of the edge's own.
    """
    fans, flat = [triangles], [uv_triangles]
    for loop, corners in _open_loops(triangles, uv_triangles):
        inside = bool((regions[torch.tensor(loop)] == REGION["skin"]).all())
        if not inside or not 3 <= len(loop) <= _LONGEST:
            continue
        for rows, places in ((fans, loop), (flat, corners)):
            # against the way of the edge, as neighbours are
            rows.append(torch.tensor([(places[0], b, a) for a, b in pairwise(places[1:])]))
    return torch.cat(fans), torch.cat(flat)


def _open_loops(triangles: Tensor, uv_triangles: Tensor) -> list[tuple[list[int], list[int]]]:
    """Closed runs of edges of one triangle only: vertices, and their places in the texture."""
    edges = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    starts = torch.cat([uv_triangles[:, 0], uv_triangles[:, 1], uv_triangles[:, 2]])
    _, back, count = torch.unique(
        edges.sort(1).values, dim=0, return_inverse=True, return_counts=True
    )
    single = count[back] == 1
    following = dict(edges[single].tolist())
    place = dict(zip(edges[single, 0].tolist(), starts[single].tolist()))
    loops = []
    while following:
        first = next(iter(following))
        loop = [first]
        while (after := following.pop(loop[-1], None)) not in (None, first):
            loop.append(after)
        if after == first:
            loops.append((loop, [place[vertex] for vertex in loop]))
    return loops
