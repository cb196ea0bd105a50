"""Moving splats from where they do nothing to where the picture asks for more."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from likeness.methods.splats.avatar import SplatAvatar

_FAINT = 0.02  # opacity below which a splat is not missed
_STATE = ("exp_avg", "exp_avg_sq")
_PER_SPLAT = ("offset", "rotation", "log_scale", "opacity", "colour", "follow")
_CARRIED = ("corners", "weights", "uv", "region")


@torch.no_grad()
def recycle(
    avatar: SplatAvatar,
    optimizer: Optimizer,
    error: Tensor,
    share: float,
) -> int:
    """Replace faint splats, and at most `share` of all, by halves of those with most `error`.

    A chosen splat is split in two along its longest axis. The number of splats, and so memory and
    speed, never changes. Returns how many moved.
    """
    opacity = torch.sigmoid(avatar.opacity)
    value = opacity * (avatar.log_scale.sort(-1).values[:, 1:].sum(-1)).exp()
    limit = max(1, int(share * avatar.count))
    faint = torch.nonzero(opacity < _FAINT)[:, 0]
    faint = faint[torch.argsort(value[faint])][:limit]
    wanted = torch.argsort(error, descending=True)
    wanted = wanted[opacity[wanted] > 5 * _FAINT][: len(faint)]
    faint = faint[: len(wanted)]
    if len(faint) == 0:
        return 0
    for name in _CARRIED:
        getattr(avatar, name)[faint] = getattr(avatar, name)[wanted]
    for name in _PER_SPLAT:
        parameter = getattr(avatar, name)
        parameter[faint] = parameter[wanted]
        _forget(optimizer, parameter, torch.cat([faint, wanted]))
    _part(avatar, wanted, faint)
    avatar.deal()
    return len(faint)


def _part(avatar: SplatAvatar, first: Tensor, second: Tensor) -> None:
    """Move two equal splats half a deviation apart along their longest axis, and shorten it."""
    longest = avatar.log_scale[first].argmax(-1, keepdim=True)
    reach = avatar.log_scale[first].gather(-1, longest).exp()
    axes = avatar.axes(first)
    direction = axes.gather(-1, longest[:, None].expand(-1, 3, 1))[..., 0]
    step = 0.6 * reach * direction
    avatar.offset[first] += step
    avatar.offset[second] -= step
    shorter = avatar.log_scale[first].scatter_add(-1, longest, torch.full_like(reach, -0.5))
    avatar.log_scale[first] = shorter
    avatar.log_scale[second] = shorter


def _forget(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> None:
    state = optimizer.state.get(parameter, {})
    for name in _STATE:
        if name in state:
            state[name][rows] = 0
