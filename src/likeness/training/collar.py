"""Where what goes with the torso begins: at the edge of the clothes, which cameras see."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.geometry import invert_rigid, transform
from likeness.core.regions import REGION
from likeness.core.track import Track
from likeness.ops.bend import BORDER, torso_bend

_FRAMES = 16
_SLOPE = 0.16  # collars rise to the back
_MIDDLE = -0.05  # as in ops.bend
_SKIN = 0.02  # metres above a collar in which skin goes over from the head to the torso
_CLOTH = 0.01  # metres that cloth lies before the skin
_CLOSE = 0.01  # metres beside a vertex that say where the neck's front is


def border(
    track: Track,
    frames: Sequence[int],
    rest_torso: Float[Tensor, "4 4"],
    surface: Float[Tensor, "V 3"] | None,
) -> tuple[float, float, float]:
    """Heights for `ops.bend`: clothes all go with the torso. Found where places before the neck,
    moving with the torso, are labelled clothes in most frames; without labels, what is usual."""
    if surface is None or track.maps is None:
        return BORDER
    y = torch.arange(-0.09, -0.20, -0.003)
    x = torch.linspace(-0.03, 0.03, 7)
    flat = torch.cartesian_prod(y, x).flip(-1)
    away = torch.cdist(flat, surface[:, :2])
    close = away < torch.maximum(away.amin(-1, keepdim=True), torch.tensor(_CLOSE))
    front = torch.where(close, surface[:, 2], -torch.inf).amax(-1)
    places = torch.cat([flat, front[:, None] + _CLOTH], -1)
    found, looked = torch.zeros(len(places)), 0
    for index in frames[:: max(1, len(frames) // _FRAMES)]:
        regions = track.maps.regions(index)
        if regions is None:
            return BORDER
        expression, camera = take(track.expressions, index), take(track.cameras, index)
        now = transform(invert_rigid(torso_bend(expression, rest_torso)), places)
        at = project(camera, transform(expression.world_from_head, now)).nan_to_num().long()
        height, width = regions.shape
        inside = (at >= 0).all(-1) & (at[:, 0] < width) & (at[:, 1] < height)
        label = torch.from_numpy(regions).long()[
            at[:, 1].clamp(0, height - 1), at[:, 0].clamp(0, width - 1)
        ]
        found += (inside & (label == REGION["clothes"])).float()
        looked += 1
    share = (found / max(looked, 1)).view(len(y), len(x)).mean(1)
    rows = (share > 0.5).nonzero()[:, 0]
    if not len(rows) or int(rows[0]) == 0:
        return BORDER
    row = int(rows[0])
    edge = float(y[row] + _SLOPE * (front.view(len(y), len(x))[row].mean() + _CLOTH - _MIDDLE))
    return edge + _SKIN, edge, _SLOPE
