"""Where a head can be, carved out of mattes."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from likeness.core.batching import take
from likeness.core.camera import project, to_camera
from likeness.core.capture import Capture
from likeness.core.geometry import invert_rigid, transform
from likeness.core.track import Track
from likeness.ops.bend import BORDER, straightened, torso_bend

_FRAMES = 32  # that a hull is carved with
_BEFORE, _BEHIND, _BESIDE = 0.04, 0.03, 0.03  # metres around a surface that may be filled
_COLLAR, _DRESSED = -0.12, 0.12  # metres: below this height, clothes may stand out this far
_SHARE = 0.85  # of those in which a place must lie on the person: the torso moves apart


def hull(
    capture: Capture,
    track: Track,
    frames: Sequence[int],
    places: Float[Tensor, "X Y Z 3"],
    rest_torso: Float[Tensor, "4 4"] | None = None,
    surface: Float[Tensor, "V 3"] | None = None,
    border: tuple[float, float, float] = BORDER,
) -> Bool[Tensor, "X Y Z"]:
    """Vertices (in the frame of the head) that lie on the person's matte in most of the frames
    that see them. Without mattes, every vertex. With `rest_torso` (seen from the head) they are
    those of a person whose torso is at rest, and each frame's torso is straightened. One view
    says little about depth: with a `surface`, what lies far before or behind it is left out."""
    points = places.reshape(-1, 3)
    inside, seen = torch.zeros(len(points)), torch.zeros(len(points))
    chosen = frames[:: max(1, len(frames) // _FRAMES)]
    for index in chosen:
        alpha = track.maps.alpha(index) if track.maps is not None else None
        alpha = capture.pictures.alpha(index) if alpha is None else alpha
        if alpha is None:
            return torch.ones(places.shape[:3], dtype=torch.bool)
        camera = take(track.cameras, index)
        seen_points = points
        if rest_torso is not None:
            bend = torso_bend(take(track.expressions, index), rest_torso)
            seen_points = straightened(points, invert_rigid(bend), border)
        world = transform(track.expressions.world_from_head[index], seen_points)
        ahead = to_camera(camera, world)[:, 2] > 1e-3
        pixels = project(camera, world).nan_to_num(-1e9, -1e9, -1e9)
        size = pixels.new_tensor([camera.width, camera.height])
        visible = ahead & (pixels >= 0).all(-1) & (pixels < size).all(-1)
        at = pixels[visible].long()
        seen[visible] += 1
        inside[visible] += grown(torch.from_numpy(alpha) > 32)[at[:, 1], at[:, 0]].float()
    kept = (seen > 0) & (inside >= _SHARE * seen)
    if surface is not None:
        kept &= near_in_depth(points, surface)
    return spread(kept.view(places.shape[:3]))


def in_any_bend(
    still: Bool[Tensor, "X Y Z"],
    places: Float[Tensor, "X Y Z 3"],
    bends: Float[Tensor, "S 4 4"],
    border: tuple[float, float, float],
) -> Bool[Tensor, "X Y Z"]:
    """Vertices of an even grid (at `places`, in the frame of the head) where there is something
    with the torso in one of these bends; `still` is where with the torso at rest."""
    first, last = places[0, 0, 0], places[-1, -1, -1]
    steps = torch.tensor(still.shape) - 1
    kept = still.clone()
    for bend in bends:
        at = ((straightened(places, bend, border) - first) / (last - first)).clamp(0, 1)
        vertex = (at * steps + 0.5).long()
        kept |= still[tuple(vertex.unbind(-1))]
    return kept


def swung(
    occupied: Bool[Tensor, "X Y Z"], asked: Callable[[Tensor], Tensor], half: float
) -> Bool[Tensor, "X Y Z"]:
    """What is occupied in a cube from -half to half, and besides where a torso has gone that swings
    farther than in any moment probed: `asked` says where places of now are at rest."""
    axes = [torch.linspace(-half, half, n, device=occupied.device) for n in occupied.shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    return occupied | within(asked(places), occupied, half)


def near_in_depth(
    points: Float[Tensor, "N 3"], surface: Float[Tensor, "V 3"]
) -> Bool[Tensor, " N"]:
    """Points not far before the nearest part of a surface (seen along z), nor far behind it all.

    Beside the surface (hair, shoulders) the part of it at about the same height counts.
    """
    low = surface[:, 2].amin() - _BEHIND
    scale = points.new_tensor([1.0, 2.0])  # the same height counts for more than the same side
    flat = surface[:, :2] * scale
    # places behind each other share their answer, and on a grid most are
    columns, which = torch.unique(points[:, :2], dim=0, return_inverse=True)
    fronts = []
    for part in columns.split(1 << 12):
        away = torch.cdist(part * scale, flat)
        close = away < away.amin(-1, keepdim=True) + _BESIDE
        fronts.append(torch.where(close, surface[:, 2], -torch.inf).amax(-1))
    front = torch.cat(fronts)[which]
    before = torch.where(points[:, 1] < _COLLAR, _DRESSED, _BEFORE)
    return (points[:, 2] < front + before) & (points[:, 2] > low)


def grown(mask: Bool[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """The mask and a margin of about a hundredth of the picture around it."""
    margin = max(1, max(mask.shape) // 100)
    return F.max_pool2d(mask.float()[None], 2 * margin + 1, 1, margin)[0] > 0


def spread(cells: Bool[Tensor, "X Y Z"]) -> Bool[Tensor, "X Y Z"]:
    """The cells and their neighbours."""
    return F.max_pool3d(cells.float()[None, None], 3, 1, 1)[0, 0] > 0


def within(
    points: Float[Tensor, "*b 3"], cells: Bool[Tensor, "X Y Z"], half: float
) -> Bool[Tensor, "*b"]:
    """Whether points lie in kept cells of a cube from -half to half; the nearest vertex decides."""
    last = torch.tensor(cells.shape, device=points.device) - 1
    vertex = ((points / half + 1) / 2 * last + 0.5).floor()
    inside = ((vertex >= 0) & (vertex <= last)).all(-1)
    index = torch.minimum(vertex.clamp(min=0).long(), last)
    return inside & cells[tuple(index.unbind(-1))]
