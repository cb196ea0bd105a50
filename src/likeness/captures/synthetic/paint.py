"""Albedo as a function of place on the person, so that detail does not depend on a texture."""

import numpy as np
from jaxtyping import Float, Int

from likeness.captures.synthetic.hair import browed, hairiness
from likeness.captures.synthetic.noise import noise
from likeness.captures.synthetic.subject import Subject
from likeness.core.regions import REGION
from likeness.rigs.clay.control import EYE_CENTRE, EYE_RADIUS
from likeness.rigs.clay.parts import IRIS_RADIUS, PUPIL_RADIUS

_FACE = [REGION[name] for name in ("skin", "lips", "brows")]


def albedo(
    subject: Subject,
    at: Float[np.ndarray, "N 3"],
    region: Int[np.ndarray, " N"],
    soft: Float[np.ndarray, "N 3"],
) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, " N"]]:
    """sRGB albedo at places of the resting clay head (millimetres), and their regions with the
    borders of lips, brows and hair where they are painted rather than where triangles end."""
    face = np.isin(region, _FACE)
    shell = np.isin(region, [REGION["hair"], REGION["scalp"]])
    region = np.where(face | shell, REGION["skin"], region)
    out = np.empty((len(at), 3))
    skin = face | shell | np.isin(region, [REGION["ears"], REGION["neck"]])
    out[skin] = _skin(subject, at[skin])
    for name, painter in _PAINTERS.items():
        here = region == REGION[name]
        if here.any():
            out[here] = painter(subject, at[here])

    def over(where: np.ndarray, share: np.ndarray, colour: np.ndarray, name: str) -> None:
        out[where] += share[:, None] * (colour - out[where])
        region[where] = np.where(share > 0.5, REGION[name], region[where])

    lips = face & (soft[:, 0] > 0.01)
    over(lips, _step(soft[lips, 0], 0.2, 0.8), _lips(subject, at[lips], out[lips]), "lips")
    brows = face & (at[:, 1] > 4) & (at[:, 1] < 30)
    dark = np.broadcast_to(0.75 * subject.hair, out[brows].shape)
    over(brows, 0.92 * browed(at[brows], subject.seed + 7), dark, "brows")
    hairy = shell | (face & (at[:, 1] > 10))
    grown = hairiness(at[hairy], subject.seed + 16, subject.temples)
    grown = np.maximum(grown, _step(soft[hairy, 2], 0.0, 0.3))
    over(hairy, grown, _hair(subject, at[hairy]), "hair")
    lids = face & (at[:, 1] > 0) & (at[:, 1] < 12)
    over(lids, 0.8 * _lash(at[lids]), np.broadcast_to(0.3 * subject.hair, out[lids].shape), "skin")
    return np.clip(out, 0.01, 1), region


def _lash(at: np.ndarray) -> np.ndarray:
    """Where upper lashes leave the lid: skin as near to the eyeball as the lid's rim is."""
    away = at * np.where(at[:, :1] < 0, [-1, 1, 1], [1, 1, 1]) - EYE_CENTRE
    return _step(EYE_RADIUS + 1.9 - np.linalg.norm(away, axis=-1), 0.0, 0.7)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


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
    tone = tone * (1 - 0.08 * shadow[:, None] * np.array([0.9, 1.0, 0.8]))
    spots = noise(at, 2.6, seed + 4) > 0.72
    freckled = subject.freckles * spots * np.exp(-(((y + 25) / 30) ** 2)) * (z > -10)
    tone = tone * (1 - 0.3 * freckled[:, None])
    jaw = np.exp(-(((y + 92) / 26) ** 2)) * (z > -60) * (np.hypot(x / 26, (y + 66) / 12) > 1)
    rough = 0.6 + 0.4 * noise(at, 0.9, seed + 5)
    beard = subject.stubble * jaw * rough
    return tone * (1 - 0.45 * beard[:, None]) + 0.45 * beard[:, None] * subject.hair * 0.6


def _lips(subject: Subject, at: np.ndarray, skin: np.ndarray) -> np.ndarray:
    lines = noise(at * [2.5, 0.4, 1.0], 2.0, subject.seed + 6)
    red = skin * np.array([0.90, 0.66, 0.66])
    seam = np.exp(-(((at[:, 1] + 67.0) / 0.9) ** 2))
    return red * (1 + 0.06 * lines[:, None]) * (1 - 0.55 * seam[:, None])


def _eyes(subject: Subject, at: np.ndarray) -> np.ndarray:
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
    white = np.array([0.82, 0.80, 0.78]) * (1 - 0.35 * veins * np.array([0.1, 1, 1]))
    edge = np.clip((radius - IRIS_RADIUS) / 0.5, 0, 1)[:, None]
    out = iris * (1 - edge) + white * edge
    pupil = np.clip((PUPIL_RADIUS + 0.25 - radius) / 0.5, 0, 1)[:, None]
    shade = 1 - 0.45 * _step(away[:, 1:2], 1.5, 5.5)  # of the upper lid
    return (out * (1 - pupil) + 0.015 * pupil) * shade


def _teeth(subject: Subject, at: np.ndarray) -> np.ndarray:
    shade = 1 + 0.04 * noise(at, 3, subject.seed + 11)
    return np.array([0.90, 0.87, 0.79]) * shade[:, None] * _deep(at)


def _mouth(subject: Subject, at: np.ndarray) -> np.ndarray:
    return np.array([0.62, 0.27, 0.26]) * _deep(at)


def _tongue(subject: Subject, at: np.ndarray) -> np.ndarray:
    rough = 1 + 0.08 * noise(at, 1.5, subject.seed + 12)
    return np.array([0.75, 0.40, 0.40]) * rough[:, None] * _deep(at)


def _deep(at: np.ndarray) -> np.ndarray:
    """Little light reaches the back of the mouth."""
    return np.clip((at[:, 2:] + 18) / 38, 0.10, 0.9)


def _hair(subject: Subject, at: np.ndarray) -> np.ndarray:
    around = np.arctan2(at[:, 0], at[:, 2] + 80)
    strands = np.stack([110 * around, 0.12 * at[:, 1], 0.06 * at[:, 2]], -1)
    fine = 0.55 * noise(strands, 1.0, subject.seed + 13)
    fine += 0.45 * noise(strands, 2.7, subject.seed + 14)
    return subject.hair * (1 + 0.55 * fine[:, None])


def _clothes(subject: Subject, at: np.ndarray) -> np.ndarray:
    weave = np.sin(at[:, 0] * 1.3) * np.sin(at[:, 1] * 1.3) + 0.5 * noise(at, 30, subject.seed + 15)
    cloth = subject.cloth * (1 + 0.08 * weave[:, None])
    collar = np.clip((at[:, 1] + 162) / 3, 0, 1)[:, None]
    return cloth * (1 - collar) + np.array([0.82, 0.82, 0.84]) * collar


_PAINTERS = {
    "eyes": _eyes, "irises": _eyes, "teeth": _teeth, "mouth": _mouth, "tongue": _tongue,
    "clothes": _clothes,
}  # fmt: skip
