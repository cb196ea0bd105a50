"""Hair: a shell that stands off the scalp, and where hair and brows grow on the resting head.

Where hair grows is a function of place, so that neither hairline nor brows follow triangles.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from likeness.captures.synthetic.noise import noise
from likeness.core.regions import REGION
from likeness.rigs.clay import clay

_UPPER_BROW = (336, 296, 334, 293, 300)  # MediaPipe's points, from the nose outwards
_LOWER_BROW = (285, 295, 282, 283, 276)
_FADE = 0.022  # metres from the shell's border to its full height


def grow(
    head: Float[Tensor, "V 3"], normals: Float[Tensor, "V 3"], rng: np.random.Generator
) -> tuple[Int[Tensor, " H"], Int[Tensor, "F 3"], Float[Tensor, "H 3"]]:
    """Hair for a head: the vertices it stands on, its faces, and how it stands off them.

    Short hair is a shell; for half of the people a curtain hangs from it behind the ears.
    """
    used, faces, lift = _shell(head, normals, rng)
    if rng.random() < 0.5:
        return used, faces, lift
    root, more, away = _curtain(head, float(rng.uniform(0.07, 0.19)), rng)
    return (
        torch.cat([used, root]),
        torch.cat([faces, more + len(used)]),
        torch.cat([lift, away]),
    )


def _shell(
    head: Tensor, normals: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    rig = clay()
    scalp = rig.regions == REGION["scalp"]
    faces = rig.triangles[scalp[rig.triangles].sum(-1) >= 2]
    used = torch.unique(faces)
    new = torch.full((len(head),), -1)
    new[used] = torch.arange(len(used))
    around = torch.bincount(rig.triangles.flatten(), minlength=len(head))
    edge = (torch.bincount(faces.flatten(), minlength=len(head)) < around)[used]
    here = rig.template[used]
    top = ((here[:, 1] - 0.0) / 0.10).clamp(0, 1)
    front = (here[:, 2] / 0.05 + 1).clamp(0, 1)
    length = float(rng.uniform(0.005, 0.016))
    height = length * (0.45 + top * (0.75 + float(rng.uniform(0, 0.9)) * front))
    parting = float(rng.choice([-1, 1])) * float(rng.uniform(0.012, 0.035))
    furrow = torch.exp(-(((here[:, 0] - parting) / 0.006) ** 2)) * top * (here[:, 2] > -0.09)
    height = height * (1 - float(rng.uniform(0, 0.6)) * furrow)
    wave = 0.0012 * torch.sin(150 * here[:, 0] + 90 * here[:, 2] + float(rng.uniform(0, 6)))
    distance = torch.cdist(here, here[edge]).amin(-1)
    rise = (distance / _FADE).clamp(0, 1)
    rise = rise * rise * (3 - 2 * rise)
    reach = torch.where(edge, torch.full_like(rise, -0.001), 0.0008 + rise * (height + wave))
    return used, new[faces], reach[:, None] * normals[used]


def _curtain(
    head: Tensor, length: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Hair that hangs around the back of the head, from ear to ear, closing towards the neck."""
    rows, columns = 18, 60
    turn = np.linspace(np.radians(76), np.radians(284), columns)  # from the face, around the back
    down = np.linspace(0, 1, rows)[:, None]
    dome = np.clip(down / 0.35, 0, 1)
    dome = np.sqrt(1 - (1 - dome) ** 2)  # from the crown outwards, then down
    flare = float(rng.uniform(-0.006, 0.012)) * np.clip(down - 0.35, 0, 1)
    lock = 0.0016 * np.sin(17 * turn + 3 * down) + 0.0012 * np.sin(31 * turn - 2 * down)
    wide = 0.056 + 0.036 * dome + flare + lock
    deep = 0.066 + 0.034 * dome - 0.02 * np.clip(down - 0.5, 0, 1) + lock
    ends = 0.006 * np.sin(9 * turn + rng.uniform(0, 6)) * down
    x = wide * np.sin(turn)
    z = -0.080 + deep * np.cos(turn)
    y = 0.085 - down * (0.115 + length) + ends
    at = torch.from_numpy(np.stack([x, y, z], -1).reshape(-1, 3)).float()
    root = int(clay().template[:, 2].argmin())
    extent = head.amax(0) - head.amin(0)
    usual = clay().template.amax(0) - clay().template.amin(0)
    size = extent / usual
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = r * columns + c
    faces = np.concatenate(
        [np.stack([a, a + 1, a + columns], -1).reshape(-1, 3),
         np.stack([a + 1, a + columns + 1, a + columns], -1).reshape(-1, 3)]
    )  # fmt: skip
    roots = torch.full((len(at),), root)
    return roots, torch.from_numpy(faces.astype(np.int64)), size * at - head[root]


def hairiness(at: Float[np.ndarray, "N 3"], seed: int, raised: float) -> Float[np.ndarray, " N"]:
    """How much of a place (millimetres) hair covers: 0 on the face, 1 on the scalp.

    `raised` lifts the hairline over the temples, in millimetres.
    """
    around = np.degrees(np.arctan2(at[:, 0], at[:, 2] + 80))
    angles, line = _hairline()
    border = np.interp(around, angles, line, period=360)
    border = border + raised * np.exp(-(((np.abs(around) - 32) / 16) ** 2))
    strands = np.stack([1.6 * around, 0.10 * at[:, 1], 0 * around], -1)
    ragged = 3.0 * noise(strands, 1.1, seed) + 2.0 * noise(at, 9.0, seed + 1)
    return _step(at[:, 1] - border + ragged, 0.0, 9.0)


def browed(at: Float[np.ndarray, "N 3"], seed: int) -> Float[np.ndarray, " N"]:
    """How much of a place (millimetres) the strands of a brow cover."""
    x, y = np.abs(at[:, 0]), at[:, 1]
    places, middle, half = _brow()
    centre = np.interp(x, places, middle)
    thick = np.interp(x, places, half)
    within = _step(thick + 1.1 - np.abs(y - centre), 0.0, 1.8)
    within = within * _step(x, places[0] - 3, places[0] + 4) * _step(-x, -places[-1] - 3, -52.0)
    within = within * (at[:, 2] > -8)
    lean = np.stack([0.9 * x - 0.9 * (y - centre), 0.30 * (y - centre), np.sign(at[:, 0])], -1)
    return np.clip(within * (0.78 + 0.55 * noise(lean, 0.9, seed)), 0, 1)


@lru_cache(maxsize=1)
def _hairline() -> tuple[np.ndarray, np.ndarray]:
    """Height of the scalp's border in every direction around the head."""
    rig = clay()
    at = 1000 * rig.template[rig.regions == REGION["scalp"]].numpy()
    around = np.degrees(np.arctan2(at[:, 0], at[:, 2] + 80))
    angles = np.arange(-180, 180, 3.0)
    apart = np.abs((around[None] - angles[:, None] + 180) % 360 - 180)
    lowest = np.where(apart < 8, at[None, :, 1], np.inf).min(1)
    return angles, gaussian_filter1d(lowest, 2.0, mode="wrap")


@lru_cache(maxsize=1)
def _brow() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points = 1000 * clay().template.numpy()
    upper, lower = points[list(_UPPER_BROW)], points[list(_LOWER_BROW)]
    middle = 0.5 * (upper + lower)
    return middle[:, 0], middle[:, 1], 0.5 * np.abs(upper - lower)[:, 1].clip(1.0, 3.2)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
