"""CPU twin of studying: the passes of portraying, and a pass back over tiles, one over splats."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.core.camera import Camera
from likeness.ops.atlas_cpu import weigh_two
from likeness.ops.jit import njit
from likeness.ops.lanes import FACTORS, LANES, TERMS
from likeness.ops.portray import Changes
from likeness.ops.portray_stage_cpu import PLACES, common, stage
from likeness.ops.products import Product, keeps_products, products_of
from likeness.ops.ride import Riders
from likeness.ops.splats_draw_cpu import CHANNELS, SUMS, backward, forward
from likeness.ops.splats_pack_cpu import BLOCK, LINE, TILE, deal, running, starts_of
from likeness.ops.study import _study
from likeness.ops.study_back_cpu import MOTIONS, give_on, parts_of, splats_back
from likeness.ops.twins import match_threads, threads

_LEARNED = ("offset", "rotation", "log_scale", "opacity", "colour", "follow")


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is drawn, but for what is learned, as kernels take it."""

    corners: np.ndarray
    weights: np.ndarray
    closed: np.ndarray
    cells: np.ndarray
    cell_weights: np.ndarray
    own: int
    code: np.ndarray
    camera: Camera
    pull: Tensor | None


@dataclass(frozen=True, eq=False)
class _Packed:
    """What the way back needs of the way forth."""

    arrays: tuple[np.ndarray, ...]
    """Atlases of the moment; lines, whose they are, slots, how many each block has; what is the
    same for all, where lists begin, lists, and where in them each splat is."""
    strips: int


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


@njit(cache=True, error_model="numpy")
def _forth(
    head, torso, lens, pose, code, own, motion_atlas, shade_atlas, corners, closed, vertices,
    cells, cell_weights, weights, offset, rotation, log_scale, opacity, colour, follow, harmonics,
    factors, terms, strips, motion, shade, lines, reach, keys, origin, slot, places, kept, picture,
    alpha,
):  # fmt: skip
    """One pass after the other, as in `portray_cpu`; returns what is the same for all splats, where
    lists begin, the lists, and where in them each splat is."""
    height, width = alpha.shape
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    c = np.empty(PLACES, np.float32)
    common(head, torso, lens, pose, width, height, c)
    weigh_two(code, own, motion_atlas, shade_atlas, motion, shade)
    grid = np.zeros((strips, (rows + 1) * (columns + 1)), np.int32)
    stage(
        corners, closed, vertices, cells, cell_weights, motion, shade, weights, offset, rotation,
        log_scale, opacity, colour, follow, harmonics, harmonics.shape[0] > 0, c, factors, terms,
        width, height, lines, reach, keys, origin, slot[1:], grid, kept,
    )  # fmt: skip
    running(slot)
    starts = np.empty(rows * columns + 1, np.int64)
    starts_of(grid, columns, rows, starts)
    total = starts[rows * columns]
    lists, spots = np.empty(total, np.int32), np.empty(total, np.int32)
    deal(reach, keys, kept, columns, rows, strips, starts, places, lists, slot, spots)
    forward(lines, starts, lists, picture, alpha, factors, strips)
    return c, starts, lists, spots


@njit(cache=True, error_model="numpy")
def _back(
    corners, vertices, cells, cell_weights, weights, offset, rotation, log_scale, opacity, follow,
    motion, shade, lines, origin, slot, kept, c, starts, lists, spots, factors, strips, workers,
    picture, alpha, d_picture, d_alpha, of_vertices, d_offset, d_rotation, d_log_scale, d_opacity,
    d_colour, d_follow, d_harmonics, pulled, added_by, motions, d_vertices, d_cells, motion_parts,
    shade_parts,
):  # fmt: skip
    """Over tiles, over splats, and on to vertices and cells."""
    part = np.empty(lists.shape[0] * SUMS, np.float32)
    backward(lines, starts, lists, picture, alpha, d_picture, d_alpha, part, factors, strips)
    splats_back(
        corners, vertices, cells, cell_weights, motion, shade, weights, offset, rotation,
        log_scale, opacity, follow, c, factors, kept, origin, slot, spots, part, d_offset,
        d_rotation, d_log_scale, d_opacity, d_colour, d_follow, d_harmonics, pulled, added_by,
        motions, workers,
    )  # fmt: skip
    give_on(
        kept, origin, added_by, corners.reshape(-1), weights, cells.reshape(-1),
        cell_weights.reshape(-1), of_vertices, d_vertices, d_cells,
    )  # fmt: skip
    parts_of(d_cells, 0, 3, motion_parts)
    parts_of(d_cells, 3, 5, shade_parts)


