"""Outlines: edges that are smooth to the eye and that tell vertices where to go.

Where an outline passes between two neighbouring pixel centres, the nearer surface covers a part of
the pair that depends on where exactly it passes; mixing the two pixels by that part is both the
antialiasing and the path of the gradient. Outlines are found from the mesh (edges with one
triangle, or with one towards and one away from the camera), so that triangles thinner than a pixel
are not missed.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.ops.mesh import NEAR, Raster

GAP = 2e-3
"""What lies behind an outline is deeper than it by at least this share of the depth."""


def edges(triangles: Int[Tensor, "F 3"]) -> Int[Tensor, "N 4"]:
    """Every edge once: its two vertices, then its triangles, the second -1 at a border.

    Of more than two triangles at one edge only two are kept.
    """
    count = len(triangles)
    pairs = triangles[:, [[1, 2], [2, 0], [0, 1]]].flatten(0, 1).sort(-1).values
    owner = torch.arange(count, device=triangles.device).repeat_interleave(3)
    key = pairs[:, 0] * (int(triangles.max()) + 1 if count else 1) + pairs[:, 1]
    key, order = key.sort(stable=True)
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    start = first.nonzero()[:, 0]
    following = (start + 1).clamp(max=max(0, len(key) - 1))
    shared = (start + 1 < len(key)) & ~first[following]
    other = torch.where(shared, owner[order[following]], -1)
    return torch.cat([pairs[order[start]], owner[order[start]][:, None], other[:, None]], -1)


def antialias(
    raster: Raster,
    picture: Float[Tensor, "*b H W C"],
    mesh_edges: Int[Tensor, "N 4"] | None = None,
) -> Float[Tensor, "*b H W C"]:
    """The picture with its outlines mixed by coverage; gradients reach colours and vertices.

    Give alpha as a channel to have soft silhouettes. `mesh_edges` saves finding `edges` again for
    a mesh drawn many times.
    """
    known = edges(raster.triangles) if mesh_edges is None else mesh_edges
    if not raster.seen.numel() or not len(known):
        return picture
    *batch, height, width, channels = picture.shape
    views = zip(
        raster.seen.reshape(-1, height * width),
        raster.depth.detach().reshape(-1, height * width),
        raster.corners.reshape(-1, *raster.corners.shape[-2:]),
        picture.reshape(-1, height * width, channels),
        strict=True,
    )
    out = [
        _mixed(seen, depth, corners, flat, raster.triangles, known, width)
        for seen, depth, corners, flat in views
    ]
    return torch.stack(out).reshape(*batch, height, width, channels)


def _mixed(
    seen: Tensor,
    depth: Tensor,
    corners: Tensor,
    flat: Tensor,
    triangles: Tensor,
    known: Tensor,
    width: int,
) -> Tensor:
    with torch.no_grad():
        outline, side = _outline(corners, triangles, known)
        edge, line, upright = _crossings(corners, outline, seen.shape[0] // width, width)
        near, far, edge, line, upright = _pairs(
            seen, depth, corners, outline, side, edge, line, upright, width
        )
    if not len(edge):
        return flat
    across, _ = _cross_at(corners, outline[edge], line, upright)
    start = torch.where(upright, near % width, near // width) + 0.5
    step = torch.where(upright, far % width, far // width) + 0.5 - start
    reach = ((across - start) / step - 0.5)[:, None].to(flat.dtype)  # beyond the border of the two
    difference = flat[near] - flat[far]
    out = flat.index_add(0, far, reach.clamp(min=0) * difference)
    return out.index_add(0, near, reach.clamp(max=0) * difference)


def _outline(corners: Tensor, triangles: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Vertex pairs of outline edges, and for each the corner that its surface lies towards."""
    abc = corners[triangles].double()
    volume = torch.linalg.det(abc)
    towards = volume < 0
    first, second = known[:, 2], known[:, 3]
    border = second < 0
    flips = ~border & (towards[first] != towards[second.clamp(min=0)])
    drawn = (corners[known[:, :2], 2] >= NEAR).all(-1) & corners[known[:, :2]].isfinite().all(
        -1
    ).all(-1)
    kept = (border | flips) & drawn
    pair = known[kept, :2]
    owner = torch.where(towards[first[kept]] | border[kept], first[kept], second[kept])
    corner = triangles[owner].sum(-1) - pair.sum(-1)
    return pair, corner


