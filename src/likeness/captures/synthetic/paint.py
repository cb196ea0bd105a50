"""Albedo as a function of place on the person, so that detail does not depend on a texture."""

import numpy as np
from jaxtyping import Float, Int

from likeness.captures.synthetic.subject import Subject
from likeness.core.regions import REGION
from likeness.rigs.clay.control import EYE_CENTRE
from likeness.rigs.clay.parts import IRIS_RADIUS, PUPIL_RADIUS


def albedo(
    subject: Subject,
    at: Float[np.ndarray, "N 3"],
    region: Int[np.ndarray, " N"],
    soft: Float[np.ndarray, "N 2"],
) -> Float[np.ndarray, "N 3"]:
    """sRGB albedo at places of the resting clay head (millimetres), by region; `soft` says how
    much a place is lips and hair, so that their borders do not follow triangles."""
    out = np.empty((len(at), 3))
    skin = _skin(subject, at)
    out[:] = skin
    painters = {
        "brows": _brows, "eyes": _eyes, "irises": _eyes, "teeth": _teeth,
        "mouth": _mouth, "tongue": _tongue, "hair": _hair, "scalp": _scalp, "clothes": _clothes,
    }  # fmt: skip
    for name, painter in painters.items():
        here = region == REGION[name]
        if here.any():
            out[here] = painter(subject, at[here], skin[here])
    lips = soft[:, 0] > 0.01
    share = _step(soft[lips, :1], 0.25, 0.75)
    out[lips] += (
        share
        * (_lips(subject, at[lips], skin[lips]) - out[lips])
        * (~np.isin(region[lips], [REGION["mouth"], REGION["teeth"]])[:, None])
    )
    hair = region == REGION["hair"]
    thin = soft[hair, 1:] + 0.35 * noise(at[hair] * [1, 0.25, 0.5], 1.2, subject.seed + 16)[:, None]
    under = 0.6 * skin[hair] + 0.4 * subject.hair
    out[hair] = under + _step(thin, 0.15, 0.75) * (out[hair] - under)
    return np.clip(out, 0.01, 1)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(at: Float[np.ndarray, "N 3"], size: float, seed: int) -> Float[np.ndarray, " N"]:
    """Smooth value noise in [-1, 1] with features of about `size` millimetres."""
    p = at / size
    cell = np.floor(p).astype(np.int64)
    f = p - cell
    f = f * f * (3 - 2 * f)
    total = np.zeros(len(at))
    for corner in range(8):
        offset = np.array([corner & 1, (corner >> 1) & 1, corner >> 2])
        key = (cell + offset) @ np.array([73856093, 19349663, 83492791]) + seed * 2654435761
        key = (key ^ (key >> 13)) * 1274126177
        value = ((key ^ (key >> 16)) & 0xFFFF) / 32767.5 - 1
        weight = np.prod(np.where(offset == 1, f, 1 - f), -1)
        total += weight * value
    return total


