"""What the eye shapes owe to the template's eyes, so that every person's lids close."""

import numpy as np
import torch
from jaxtyping import Float, Int

from likeness.rigs.clay.control import EYE_RADIUS, Control
from likeness.rigs.clay.shapes import ARKIT, lid_followers, seam_weights
from likeness.rigs.clay.subdivide import Smooth, interpolated
from likeness.rigs.lids import Lids

LIFT = 12.7  # moving skin of the lids keeps this far from the centre of the eyeball, mm
CLEAR = EYE_RADIUS + 0.45  # and resting skin this far
_SHAPES = ("eyeBlink", "eyeLookDown", "eyeLookUp", "eyeSquint", "eyeWide", "cheekSquint")
_SLACK = 0.15  # mm lids may rest nearer to the eyeball than the template's before it is moved
_SOFT = 1e-6  # of a length: rounding is no reason to lift


def lids(
    mesh: Control,
    smooth: Smooth,
    points: Float[np.ndarray, "V 3"],
    shapes: Float[np.ndarray, "E V 3"],
    balls: Int[np.ndarray, "2 B"],
    centres: Float[np.ndarray, "2 3"],
) -> Lids:
    """From the whole head, its shapes and its eyeballs at rest, in millimetres."""
    skin = len(smooth.mirror)
    index = np.array([[ARKIT.index(f"{name}{side}") for name in _SHAPES] for side in _SIDES])
    moving = (np.abs(shapes[index[0], :skin]).max((0, 2)) > 1e-3) & (points[:skin, 0] > 0)
    around = smooth.triangles[moving[smooth.triangles].any(-1)]
    left, local = np.unique(around, return_inverse=True)
    zone = np.stack([left, smooth.mirror[left]])
    basis = shapes[index[:, :, None], zone[:, None]]
    away = points[zone] - centres[:, None]
    rest = np.linalg.norm(away, axis=-1)
    outer = outside(mesh, smooth)[left]
    over = [
        np.minimum(
            np.minimum(LIFT, np.maximum(rest, CLEAR))[:, None],
            np.linalg.norm(away[:, None] + share * basis, axis=-1),
        )
        for share in Lids.SHARES
    ]
    return Lids(
        vertices=torch.from_numpy(zone),
        rest=_metres(points[zone]),
        triangles=torch.from_numpy(local.reshape(-1, 3)),
        balls=torch.from_numpy(balls),
        ball_rest=_metres(points[balls]),
        centres=_metres(centres),
        shapes=torch.from_numpy(index),
        basis=_metres(basis),
        meeting=torch.from_numpy(np.stack([_meeting(mesh, smooth, left)] * 2)).float(),
        clear=_metres(outer * (np.minimum(rest, CLEAR) - _SLACK)),
        over=_metres((1 - _SOFT) * outer * np.stack(over, 1)),
    )


_SIDES = ("Left", "Right")


def _metres(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values / 1000).float()


def outside(mesh: Control, smooth: Smooth) -> np.ndarray:
    """Skin that one sees: not what turns in behind the lids' margins."""
    inner = np.zeros(len(mesh.points))
    inner[mesh.lids[:, 1:].ravel()] = 1.0
    return np.asarray(smooth.matrix @ inner) < 0.4


def _meeting(mesh: Control, smooth: Smooth, zone: Int[np.ndarray, " Z"]) -> np.ndarray:
    """The template's upper lid comes down onto its lower one. A person's comes down onto theirs
    when each point of it gives up its own displacement for that of where it lands."""
    follow = smooth.matrix @ interpolated(smooth, lid_followers(), 4)
    owed = seam_weights()
    place = np.full(len(smooth.mirror), -1)
    place[zone] = np.arange(len(zone))
    out = np.zeros((len(owed), len(zone)))
    for row, weights in enumerate(owed):
        for vertex, weight in weights.items():
            assert place[vertex] >= 0
            out[row, place[vertex]] += weight
    return follow[zone] @ out
