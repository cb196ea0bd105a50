"""Who a synthetic person is: identity, colouring, hair, clothes, light, backdrop, from a seed."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from likeness.captures.synthetic.hair import grow
from likeness.core.regions import REGION
from likeness.core.rig import Identity
from likeness.ops.shading import vertex_normals
from likeness.rigs.clay import clay

_TONES = np.array(
    [[0.93, 0.76, 0.66], [0.87, 0.67, 0.55], [0.76, 0.55, 0.42], [0.60, 0.41, 0.30],
     [0.42, 0.28, 0.20]]
)  # fmt: skip
_HAIR = np.array(
    [[0.07, 0.05, 0.04], [0.16, 0.10, 0.07], [0.30, 0.19, 0.11], [0.52, 0.38, 0.22],
     [0.40, 0.17, 0.08], [0.55, 0.54, 0.53]]
)  # fmt: skip
_IRIS = np.array([[0.25, 0.15, 0.08], [0.36, 0.25, 0.13], [0.30, 0.42, 0.52], [0.33, 0.40, 0.28]])
_CLOTH = np.array(
    [[0.15, 0.20, 0.35], [0.45, 0.12, 0.12], [0.20, 0.30, 0.22], [0.6, 0.6, 0.62], [0.1, 0.1, 0.11]]
)


@dataclass(frozen=True, eq=False)
class Subject:
    """A person at rest: one mesh of head, hair and bust, with what to paint and how to move it.

    `rest` are metres in the frame of the head; `part` is 0 head, 1 hair, 2 bust; `follow` how much
    a vertex goes with the head rather than the torso; `soft` how much it is lips, how much
    of the sky it sees, and whether it is hair that hangs. `temples` is how far the hairline recedes
    there (mm).
    """

    seed: int
    identity: Identity
    rest: Float[Tensor, "V 3"]
    triangles: Tensor
    region: Tensor
    part: Tensor
    follow: Float[Tensor, " V"]
    soft: Float[Tensor, "V 3"]
    hair_from: Tensor
    hair_lift: Float[Tensor, "H 3"]
    skin: Float[np.ndarray, " 3"]
    hair: Float[np.ndarray, " 3"]
    iris: Float[np.ndarray, " 3"]
    cloth: Float[np.ndarray, " 3"]
    freckles: float
    stubble: float
    temples: float
    light: Float[np.ndarray, "9 3"]
    lamp: Float[np.ndarray, " 3"]
    backdrop: Float[np.ndarray, "2 3"]


def draw_subject(seed: int, identity: Identity | None = None) -> Subject:
    """The person of a seed; with `identity`, its colours and hair on that head."""
    rng = np.random.default_rng([seed, 1])
    rig = clay()
    directions = torch.from_numpy(0.8 * rng.standard_normal(len(rig.identity_names))).float()
    identity = identity or Identity("clay", directions.clamp(-2, 2))
    head = rig.shaped(identity)
    normals = vertex_normals(head, rig.triangles)
    hair_from, hair_faces, lift = grow(head, normals, rng)
    bust, bust_faces, bust_follow = _bust(head)
    count = len(head)
    triangles = torch.cat([rig.triangles, hair_faces + count, bust_faces + count + len(hair_from)])
    tri_region = rig.regions[rig.triangles].mode(-1).values
    region = torch.cat(
        [
            tri_region,
            torch.full((len(hair_faces),), REGION["hair"]),
            torch.full((len(bust_faces),), REGION["clothes"]),
        ]
    )
    part = torch.cat(
        [torch.zeros(count), torch.ones(len(hair_from)), torch.full((len(bust),), 2.0)]
    ).long()
    down = ((head[:, 1] + 0.195) / 0.075).clamp(0, 1)
    follow = torch.cat([down * down * (3 - 2 * down), torch.ones(len(hair_from)), bust_follow])
    lips = (rig.regions == REGION["lips"]).float()
    nothing = torch.zeros(len(hair_from) + len(bust))
    soft = torch.stack(
        [
            torch.cat([lips, nothing]),
            torch.cat([_open(head, normals, rig.triangles), 1 + nothing]),
            torch.cat([torch.zeros(count), lift.norm(dim=-1) > 0.04, torch.zeros(len(bust))]),
        ],
        -1,
    )
    return Subject(
        seed,
        identity,
        torch.cat([head, head[hair_from] + lift, bust]),
        triangles,
        region,
        part,
        follow,
        soft,
        hair_from,
        lift,
        _between(_TONES, rng),
        _between(_HAIR[:5], rng) if rng.random() < 0.9 else _HAIR[5],
        _IRIS[rng.integers(len(_IRIS))] * rng.uniform(0.8, 1.2),
        _CLOTH[rng.integers(len(_CLOTH))],
        float(rng.random() ** 2),
        float(rng.random() < 0.4) * rng.uniform(0.2, 0.8),
        rng.uniform(0, 9),
        _harmonics(rng),
        _unit(np.array([rng.uniform(-1, 1), rng.uniform(0.2, 1.0), rng.uniform(0.6, 1.2)])),
        np.stack([rng.uniform(0.15, 0.7, 3), rng.uniform(0.15, 0.7, 3)]),
    )


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _between(table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    at = rng.uniform(0, len(table) - 1)
    low = int(at)
    high = min(low + 1, len(table) - 1)
    return table[low] + (at - low) * (table[high] - table[low])


def _harmonics(rng: np.random.Generator) -> np.ndarray:
    """Soft surrounding light, brighter from above, a little coloured."""
    light = np.zeros((9, 3))
    light[0] = rng.uniform(0.9, 1.3)
    light[1] = rng.uniform(0.1, 0.4)  # y: from above
    light[2] = rng.uniform(0.0, 0.3)
    light[3] = rng.uniform(-0.25, 0.25)
    light[4:] = 0.05 * rng.standard_normal((5, 1))
    return light * (1 + 0.05 * rng.standard_normal((1, 3)))


def _open(head: Tensor, normals: Tensor, triangles: Tensor) -> Tensor:
    """How much of the sky a vertex sees, from how far it lies under its smoothed surroundings."""
    a, b, c = triangles.T
    rows, columns = torch.cat([a, b, c, b, c, a]), torch.cat([b, c, a, a, b, c])
    count = torch.zeros(len(head)).index_add(0, rows, torch.ones(len(rows))).clamp(min=1)
    smooth, least = head, torch.ones(len(head))
    for _ in range(24):
        mean = torch.zeros_like(head).index_add(0, rows, smooth[columns]) / count[:, None]
        smooth = mean
        buried = ((smooth - head) * normals).sum(-1)
        least = torch.minimum(least, 1 - (120 * buried).clamp(0, 0.5))
    return torch.zeros(len(head)).index_add(0, rows, least[columns]) / count


def _bust(head: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shoulders: rings from inside the collar out and down. They ride on the torso."""
    columns = 56
    turn = 2 * np.pi * np.arange(columns) / columns
    collar = head[head[:, 1] < head[:, 1].quantile(0.02)].mean(0).numpy()
    side, front = np.cos(turn), np.sin(turn)
    rows = []
    for y, wide, deep, back in (
        (-0.128, 0.061, 0.064, 0.0), (-0.140, 0.068, 0.071, 0.0), (-0.152, 0.072, 0.075, 0.0),
        (-0.165, 0.090, 0.080, 0.0), (-0.185, 0.130, 0.090, 0.005), (-0.205, 0.165, 0.100, 0.01),
        (-0.235, 0.195, 0.112, 0.015), (-0.280, 0.212, 0.122, 0.02), (-0.36, 0.215, 0.130, 0.02),
        (-0.46, 0.205, 0.132, 0.02),
    ):  # fmt: skip
        sunk = 0.020 * np.clip((y + 0.225) / 0.055, 0, 1)  # a neckline, deepest at the collar
        dip = -sunk * np.clip(front, 0, 1) ** 2
        rows.append(
            np.stack(
                [collar[0] + wide * side, y + dip + 0 * side, -0.075 - back + deep * front], -1
            )
        )
    points = torch.from_numpy(np.concatenate(rows)).float()
    r, c = np.meshgrid(np.arange(len(rows) - 1), np.arange(columns), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    d, e = a + columns, b + columns
    faces = np.concatenate(
        [np.stack([a, b, d], -1).reshape(-1, 3), np.stack([b, e, d], -1).reshape(-1, 3)]
    )
    return points, torch.from_numpy(faces.astype(np.int64)), torch.zeros(len(points))
