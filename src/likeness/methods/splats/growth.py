"""Moving splats from where they do nothing to where the picture asks for more."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from likeness.methods.splats.avatar import SplatAvatar
from likeness.methods.splats.lining import is_lining

_FAINT = 0.02  # opacity below which a splat is not missed
_IDLE = 0.02  # of the usual pull on a colour, below which a splat is hidden
_HIDDEN = 0.05  # of all splats stay although hidden: other views may see them
_STATE = ("exp_avg", "exp_avg_sq")
_PER_SPLAT = ("offset", "rotation", "log_scale", "opacity", "colour", "follow", "gleam")
_CARRIED = ("corners", "weights", "uv", "region", "anchor", "held", "start_colour", "start_size")


@torch.no_grad()
def recycle(
    avatar: SplatAvatar,
    optimizer: Optimizer,
    error: Tensor,
    share: float,
    shine: Tensor | None = None,
) -> int:
    """Replace idle splats, and at most `share` of all, by halves of those with most `error`.

    Idle are faint ones and, where `shine` (how strongly pictures pulled at a splat's colour) is
    given, hidden ones beyond the few that are kept for other views. A chosen splat is split in two
    along its longest axis. The number of splats, and so memory and speed, never changes. Returns
    how many moved.
    """
    opacity = torch.sigmoid(avatar.opacity)
    value = opacity * (avatar.log_scale.sort(-1).values[:, 1:].sum(-1)).exp()
    limit = max(1, int(share * avatar.count))
    faint = torch.nonzero(opacity < _FAINT)[:, 0]
    faint = faint[torch.argsort(value[faint])]
    if shine is not None:
        idle = (shine < _IDLE * shine.median()) & (opacity >= _FAINT)
        hidden = torch.nonzero(idle & ~is_lining(avatar.anchor, avatar.region))[:, 0]
        hidden = hidden[torch.argsort(shine[hidden] * value[hidden].clamp(min=1e-12))]
        faint = torch.cat([faint, hidden[: max(0, len(hidden) - int(_HIDDEN * avatar.count))]])
    faint = faint[:limit]
    wanted = torch.argsort(error, descending=True)
    busy = opacity[wanted] > 5 * _FAINT
    busy &= ~torch.isin(wanted, faint)
    wanted = wanted[busy][: len(faint)]
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
