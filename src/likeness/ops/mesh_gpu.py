"""GPU twin of visibility, in Triton: a program per tile of pixels and its list of triangles.

Where in its triangle a pixel lies, and what vertices say there, is composed torch and runs anywhere
(the definitions in `ops.mesh`). Runs on a CPU in Triton's interpreter, for tests.
"""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

import torch
import triton.language as tl
from torch import Tensor

from likeness.ops.gpu_jit import jit
from likeness.ops.mesh import FLAT, NEAR

TILE = 16


@jit
def _draw(
    lines, lists, starts, seen, width, height, columns, near: tl.constexpr, side: tl.constexpr
):
    tile = tl.program_id(0)
    pixel = tl.arange(0, side * side)
    x = (tile % columns) * side + pixel % side
    y = (tile // columns) * side + pixel // side
    u, v = x.to(tl.float64) + 0.5, y.to(tl.float64) + 0.5
    closest = tl.zeros([side * side], tl.float64)
    found = tl.zeros([side * side], tl.int64) - 1
    for at in range(tl.load(starts + tile), tl.load(starts + tile + 1)):
        t = tl.load(lists + at)
        row = lines + t * 10
        a = tl.load(row) * u + tl.load(row + 1) * v + tl.load(row + 2)
        b = tl.load(row + 3) * u + tl.load(row + 4) * v + tl.load(row + 5)
        c = tl.load(row + 6) * u + tl.load(row + 7) * v + tl.load(row + 8)
        closeness = (a + b + c) / tl.load(row + 9)
        hit = (a >= 0) & (b >= 0) & (c >= 0) & (closeness > closest) & (closeness <= 1.0 / near)
        closest = tl.where(hit, closeness, closest)
        found = tl.where(hit, t, found)
    tl.store(seen + y * width + x, found, mask=(x < width) & (y < height))


def _lines(corners: Tensor, triangles: Tensor, cull: bool) -> tuple[Tensor, Tensor]:
    """Per triangle three edges turned to be positive inside, and its volume; and which to draw."""
    abc = corners[triangles].double()
    edges = torch.linalg.cross(abc[:, [1, 2, 0]], abc[:, [2, 0, 1]])
    volume = (abc[:, 0] * edges[:, 0]).sum(-1)
    good = (volume.abs() > FLAT * abc.norm(dim=-1).prod(-1)) & abc.isfinite().flatten(1).all(-1)
    if cull:
        good &= volume <= 0
    sign = torch.sign(volume)[:, None]
    return torch.cat([edges.flatten(1) * sign, volume.abs()[:, None]], -1), good


def _boxes(corners: Tensor, triangles: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """First and last tile (x, y) of each triangle: of its corners before the near plane, and of
    where its sides meet that plane."""
    abc = corners[triangles].double()
    following = abc[:, [1, 2, 0]]
    z, next_z = abc[..., 2], following[..., 2]
    before = z >= NEAR
    meets = before != (next_z >= NEAR)
    share = ((NEAR - z) / torch.where(meets, next_z - z, 1.0))[..., None]
    cut = (abc[..., :2] + share * (following[..., :2] - abc[..., :2])) / NEAR
    places = torch.cat([abc[..., :2] / torch.where(before, z, 1.0)[..., None], cut], 1)
    valid = torch.cat([before, meets], 1)[..., None]
    size = places.new_tensor([width, height])
    low = torch.where(valid, places, torch.inf).amin(1)
    high = torch.where(valid, places, -torch.inf).amax(1)
    seen = ((high >= 0) & (low <= size)).all(-1, keepdim=True)
    low = torch.floor(low - 0.5).clamp(min=0)
    high = torch.minimum(torch.ceil(high - 0.5), size - 1)
    first = torch.where(seen, low / TILE, 0).nan_to_num().floor().long()
    last = torch.where(seen, high / TILE, -1).nan_to_num(-1).floor().long()
    return first, last


def see(corners: Tensor, triangles: Tensor, height: int, width: int, cull: bool) -> Tensor:
    """The twin of `ops.mesh`: of two triangles at one depth, the first is seen."""
    seen = torch.full((height, width), -1, dtype=torch.int64, device=corners.device)
    if not (len(triangles) and height and width):
        return seen
    lines, good = _lines(corners, triangles, cull)
    first, last = _boxes(corners, triangles, width, height)
    span = (last - first + 1).clamp(min=0) * good[:, None]
    counts = span.prod(-1)
    total, columns = int(counts.sum()), -(-width // TILE)
    owner = torch.repeat_interleave(counts, output_size=total)
    inner = torch.arange(total, device=seen.device) - (counts.cumsum(0) - counts)[owner]
    across = span[owner, 0].clamp(min=1)
    tile = (first[owner, 1] + inner // across) * columns + first[owner, 0] + inner % across
    tile, order = torch.sort(tile, stable=True)  # within a tile, triangles stay in order
    tiles = columns * -(-height // TILE)
    starts = torch.searchsorted(tile, torch.arange(tiles + 1, device=seen.device))
    lists = owner[order].contiguous()
    _draw[(tiles,)](
        lines.contiguous(), lists, starts, seen, width, height, columns, near=NEAR, side=TILE
    )
    return seen
