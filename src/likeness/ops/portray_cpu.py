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


@njit(cache=True, error_model="numpy")
def _draw(
    head, torso, lens, pose, code, own, motion_atlas, shade_atlas, corners, closed, vertices,
    cells, cell_weights, weights, offset, rotation, log_scale, opacity, colour, follow, harmonics,
    factors, terms, width, height, strips, motion, shade, packed, reach, keys, origin, tiles,
    places, kept, picture, alpha,
):  # fmt: skip
    """One pass after the other: to go back to Python between them takes a tenth of a picture."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    c = np.empty(PLACES, np.float32)
    common(head, torso, lens, pose, width, height, c)
    weigh_two(code, own, motion_atlas, shade_atlas, motion, shade)
    grid = np.zeros((strips, (rows + 1) * (columns + 1)), np.int32)
    stage(
        corners, closed, vertices, cells, cell_weights, motion, shade, weights, offset, rotation,
        log_scale, opacity, colour, follow, harmonics, harmonics.shape[0] > 0, c, factors, terms,
        width, height, packed, reach, keys, origin, tiles, grid, kept,
    )  # fmt: skip
    starts = np.empty(rows * columns + 1, np.int64)
    starts_of(grid, columns, rows, starts)
    lists, none = np.empty(starts[rows * columns], np.int32), np.empty(0, np.int32)
    deal(reach, keys, kept, columns, rows, strips, starts, places, lists, none, none)
    _paint(packed, starts, lists, width, height, picture, alpha, factors, strips)


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
    blocks, strips = -(-count // BLOCK), max(1, min(-(-height // TILE), threads()))
    room = blocks * BLOCK
    picture, alpha = torch.empty(height, width, 3), torch.empty(height, width)
    lens, pose = camera.intrinsics.float(), camera.camera_from_world.float()
    motion, shade = _plain(changes.motion), _plain(changes.shade)
    kept, take = np.empty(blocks, np.int64), _scratch.take
    _draw(
        _plain(head), _plain(torso), _plain(lens), _plain(pose), _plain(code), changes.own,
        motion.reshape(-1), shade.reshape(-1), _plain(r.corners), _plain(r.closed),
        _plain(vertices), _plain(changes.cells), _plain(changes.weights),
        _plain(r.weights).reshape(-1), _plain(r.offset).reshape(-1),
        _plain(r.rotation).reshape(-1), _plain(r.log_scale).reshape(-1), _plain(r.opacity),
        _plain(r.colour).reshape(-1), _plain(r.follow), _plain(changes.harmonics).reshape(-1),
        FACTORS, TERMS, width, height, strips,
        take("motion", np.float32, motion.shape[1] + LANES),
        take("shade", np.float32, shade.shape[1] + LANES), take("lines", np.float32, room * LINE),
        take("reach", np.int32, room, 2), take("keys", np.uint32, room),
        take("origin", np.int32, room), take("tiles", np.int32, room),
        take("places", np.int32, 4 * strips * (room + 1)), kept, picture.view(-1).numpy(),
        alpha.view(-1).numpy(),
    )  # fmt: skip
    return picture, alpha
