"""CPU twins of the splat stages: packing and drawing, with gradients."""

import numba as nb
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.ops import splats_project_cpu
from likeness.ops.lanes import FACTORS, TERMS
from likeness.ops.splats import DILATION, NEAR, WIDE
from likeness.ops.splats_draw_cpu import CHANNELS, SUMS, backward, forward, gather
from likeness.ops.splats_pack_cpu import BLOCK, LINE, TILE, deal, pack, running, starts_of
from likeness.ops.twins import match_threads


class _Rasterise(torch.autograd.Function):
    """Of three features a splat."""

    @staticmethod
    def forward(ctx, xy, depth, conic, features, opacity, width, height):
        given = [x.detach().contiguous() for x in (xy, depth, conic, features, opacity)]
        columns, rows, count = -(-width // TILE), -(-height // TILE), depth.shape[0]
        blocks, strips = -(-count // BLOCK), max(1, min(rows, nb.get_num_threads()))
        room = blocks * BLOCK
        packed = torch.empty(room * LINE).numpy()
        reach, keys = np.empty((room, 2), np.int32), np.empty(room, np.uint32)
        origin, slot = np.empty(room, np.int32), np.zeros(room + 1, np.int32)
        grid, kept = np.zeros((strips, (rows + 1) * (columns + 1)), np.int32), np.empty(blocks, int)
        pack(
            *(x.numpy() for x in given), width, height, FACTORS, TERMS, packed, reach, keys, origin,
            slot[1:], grid, kept,
        )  # fmt: skip
        running(slot)
        starts = np.empty(rows * columns + 1, np.int64)
        starts_of(grid, columns, rows, starts)
        lists, spots = (np.empty(slot[-1], np.int32) for _ in range(2))
        places = np.empty(4 * strips * (room + 1), np.int32)
        deal(reach, keys, kept, columns, rows, strips, starts, places, lists, slot, spots)
        picture, alpha = xy.new_empty(CHANNELS, height, width), xy.new_empty(height, width)
        forward(packed, starts, lists, picture.numpy(), alpha.numpy(), FACTORS, strips)
        ctx.save_for_backward(picture, alpha)
        ctx.state = (packed, starts, lists, spots, slot, kept, origin, strips)
        ctx.count = count
        return picture.permute(1, 2, 0), alpha

    @staticmethod
    def backward(ctx, d_picture, d_alpha):  # type: ignore[override]
        picture, alpha = ctx.saved_tensors
        packed, starts, lists, spots, slot, kept, origin, strips = ctx.state
        d_picture, d_alpha = d_picture.permute(2, 0, 1).contiguous(), d_alpha.contiguous()
        part = np.empty((len(lists), SUMS), np.float32)
        match_threads()
        pictures = (x.numpy() for x in (picture, alpha, d_picture, d_alpha))
        backward(packed, starts, lists, *pictures, part.reshape(-1), FACTORS, strips)
        new, count = d_picture.new_zeros, ctx.count
        d_xy, d_conic = new(count, 2), new(count, 3)
        d_features, d_opacity = new(count, CHANNELS), new(count)
        gradients = (x.numpy() for x in (d_xy, d_conic, d_features, d_opacity))
        gather(packed, kept, BLOCK, origin, slot, spots, part, *gradients)
        return d_xy, None, d_conic, d_features, d_opacity, None, None


def rasterise_splats(
    xy: Tensor,
    depth: Tensor,
    conic: Tensor,
    features: Tensor,
    opacity: Tensor,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """The twin of `ops.splats`; float32 inside, whatever comes in."""
    match_threads()
    dtype, channels = features.dtype, features.shape[1]
    on_screen = [x.float() for x in (xy, depth, conic)]
    features, opacity = features.float(), opacity.float()
    if channels > CHANNELS:  # a splat one of whose features is no number is in no part
        opacity = torch.where(torch.isfinite(features).all(-1), opacity, 0)
    if channels % CHANNELS or not channels:
        features = F.pad(features, (0, CHANNELS - channels % CHANNELS))
    parts = [
        _Rasterise.apply(*on_screen, some, opacity, width, height)
        for some in features.split(CHANNELS, -1)
    ]
    pictures, alphas = zip(*parts)  # type: ignore[arg-type]
    picture = pictures[0] if len(parts) == 1 else torch.cat(pictures, -1)
    if channels < picture.shape[-1]:
        picture = picture[..., :channels]
    if not picture.requires_grad:  # losses want it by channels, as it is, and go back that way
        picture = picture.contiguous()
    return picture.to(dtype), alphas[0].to(dtype)


def project_splats(
    means: Tensor,
    rotation: Tensor,
    scale: Tensor,
    intrinsics: Tensor,
    pose: Tensor,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The twin of `ops.splats`; float32 inside, whatever comes in."""
    reach = (
        WIDE * 0.5 * width / float(intrinsics[0, 0]),
        WIDE * 0.5 * height / float(intrinsics[1, 1]),
    )
    return splats_project_cpu.project_splats(
        means, rotation, scale, intrinsics, pose, reach, NEAR, DILATION
    )
