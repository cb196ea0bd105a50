"""One UV square for the whole head: skin as a disc, everything else in the corners and edges."""

import numpy as np
from jaxtyping import Float, Int

from likeness.rigs.clay.control import RINGS, Control, turns
from likeness.rigs.clay.measures import OVAL

_DISC = np.array([0.5, 0.5])
_REACH = 0.47  # of the collar
_FACE = 0.62  # of the disc's radius that the face takes

# Where parts go: left, bottom, width, height in the square.
TILES: dict[str, tuple[float, float, float, float]] = {
    "left_eye": (0.005, 0.865, 0.13, 0.13),
    "right_eye": (0.865, 0.865, 0.13, 0.13),
    "left_ear": (0.0, 0.0, 0.16, 0.08),
    "right_ear": (0.84, 0.0, 0.16, 0.08),
    "upper_teeth": (0.0, 0.085, 0.10, 0.035),
    "lower_teeth": (0.90, 0.085, 0.10, 0.035),
    "tongue": (0.005, 0.825, 0.06, 0.035),
}
_BAG = (0.962, 0.825, 0.03)  # centre and radius of the mouth bag's own small disc
_LIDS = ((0.10, 0.835, 0.022), (0.90, 0.835, 0.022))


def unroll(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 2"]:
    """The face on a cylinder about a vertical axis behind it (mm)."""
    return np.stack([75 * np.arctan2(points[:, 0], points[:, 2] + 75), points[:, 1]], -1)


def control_uv(mesh: Control) -> Float[np.ndarray, "N 2"]:
    """Places of the control mesh's skin: the unrolled face, and the annulus around it."""
    uv = np.full((len(mesh.points), 2), np.nan)
    flat = unroll(mesh.points[:468]) - [0.0, -28.0]
    rim = flat[list(OVAL)]
    reach = np.linalg.norm(rim, axis=-1)
    angle = np.arctan2(rim[:, 1], rim[:, 0])
    order = np.argsort(angle)
    around = np.concatenate([angle[order] - 2 * np.pi, angle[order], angle[order] + 2 * np.pi])
    radius = np.tile(reach[order], 3)
    own = np.interp(np.arctan2(flat[:, 1], flat[:, 0]), around, radius)
    scale = (_FACE * _REACH) / own  # the oval becomes a circle
    uv[:468] = _DISC + flat * scale[:, None]
    way = rim / reach[:, None]
    line = np.concatenate([mesh.points[list(OVAL)][None], mesh.points[mesh.annulus]])
    length = np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=-1), 0)
    share = (length / length[-1]) ** 0.8
    for ring in range(RINGS):
        r = _REACH * (_FACE + (1 - _FACE) * share[ring])
        uv[mesh.annulus[ring]] = _DISC + way * r[:, None]
    uv = unfolded(uv, mesh.triangles[np.isfinite(uv[mesh.triangles]).all((1, 2))])
    for side, (x, y, size) in enumerate(_LIDS):
        turn = 2 * np.pi * np.arange(16) / 16 * (-1 if side == 0 else 1)
        for row in range(3):
            r = size * (1 - 0.3 * (row + 1))
            uv[mesh.lids[side, row]] = np.stack([x + r * np.cos(turn), y + r * np.sin(turn)], -1)
    turn = 2 * np.pi * np.arange(20) / 20
    for row in range(6):
        r = _BAG[2] * (1 - (row + 1) / 7.5)
        uv[mesh.bag[row]] = np.stack([_BAG[0] + r * np.cos(turn), _BAG[1] + r * np.sin(turn)], -1)
    uv[mesh.bag_end] = _BAG[:2]
    return uv


def unfolded(
    uv: Float[np.ndarray, "N 2"], triangles: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "N 2"]:
    """Corners of triangles that lie on their backs are drawn to their neighbours until none do.

    The cylinder sees the inner corners of the eyes edge on.
    """
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    sides = np.concatenate([sides, sides[:, ::-1]])
    uv = uv.copy()
    for _ in range(200):
        area = turns(uv, triangles)
        folded = area < 0.002 * np.median(area)
        if not folded.any():
            break
        drawn = np.unique(triangles[folded])
        mean = np.zeros_like(uv)
        used = np.isin(sides[:, 0], drawn)
        np.add.at(mean, sides[used, 0], uv[sides[used, 1]])
        count = np.bincount(sides[used, 0], minlength=len(uv))[:, None]
        uv[drawn] = 0.5 * (uv[drawn] + mean[drawn] / count[drawn])
    return uv


def island_rims(mesh: Control) -> dict[int, Float[np.ndarray, " 2"]]:
    """Where margin vertices lie in the islands of lids and bag, cut from the disc there."""
    from likeness.rigs.clay.measures import EYE, MOUTH

    rims: dict[int, np.ndarray] = {}
    for side, (x, y, size) in enumerate(_LIDS):
        for k, v in enumerate(EYE[0]):
            turn = 2 * np.pi * k / 16 * (-1 if side == 0 else 1)
            vertex = v if side == 0 else int(mesh.mirror[v])
            rims[vertex] = np.array([x + size * np.cos(turn), y + size * np.sin(turn)])
    for k, v in enumerate(MOUTH[0]):
        turn = 2 * np.pi * k / 20
        rims[v] = np.array([_BAG[0] + _BAG[2] * np.cos(turn), _BAG[1] + _BAG[2] * np.sin(turn)])
    return rims


def tile(
    name: str, uv: Float[np.ndarray, "N 2"], triangles: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "N 2"]:
    """A part's own square placed into the atlas, its surface seen from outside as the skin's is."""
    left, bottom, width, height = TILES[name]
    if turns(uv, triangles).sum() < 0:
        uv = np.stack([1 - uv[:, 0], uv[:, 1]], -1)
    return np.array([left, bottom]) + uv * [width, height]