def _pack(
    scene: _Scene, learned: dict[str, np.ndarray], picture: np.ndarray, alpha: np.ndarray
) -> _Packed:
    """Draws the picture and its alpha."""
    camera, blocks = scene.camera, -(-len(scene.corners) // BLOCK)
    room, strips = blocks * BLOCK, max(1, min(-(-camera.height // TILE), threads()))
    lens, pose = (_plain(x.float()) for x in (camera.intrinsics, camera.camera_from_world))
    # a few numbers more, as rows of them are read eight at a time
    tables = [np.empty(learned[n].shape[1] + LANES, np.float32) for n in ("motion", "shade")]
    lines, origin = np.empty(room * LINE, np.float32), np.empty(room, np.int32)
    slot, kept = np.zeros(room + 1, np.int32), np.empty(blocks, np.int64)
    same = _forth(
        learned["head"], learned["torso"], lens, pose, scene.code, scene.own,
        learned["motion"].reshape(-1), learned["shade"].reshape(-1), scene.corners, scene.closed,
        learned["vertices"], scene.cells, scene.cell_weights, scene.weights,
        *(learned[n].reshape(-1) for n in (*_LEARNED, "harmonics")), FACTORS, TERMS, strips,
        *tables, lines, np.empty((room, 2), np.int32), np.empty(room, np.uint32), origin, slot,
        np.empty(4 * strips * (room + 1), np.int32), kept, picture, alpha,
    )  # fmt: skip
    return _Packed((*tables, lines, origin, slot, kept, *same), strips)


def _learned_by(scene: _Scene, parts: Tensor, products: list[Product] | None) -> Tensor | None:
    """What the atlases of all numbers of the code learn, or nothing where that is kept as a
    product."""
    weights = torch.from_numpy(scene.code).repeat(2, 1)
    weights[1, scene.own :] = 0
    if products is None:
        return weights.mT @ parts
    products.append((weights, parts))
    return None


class _Studying(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scene: _Scene, *given: Tensor):
        names = (*_LEARNED, "motion", "shade", "harmonics", "vertices", "head", "torso")
        learned = {n: _plain(x) for n, x in zip(names, given, strict=True)}
        match_threads()
        height, width = scene.camera.height, scene.camera.width
        picture, alpha = torch.empty(CHANNELS, height, width), torch.empty(height, width)
        packed = _pack(scene, learned, picture.numpy(), alpha.numpy())
        ctx.save_for_backward(*given, picture, alpha)
        ctx.scene, ctx.packed, ctx.learned = scene, packed, learned
        atlases = {"motion": given[6], "shade": given[7]}
        ctx.products = {
            n: products_of(x) if keeps_products(x) else None for n, x in atlases.items()
        }
        return picture.permute(1, 2, 0), alpha

    @staticmethod
    def backward(ctx: Any, d_picture, d_alpha):  # type: ignore[override]
        *given, picture, alpha = ctx.saved_tensors
        scene, packed, learned = ctx.scene, ctx.packed, ctx.learned
        d_picture, d_alpha = d_picture.permute(2, 0, 1).contiguous(), d_alpha.contiguous()
        match_threads()
        count = len(scene.corners)
        blocks, cells = -(-count // BLOCK), learned["motion"].shape[1] // 3
        found = {
            n: torch.empty(count + LANES, *learned[n].shape[1:]) for n in (*_LEARNED, "harmonics")
        }
        parts = {n: torch.empty(2, learned[n].shape[1]) for n in ("motion", "shade")}
        pulled, added_by = (np.empty((count + LANES) * n, np.float32) for n in (1, LANES))
        motions = np.empty((blocks, MOTIONS), np.float32)
        rows = (len(learned["vertices"]), cells)
        d_vertices, d_cells = (np.zeros(LANES * n, np.float32) for n in rows)
        _back(
            scene.corners, learned["vertices"], scene.cells, scene.cell_weights, scene.weights,
            *(learned[n].reshape(-1) for n in _LEARNED if n != "colour"), *packed.arrays, FACTORS,
            packed.strips, max(1, min(threads(), blocks)),
            *(x.numpy() for x in (picture, alpha, d_picture, d_alpha)), ctx.needs_input_grad[10],
            *(x.view(-1).numpy() for x in found.values()), pulled, added_by, motions, d_vertices,
            d_cells, *(x.numpy() for x in parts.values()),
        )  # fmt: skip
        if scene.pull is not None:
            scene.pull.add_(torch.from_numpy(pulled[:count]))
        learned_by = [
            _learned_by(scene, parts[n], ctx.products[n]) if ctx.needs_input_grad[k] else None
            for k, n in ((7, "motion"), (8, "shade"))
        ]
        moved = torch.from_numpy(motions.astype(np.float64).sum(0)).float()
        d_head, d_torso = F.pad(moved.view(2, 3, 4), (0, 0, 0, 1))
        by_vertex = torch.from_numpy(d_vertices).view(-1, LANES)[:, :3]
        return (
            None, *(found[n][:count] for n in _LEARNED), *learned_by, found["harmonics"][:count],
            by_vertex, d_head, d_torso,
        )  # fmt: skip


def study(
    riders: Riders,
    changes: Changes,
    code: Tensor,
    vertices: Tensor,
    head: Tensor,
    torso: Tensor,
    camera: Camera,
    pull: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """float32, harmonics of degree 0 or 1, eight splats or more, nothing to learn about code and
    camera; else the definition."""
    learned = [getattr(riders, name) for name in _LEARNED]
    learned += [changes.motion, changes.shade, changes.harmonics, vertices, head, torso]
    fixed = (code, camera.intrinsics, camera.camera_from_world)
    if (
        len(riders.corners) < LANES
        or changes.harmonics.shape[1] not in (0, 3)
        or any(x.dtype != torch.float32 for x in (*learned, code))
        or any(x.requires_grad for x in fixed)
    ):
        return _study(riders, changes, code, vertices, head, torso, camera, pull)
    scene = _Scene(
        _plain(riders.corners), _plain(riders.weights).reshape(-1), _plain(riders.closed),
        _plain(changes.cells), _plain(changes.weights), changes.own, _plain(code), camera,
        None if pull is None else pull.detach(),
    )  # fmt: skip
    return _Studying.apply(scene, *learned)  # type: ignore[return-value]
