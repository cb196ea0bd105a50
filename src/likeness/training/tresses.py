"""Hair that hangs beside a head: frames show that there is some, and an ear how far back."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from likeness.core.batching import take
from likeness.core.camera import project, to_camera
from likeness.core.geometry import transform
from likeness.core.regions import REGION
from likeness.core.rig import Rig
from likeness.core.track import Track

_FRAMES = 12
_SHARE = 0.5  # of frames that must show hair at a place
_DEEP = 0.03  # metres behind where it begins in which its width is looked for, a cell at least
_WIDE = 2  # cells that hair beside a head must be wide to count
_BACK = 0.02  # metres behind the head that it reaches
_BARE = 0.15  # share of an ear's outer vertices that frames show as ear
_BEHIND = 0.5  # share of an ear that lies behind where hair begins: it stands off the head


@torch.no_grad()
def tresses(
    track: Track,
    frames: Sequence[int],
    places: Float[Tensor, "X Y Z 3"],
    kept: Bool[Tensor, "X Y Z"],
    rig: Rig | None,
) -> Float[Tensor, "X Y Z"] | None:
    """How far inside of hanging hair places are, in metres, below the top of the ears, at heights
    and on sides where most frames show some beside the head: behind an ear that they show bare,
    else from its front on, closing around the back. NaN elsewhere; None where no rig or no labels
    say."""
    if rig is None or track.maps is None:
        return None
    rest = rig.pose(track.identity, rig.neutral()).vertices
    ears = rest[rig.regions == REGION["ears"]]
    if not len(ears):
        return None
    rows = kept.flatten().nonzero()[:, 0]
    points = torch.cat([places.reshape(-1, 3)[rows], ears])
    hair, ear, looked = torch.zeros(len(points)), torch.zeros(len(points)), 0
    for index in frames[:: max(1, len(frames) // _FRAMES)]:
        labels = track.maps.regions(index)
        if labels is None:
            return None
        camera = take(track.cameras, index)
        world = transform(track.expressions.world_from_head[index], points)
        at = project(camera, world).nan_to_num(-1, -1, -1)
        size = at.new_tensor([camera.width, camera.height])
        inside = ((at >= 0) & (at < size)).all(-1) & (to_camera(camera, world)[:, 2] > 0)
        at = torch.where(inside[:, None], at, 0).long()
        label = torch.from_numpy(labels)[at[:, 1], at[:, 0]].long()
        hair += (inside & (label == REGION["hair"])).float()
        ear += (inside & (label == REGION["ears"])).float()
        looked += 1
    shown = torch.zeros(kept.numel(), dtype=torch.bool)
    shown[rows] = hair[: len(rows)] > _SHARE * looked
    shown, bare = shown.view(kept.shape), ear[len(rows) :] / looked
    x, y, z = places.unbind(-1)
    back = float(rest[rig.regions == REGION["scalp"], 2].amin()) - _BACK
    deep, cell = torch.full(kept.shape, torch.nan), float(z[0, 0, 1] - z[0, 0, 0])
    for side, own in ((x < 0, ears[:, 0] < 0), (x >= 0, ears[:, 0] >= 0)):
        if not bool(own.any()):
            continue
        begins = _BEHIND if float(bare[own].mean()) > _BARE else 1.0
        front = float(ears[own, 2].quantile(begins))
        # It is widest where it begins: farther back, the same pixels are of places farther out.
        widest = (z < front) & (z >= front - max(_DEEP, cell))
        across = (shown & side & widest).any(2)  # columns that show hair
        hanging = side & (y < ears[own, 1].amax()) & (across.sum(0) >= _WIDE)[None, :, None]
        half = torch.where(across, x[..., 0].abs(), 0).amax(0)[None, :, None]
        half = half.clamp(min=1e-3).expand(kept.shape)[hanging]
        behind = front - z[hanging]
        away = torch.hypot(x[hanging] / half, behind.clamp(min=0) / max(front - back, 1e-3))
        deep[hanging] = torch.minimum(behind, (1 - away) * half)
    return deep
