"""CPU twin of portraying: one pass over splats (see `portray_stage_cpu`), one over tiles.

Arrays that no caller sees are kept from picture to picture: fresh memory costs as much as the work.
"""

import threading
from math import prod

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.core.camera import Camera
from likeness.ops.atlas_cpu import weigh_two
from likeness.ops.jit import njit
from likeness.ops.lanes import FACTORS, LANES, TERMS, higher, lower
from likeness.ops.lanes_memory import load, prefetch, store, store_threes
from likeness.ops.portray import Changes, _portray
from likeness.ops.portray_stage_cpu import PLACES, common, stage
from likeness.ops.ride import Riders
from likeness.ops.splats_draw_cpu import draw_tile, light_of, new_tile, place_of
from likeness.ops.splats_pack_cpu import BLOCK, LINE, TILE, deal, starts_of
from likeness.ops.twins import match_threads, threads

_FAST = {"contract", "nsz", "arcp"}
f32 = np.float32


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _paint(packed, starts, lists, width, height, picture, alpha, factors, workers):
    """The picture, channels last, tile by tile; every worker takes whole rows of tiles, as
    neighbours share splats."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for worker in nb.prange(workers):
        b, spans, codes = new_tile()
        for row in range(worker, rows, workers):
            for column in range(columns):
                tile, left, top = row * columns + column, column * TILE, row * TILE
                if starts[tile] == starts[tile + 1]:
                    b[:] = f32(0)
                    b[: TILE * TILE] = f32(1)
                else:
                    _ask_to_write(picture, alpha, left, top, width, height)
                    draw_tile(packed, starts, lists, tile, left, top, factors, b, spans, codes)
                _put(b, picture, alpha, left, top, width, height)


@njit(error_model="numpy")
def _ask_to_write(picture, alpha, left, top, width, height):
    """The lines a tile will be written to: they come while it is drawn."""
    for y in range(top, min(top + TILE, height)):
        at = y * width + left
        prefetch(alpha, at)
        for line in range(3):
            prefetch(picture, 3 * at + line * TILE)


@njit(error_model="numpy", fastmath=_FAST)
def _put(b, picture, alpha, left, top, width, height):
    """A tile into a picture, both flat."""
    for y in range(min(TILE, height - top)):
        for x in range(left, min(left + TILE, width), LANES):
            at, place = (top + y) * width + x, place_of(y, x - left)
            if x + LANES <= width:
                store(alpha, at, light_of(b, place))
                store_threes(
                    picture, 3 * at, _within(b, place, 1), _within(b, place, 2),
                    _within(b, place, 3),
                )  # fmt: skip
                continue
            for i in range(width - x):
                alpha[at + i] = f32(1) - abs(b[place + i])
                for k in range(3):
                    value = b[(k + 1) * TILE * TILE + place + i]
                    picture[3 * (at + i) + k] = min(max(value, f32(0)), f32(1))


@njit(error_model="numpy", fastmath=_FAST)
def _within(b, at, channel):
    """Eight numbers of a channel of a tile, between 0 and 1."""
    return lower(higher(load(b, channel * TILE * TILE + at), f32(0)), f32(1))


_NO_SLOTS = np.empty(0, np.int32)


class _Scratch(threading.local):
    """Arrays of one thread that are used again while they are large enough."""

    def __init__(self) -> None:
        self.held: dict[str, np.ndarray] = {}

    def take(self, name: str, kind: type, *shape: int) -> np.ndarray:
        size = prod(shape)
        held = self.held.get(name)
        if held is None or len(held) < size:
            held = self.held[name] = torch.empty(size * 8, dtype=torch.uint8).numpy().view(kind)
        return held[:size].reshape(shape)


_scratch = _Scratch()


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


def portray(
    riders: Riders,
    changes: Changes,
    code: Tensor,
    vertices: Tensor,
    head: Tensor,
    torso: Tensor,
    camera: Camera,
) -> tuple[Tensor, Tensor]:
    """float32, harmonics of degree 0 or 1, and eight splats or more; else the definition."""
    r, count, width, height = riders, len(riders.corners), camera.width, camera.height
    given = (r.offset, changes.motion, code, vertices, head, torso)
    if (
        count < LANES
        or changes.harmonics.shape[1] not in (0, 3)
        or any(x.dtype != torch.float32 for x in given)
    ):
        return _portray(riders, changes, code, vertices, head, torso, camera)
    match_threads()
    c = np.empty(PLACES, np.float32)
    lens, pose = camera.intrinsics.float(), camera.camera_from_world.float()
    common(_plain(head), _plain(torso), _plain(lens), _plain(pose), width, height, c)
    atlases = [_plain(x) for x in (changes.motion, changes.shade)]
    tables = [
        _scratch.take(name, np.float32, atlas.shape[1] + LANES)
        for name, atlas in zip(("motion", "shade"), atlases)
    ]
    weigh_two(_plain(code), changes.own, *(x.reshape(-1) for x in atlases), *tables)
    blocks = -(-count // BLOCK)
    room = blocks * BLOCK
    columns, rows = -(-width // TILE), -(-height // TILE)
    strips = max(1, min(rows, threads()))
    packed = _scratch.take("packed", np.float32, room * LINE)
    reach = _scratch.take("reach", np.int32, room, 2)
    keys = _scratch.take("keys", np.uint32, room)
    origin, tiles = (_scratch.take(n, np.int32, room) for n in ("origin", "tiles"))
    places = _scratch.take("places", np.int32, 4 * strips * (room + 1))
    grid = np.zeros((strips, (rows + 1) * (columns + 1)), np.int32)
    kept = np.empty(blocks, np.int64)
    flat = [
        _plain(x).reshape(-1)
        for x in (
            r.weights, r.offset, r.rotation, r.log_scale, r.opacity, r.colour, r.follow,
            changes.harmonics,
        )
    ]  # fmt: skip
    stage(
        _plain(r.corners), _plain(r.closed), _plain(vertices), _plain(changes.cells),
        _plain(changes.weights), *tables, *flat, changes.harmonics.shape[1] > 0, c, FACTORS, TERMS,
        width, height, packed, reach, keys, origin, tiles, grid, kept,
    )  # fmt: skip
    starts = np.empty(rows * columns + 1, np.int64)
    starts_of(grid, columns, rows, starts)
    lists = _scratch.take("lists", np.int32, int(starts[-1]))
    deal(reach, keys, kept, columns, rows, strips, starts, places, lists, _NO_SLOTS, _NO_SLOTS)
    picture, alpha = torch.empty(height, width, 3), torch.empty(height, width)
    flat = (picture.view(-1).numpy(), alpha.view(-1).numpy())
    _paint(packed, starts, lists, width, height, *flat, FACTORS, strips)
    return picture, alpha
