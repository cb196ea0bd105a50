"""CPU twin of drawing from an atlas."""

from typing import Any

import numba as nb
import numpy as np
import torch
from torch import Tensor

from likeness.ops.atlas import _draw_coded
from likeness.ops.jit import njit
from likeness.ops.lanes import LANES, steps
from likeness.ops.lanes_memory import load, store
from likeness.ops.twins import match_threads, threads

_FAST = {"contract", "nsz", "arcp"}
_CHUNK = 2048  # entries of an atlas that a worker does at once
f32 = np.float32


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _gather(table, cells, weights, out):
    for i in nb.prange(cells.shape[0]):
        for c in range(table.shape[1]):
            total = np.float32(0)
            for k in range(4):
                total += weights[i, k] * table[cells[i, k], c]
            out[i, c] = total


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _scatter(cells, weights, d_out, d_table, workers):
    """In the order of the places, so that sums are the same for any number of threads: each worker
    looks through all and adds to cells of its own, in groups of eight in turn."""
    for worker in nb.prange(workers):
        for i in range(cells.shape[0]):
            for k in range(4):
                cell = cells[i, k]
                if (cell >> 3) % workers != worker:
                    continue
                w = weights[i, k]
                for c in range(d_out.shape[1]):
                    d_table[cell, c] += w * d_out[i, c]


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, cells, weights):
        out = table.new_empty(cells.shape[0], table.shape[1])
        match_threads()
        _gather(table.detach().contiguous().numpy(), cells.numpy(), weights.numpy(), out.numpy())
        ctx.save_for_backward(cells, weights)
        ctx.rows = table.shape[0]
        return out

    @staticmethod
    def backward(ctx, d_out):  # type: ignore[override]
        cells, weights = ctx.saved_tensors
        d_table = d_out.new_zeros(ctx.rows, d_out.shape[1])
        match_threads()
        given = (x.numpy() for x in (cells, weights, d_out.contiguous(), d_table))
        _scatter(*given, threads())
        return d_table, None, None


def draw_cells(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """The twin of `ops.atlas`; float32 inside, whatever comes in."""
    drawn = _Draw.apply(table.float(), cells.contiguous(), weights.float().contiguous())
    return drawn.to(table.dtype)  # type: ignore[union-attr]


@njit(error_model="numpy", fastmath=_FAST)
def _weigh(code, own, atlas, count, out, job):
    """A chunk of the atlas of a moment; those of its second half come after the others."""
    half = count // 2
    each = (half + _CHUNK - 1) // _CHUNK
    second = job >= each
    first = (job - each) * _CHUNK + half if second else job * _CHUNK
    last = min(first + _CHUNK, count if second else half)
    numbers = code.shape[0] if second else own
    whole = first + (last - first) // LANES * LANES
    for i in range(first, whole, LANES):
        total = load(atlas, i) * code[0] if numbers > 0 else steps(f32(0)) * f32(0)
        for k in range(1, numbers):
            total = total + load(atlas, k * count + i) * code[k]
        store(out, i, total)
    for i in range(whole, last):
        out[i] = f32(0)
        for k in range(numbers):
            out[i] += code[k] * atlas[k * count + i]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def weigh(code, own, atlas, count, out):
    """The atlas of a moment; `atlas` has a row of `count` for each number of the code."""
    for job in nb.prange(2 * ((count // 2 + _CHUNK - 1) // _CHUNK)):
        _weigh(code, own, atlas, count, out, job)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def weigh_two(code, own, atlas, other, out, other_out):
    """The same of two atlases, at once."""
    count, more = atlas.shape[0] // code.shape[0], other.shape[0] // code.shape[0]
    jobs = 2 * ((count // 2 + _CHUNK - 1) // _CHUNK)
    more_jobs = 2 * ((more // 2 + _CHUNK - 1) // _CHUNK)
    for job in nb.prange(jobs + more_jobs):
        if job < jobs:
            _weigh(code, own, atlas, count, out, job)
        else:
            _weigh(code, own, other, more, other_out, job - jobs)


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def _outer(code, own, d_table, d_atlas):
    """What the atlas of a moment pulls at, for each number of the code."""
    count = d_table.shape[0]
    half = count // 2
    for k in nb.prange(code.shape[0]):
        w = code[k]
        first = 0 if k < own else half
        for i in range(first):
            d_atlas[k, i] = f32(0)
        for i in range(first, count):
            d_atlas[k, i] = w * d_table[i]


class _DrawCoded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, code, atlas, own, channels, cells, weights):
        flat = atlas.detach().contiguous()
        table = flat.new_empty(flat.shape[1])
        weigh(code.numpy(), own, flat.view(-1).numpy(), flat.shape[1], table.numpy())
        out = flat.new_empty(cells.shape[0], channels)
        _gather(table.view(-1, channels).numpy(), cells.numpy(), weights.numpy(), out.numpy())
        ctx.save_for_backward(code, cells, weights)
        ctx.own, ctx.columns = own, flat.shape[1]
        return out

    @staticmethod
    def backward(ctx: Any, d_out):  # type: ignore[override]
        code, cells, weights = ctx.saved_tensors
        d_table = d_out.new_zeros(ctx.columns)
        d_atlas = d_out.new_empty(len(code), ctx.columns)
        match_threads()
        by_cells = d_table.view(-1, d_out.shape[1]).numpy()
        given = (x.numpy() for x in (cells, weights, d_out.contiguous()))
        _scatter(*given, by_cells, threads())
        _outer(code.numpy(), ctx.own, d_table.numpy(), d_atlas.numpy())
        return None, d_atlas, None, None, None, None


def draw_coded(
    code: Tensor, atlas: Tensor, own: int, channels: int, cells: Tensor, weights: Tensor
) -> Tensor:
    """The twin of `ops.atlas`, in float32 and for codes that are given; else the definition."""
    if atlas.dtype != torch.float32 or code.dtype != torch.float32 or code.requires_grad:
        return _draw_coded(code, atlas, own, channels, cells, weights)
    match_threads()
    given = (cells.contiguous(), weights.contiguous())
    return _DrawCoded.apply(code.contiguous(), atlas, own, channels, *given)  # type: ignore[return-value]