def _crossings(
    corners: Tensor, pair: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (for edges more upright than level) or columns whose centre line an edge crosses."""
    ends = (corners[pair, :2] / corners[pair, 2:]).double()  # N 2 xy
    run = (ends[:, 1] - ends[:, 0]).abs()
    upright = run[:, 1] >= run[:, 0]
    along = torch.where(upright[:, None], ends[..., 1], ends[..., 0])
    most = torch.where(upright, height, width)
    low = torch.ceil(along.amin(-1) - 0.5).clamp(min=0).minimum(most)
    high = torch.ceil(along.amax(-1) - 0.5).minimum(most).maximum(low)
    count = (high - low).long()
    edge = torch.arange(len(pair), device=pair.device).repeat_interleave(count)
    begin = count.cumsum(0) - count
    line = torch.arange(len(edge), device=pair.device) - begin[edge] + low.long()[edge]
    return edge, line, upright[edge]


def _cross_at(
    corners: Tensor, pair: Tensor, line: Tensor, upright: Tensor
) -> tuple[Tensor, Tensor]:
    """Where along its line each edge crosses, in pixels, and how deep it is there."""
    a, b = corners[pair[:, 0]].double(), corners[pair[:, 1]].double()
    main, other = torch.where(upright, 1, 0)[:, None], torch.where(upright, 0, 1)[:, None]
    from_line_a = a.gather(1, main)[:, 0] - (line + 0.5) * a[:, 2]
    from_line_b = b.gather(1, main)[:, 0] - (line + 0.5) * b[:, 2]
    whole = from_line_a - from_line_b
    share = from_line_a / torch.where(whole == 0, 1.0, whole)  # along the edge in space
    z = a[:, 2] + share * (b[:, 2] - a[:, 2])
    across = a.gather(1, other)[:, 0] * (1 - share) + b.gather(1, other)[:, 0] * share
    return across / z, z


def _pairs(
    seen: Tensor,
    depth: Tensor,
    corners: Tensor,
    pair: Tensor,
    side: Tensor,
    edge: Tensor,
    line: Tensor,
    upright: Tensor,
    width: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The neighbouring pixels at each crossing that is seen: its own surface's, and the other."""
    height = seen.shape[0] // width
    across, z = _cross_at(corners, pair[edge], line, upright)
    before = torch.floor(across - 0.5)
    inside = (before >= 0) & (before + 1 < torch.where(upright, width, height))
    before = torch.where(inside, before, 0.0).long()
    first = torch.where(upright, line * width + before, before * width + line)
    first = torch.where(inside, first, 0)
    second = torch.where(inside, first + torch.where(upright, 1, width), 0)
    beyond = _lies_beyond(corners, pair[edge], side[edge], upright)
    near, far = torch.where(beyond, second, first), torch.where(beyond, first, second)
    visible = inside & (seen[near] >= 0) & (depth[far] > z * (1 + GAP)) & (depth[near] < depth[far])
    return _nearest_each(near, far, z, visible, edge, line, upright)


def _lies_beyond(corners: Tensor, pair: Tensor, side: Tensor, upright: Tensor) -> Tensor:
    """Whether the surface is on the far (right or lower) side of its outline edge."""
    a, b, c = (corners[i].double() for i in (pair[:, 0], pair[:, 1], side))
    a, b = a[:, :2] / a[:, 2:], b[:, :2] / b[:, 2:]
    c = c[:, :2] / c[:, 2:].clamp(min=NEAR)
    ab, ac = b - a, c - a
    turn = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    return torch.where(upright, turn * ab[:, 1] < 0, turn * ab[:, 0] > 0)


def _nearest_each(
    near: Tensor,
    far: Tensor,
    z: Tensor,
    visible: Tensor,
    edge: Tensor,
    line: Tensor,
    upright: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One crossing per pair of pixels: of several outlines the nearest is the one that shows."""
    kept = visible.nonzero()[:, 0]
    kept = kept[z[kept].argsort(stable=True)]
    key = torch.minimum(near, far)[kept] * 2 + upright[kept].long()
    order = key.argsort(stable=True)
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = key[order][1:] != key[order][:-1]
    kept = kept[order[first]]
    return near[kept], far[kept], edge[kept], line[kept], upright[kept]
