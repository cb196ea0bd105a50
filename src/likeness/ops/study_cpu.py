"""CPU twin of studying: the passes of portraying, and a pass back over tiles, one over splats."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.core.camera import Camera
from likeness.ops.atlas_cpu import weigh_two
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

    common: np.ndarray
    motion: np.ndarray
    shade: np.ndarray
    lines: np.ndarray
    starts: np.ndarray
    lists: np.ndarray
    spots: np.ndarray
    slot: np.ndarray
    kept: np.ndarray
    origin: np.ndarray
    strips: int


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


def _tables(code: np.ndarray, own: int, *atlases: np.ndarray) -> list[np.ndarray]:
    """Atlases of a moment; a few numbers more, as rows of them are read eight at a time."""
    tables = [np.empty(x.shape[1] + LANES, np.float32) for x in atlases]
    weigh_two(code, own, *(x.reshape(-1) for x in atlases), *tables)
    return tables


def _pack(scene: _Scene, learned: dict[str, np.ndarray]) -> _Packed:
    camera, count = scene.camera, len(scene.corners)
    width, height = camera.width, camera.height
    c = np.empty(PLACES, np.float32)
    lens, pose = (_plain(x.float()) for x in (camera.intrinsics, camera.camera_from_world))
    common(learned["head"], learned["torso"], lens, pose, width, height, c)
    motion, shade = _tables(scene.code, scene.own, learned["motion"], learned["shade"])
    columns, rows, blocks = -(-width // TILE), -(-height // TILE), -(-count // BLOCK)
    room, strips = blocks * BLOCK, max(1, min(rows, threads()))
    lines, reach = np.empty(room * LINE, np.float32), np.empty((room, 2), np.int32)
    keys, origin = np.empty(room, np.uint32), np.empty(room, np.int32)
    slot, kept = np.zeros(room + 1, np.int32), np.empty(blocks, np.int64)
    grid = np.zeros((strips, (rows + 1) * (columns + 1)), np.int32)
    flat = [learned[name].reshape(-1) for name in (*_LEARNED, "harmonics")]
    stage(
        scene.corners, scene.closed, learned["vertices"], scene.cells, scene.cell_weights, motion,
        shade, scene.weights, *flat, learned["harmonics"].shape[1] > 0, c, FACTORS, TERMS, width,
        height, lines, reach, keys, origin, slot[1:], grid, kept,
    )  # fmt: skip
    running(slot)
    starts = np.empty(rows * columns + 1, np.int64)
    starts_of(grid, columns, rows, starts)
    lists, spots = (np.empty(slot[-1], np.int32) for _ in range(2))
    places = np.empty(4 * strips * (room + 1), np.int32)
    deal(reach, keys, kept, columns, rows, strips, starts, places, lists, slot, spots)
    return _Packed(c, motion, shade, lines, starts, lists, spots, slot, kept, origin, strips)


def _learned_by(
    scene: _Scene,
    d_cells: np.ndarray,
    first: int,
    channels: int,
    columns: int,
    products: list[Product] | None,
) -> Tensor | None:
    """What the atlases of all numbers of the code learn, or nothing where that is kept as a
    product."""
    parts, weights = torch.empty(2, columns), torch.from_numpy(scene.code).repeat(2, 1)
    parts_of(d_cells, first, channels, parts.numpy())
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
        packed = _pack(scene, learned)
        height, width = scene.camera.height, scene.camera.width
        picture, alpha = torch.empty(CHANNELS, height, width), torch.empty(height, width)
        forward(
            packed.lines, packed.starts, packed.lists, picture.numpy(), alpha.numpy(), FACTORS,
            packed.strips,
        )  # fmt: skip
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
        part = np.empty(len(packed.lists) * SUMS, np.float32)
        pictures = (x.numpy() for x in (picture, alpha, d_picture, d_alpha))
        backward(
            packed.lines, packed.starts, packed.lists, *pictures, part, FACTORS,
            packed.strips,
        )  # fmt: skip
        count = len(scene.corners)
        found = {
            n: torch.empty(count + LANES, *learned[n].shape[1:]) for n in (*_LEARNED, "harmonics")
        }
        pulled, added_by = (np.empty((count + LANES) * n, np.float32) for n in (1, LANES))
        motions = np.empty((len(packed.kept), MOTIONS), np.float32)
        workers = max(1, min(threads(), len(packed.kept)))
        flat = [learned[n].reshape(-1) for n in _LEARNED if n != "colour"]
        splats_back(
            scene.corners, learned["vertices"], scene.cells, scene.cell_weights, packed.motion,
            packed.shade, scene.weights, *flat, packed.common, FACTORS, packed.kept,
            packed.origin, packed.slot, packed.spots, part,
            *(x.view(-1).numpy() for x in found.values()), pulled, added_by, motions, workers,
        )  # fmt: skip
        if scene.pull is not None:
            scene.pull.add_(torch.from_numpy(pulled[:count]))
        rows = (len(learned["vertices"]), learned["motion"].shape[1] // 3)
        d_vertices, d_cells = (np.zeros(LANES * n, np.float32) for n in rows)
        give_on(
            packed.kept, packed.origin, added_by, scene.corners.reshape(-1), scene.weights,
            scene.cells.reshape(-1), scene.cell_weights.reshape(-1), ctx.needs_input_grad[10],
            d_vertices, d_cells,
        )  # fmt: skip
        atlases = [
            _learned_by(scene, d_cells, *which, learned[n].shape[1], ctx.products[n])
            if ctx.needs_input_grad[k]
            else None
            for k, n, which in ((7, "motion", (0, 3)), (8, "shade", (3, 5)))
        ]
        moved = torch.from_numpy(motions.astype(np.float64).sum(0)).float()
        d_head, d_torso = F.pad(moved.view(2, 3, 4), (0, 0, 0, 1))
        by_vertex = torch.from_numpy(d_vertices).view(-1, LANES)[:, :3]
        return (
            None, *(found[n][:count] for n in _LEARNED), *atlases, found["harmonics"][:count],
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