def _skin(subject: Subject, at: np.ndarray) -> np.ndarray:
    seed = subject.seed
    melanin = 0.5 * noise(at, 38, seed) + 0.3 * noise(at, 14, seed + 1)
    fine = 0.5 * noise(at, 3.5, seed + 2) + 0.5 * noise(at, 1.6, seed + 3)
    x, y, z = np.abs(at[:, 0]), at[:, 1], at[:, 2]

    def spot(cx: float, cy: float, cz: float, r: float) -> np.ndarray:
        return np.exp(-(((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / r**2))

    blood = 0.9 * spot(45, -45, 15, 22) + 0.6 * spot(0, -38, 48, 14) + 0.3 * spot(0, -112, 15, 16)
    shadow = spot(28, -14, 14, 12) + 0.6 * spot(14, 0, 12, 9)
    tone = subject.skin * (1 + 0.06 * melanin[:, None] + 0.035 * fine[:, None])
    tone = tone * (1 - blood[:, None] * np.array([0.0, 0.10, 0.09]))
    tone = tone * (1 - 0.13 * shadow[:, None] * np.array([0.9, 1.0, 0.8]))
    spots = noise(at, 2.6, seed + 4) > 0.72
    freckled = subject.freckles * spots * np.exp(-(((y + 25) / 30) ** 2)) * (z > -10)
    tone = tone * (1 - 0.3 * freckled[:, None])
    jaw = np.exp(-(((y + 92) / 26) ** 2)) * (z > -60) * (np.hypot(x / 26, (y + 66) / 12) > 1)
    rough = 0.6 + 0.4 * noise(at, 0.9, seed + 5)
    beard = subject.stubble * jaw * rough
    return tone * (1 - 0.45 * beard[:, None]) + 0.45 * beard[:, None] * subject.hair * 0.6


def _lips(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    lines = noise(at * [2.5, 0.4, 1.0], 2.0, subject.seed + 6)
    red = skin * np.array([0.88, 0.58, 0.58])
    seam = np.exp(-(((at[:, 1] + 67.0) / 0.9) ** 2))
    return red * (1 + 0.06 * lines[:, None]) * (1 - 0.55 * seam[:, None])


def _brows(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    slant = at[:, 0] * 0.5 * np.sign(at[:, 0])
    strands = noise(np.stack([at[:, 0] * 1.6, (at[:, 1] - slant) * 0.35, 0 * slant], -1), 1.0,
                    subject.seed + 7)  # fmt: skip
    dense = np.clip(0.72 + 0.5 * strands, 0, 1)[:, None]
    return skin * (1 - dense) + subject.hair * 0.8 * dense


def _eyes(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    centre = EYE_CENTRE * np.where(at[:, :1] < 0, [-1, 1, 1], [1, 1, 1])
    away = at - centre
    radius = np.hypot(away[:, 0], away[:, 1])
    radius = np.where(away[:, 2] > 0, radius, 20)
    angle = np.arctan2(away[:, 1], away[:, 0])
    rays = np.stack([6 * np.cos(angle), 6 * np.sin(angle), 0.25 * radius], -1)
    streak = 0.6 * noise(rays, 0.7, subject.seed + 8) + 0.4 * noise(rays, 0.3, subject.seed + 9)
    inner = np.clip((radius - PUPIL_RADIUS) / (IRIS_RADIUS - PUPIL_RADIUS), 0, 1)
    iris = subject.iris * (1 + 0.45 * streak[:, None]) * (1.25 - 0.5 * inner[:, None])
    limbus = np.clip((radius - IRIS_RADIUS + 0.9) / 0.9, 0, 1)[:, None]
    iris = iris * (1 - 0.65 * limbus)
    veins = np.clip(noise(at, 2.2, subject.seed + 10) - 0.45, 0, 1)[:, None]
    white = np.array([0.90, 0.89, 0.87]) * (1 - 0.35 * veins * np.array([0.1, 1, 1]))
    edge = np.clip((radius - IRIS_RADIUS) / 0.5, 0, 1)[:, None]
    out = iris * (1 - edge) + white * edge
    pupil = np.clip((PUPIL_RADIUS + 0.25 - radius) / 0.5, 0, 1)[:, None]
    return out * (1 - pupil) + 0.015 * pupil


def _teeth(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    shade = 1 + 0.04 * noise(at, 3, subject.seed + 11)
    return np.array([0.90, 0.87, 0.79]) * shade[:, None] * _deep(at)


def _mouth(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    return np.array([0.62, 0.27, 0.26]) * _deep(at)


def _tongue(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    rough = 1 + 0.08 * noise(at, 1.5, subject.seed + 12)
    return np.array([0.75, 0.40, 0.40]) * rough[:, None] * _deep(at)


def _deep(at: np.ndarray) -> np.ndarray:
    """Little light reaches the back of the mouth."""
    return np.clip((at[:, 2:] + 18) / 38, 0.10, 0.9)


def _hair(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    around = np.arctan2(at[:, 0], at[:, 2] + 80)
    strands = np.stack([110 * around, 0.12 * at[:, 1], 0.06 * at[:, 2]], -1)
    fine = 0.55 * noise(strands, 1.0, subject.seed + 13)
    fine += 0.45 * noise(strands, 2.7, subject.seed + 14)
    return subject.hair * (1 + 0.55 * fine[:, None])


def _scalp(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    return 0.5 * skin + 0.5 * subject.hair


def _clothes(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    weave = 0.5 * np.sin(at[:, 0] * 1.3) * np.sin(at[:, 1] * 1.3) + noise(at, 9, subject.seed + 15)
    cloth = subject.cloth * (1 + 0.10 * weave[:, None])
    collar = np.clip((at[:, 1] + 162) / 3, 0, 1)[:, None]
    return cloth * (1 - collar) + np.array([0.82, 0.82, 0.84]) * collar
