"""Eyeballs, teeth, gums and tongue, ears: swept or turned parts with their own vertices (mm)."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline

from likeness.rigs.clay.control import EYE_CENTRE, EYE_RADIUS

IRIS_RADIUS, PUPIL_RADIUS = 5.9, 2.2


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of the head. `uv` is within the part's own unit square, one per vertex."""

    name: str
    points: Float[np.ndarray, "N 3"]
    triangles: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "N 2"]
    regions: list[str] = field(default_factory=list)


def grid_triangles(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Two triangles per cell of a grid of vertices; `closed` joins the last column to the first."""
    last = columns if closed else columns - 1
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(last), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    d, e = a + columns, b + columns
    return np.concatenate(
        [np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, e], -1).reshape(-1, 3)]
    )


def eyeball() -> Part:
    """The left eyeball: rings around the pupil, so that iris and pupil are rings of the mesh."""
    columns = 24
    angles = np.concatenate(
        [
            np.linspace(0.02, np.arcsin(PUPIL_RADIUS / EYE_RADIUS), 3),
            np.linspace(0.0, 1.0, 5)[1:] * (
                np.arcsin(IRIS_RADIUS / EYE_RADIUS) - np.arcsin(PUPIL_RADIUS / EYE_RADIUS)
            ) + np.arcsin(PUPIL_RADIUS / EYE_RADIUS),
            np.linspace(np.arcsin(IRIS_RADIUS / EYE_RADIUS), np.pi - 0.02, 11)[1:],
        ]
    )  # fmt: skip
    turn = 2 * np.pi * np.arange(columns) / columns
    bulge = 0.8 * np.clip(1 - (np.sin(angles) * EYE_RADIUS / 6.2) ** 2, 0, 1) * (angles < 1.2)
    radius = EYE_RADIUS + bulge
    ring = radius * np.sin(angles)
    points = np.stack(
        [
            ring[:, None] * np.cos(turn),
            ring[:, None] * np.sin(turn),
            np.repeat((radius * np.cos(angles))[:, None], columns, 1),
        ],
        -1,
    ).reshape(-1, 3)
    spread = 0.48 * angles / np.pi
    uv = 0.5 + np.stack([spread[:, None] * np.cos(turn), spread[:, None] * np.sin(turn)], -1)
    iris = np.arcsin(IRIS_RADIUS / EYE_RADIUS) + 1e-6
    regions = ["irises" if a <= iris else "eyes" for a in angles for _ in range(columns)]
    faces = grid_triangles(len(angles), columns, closed=True)
    return Part("left_eye", points + EYE_CENTRE, faces, uv.reshape(-1, 2), regions)


_UPPER = ((8.5, 6.5, 7.5, 7.0, 6.6, 10.0, 9.5), (10.5, 9.0, 10.0, 8.5, 8.0, 7.5, 7.0))
_LOWER = ((5.3, 5.8, 6.8, 7.0, 7.0, 10.8, 10.3), (9.0, 9.2, 10.5, 8.8, 8.0, 7.5, 7.0))


def teeth(upper: bool) -> Part:
    """A row of teeth on an elliptic arc, each crown bowed a little, and the gum above it."""
    widths, heights = _UPPER if upper else _LOWER
    half, depth, front, edge = (26, 42, 19.0, -69.4) if upper else (24, 39, 16.0, -65.6)
    way = 1.0 if upper else -1.0
    arc = np.linspace(0, np.pi / 2, 400)
    curve = np.stack([half * np.sin(arc), front - depth * (1 - np.cos(arc))], -1)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=-1))])
    columns, rows, across = [], [], 5
    start = 0.0
    for width, height in zip(widths, heights):
        scale = (along[-1] - 1) / sum(widths)
        for k in range(across):
            share = k / (across - 1)
            columns.append((start + 0.125 + share * (width * scale - 0.25), height, share))
        start += width * scale
    columns = [(-s, h, sh) for s, h, sh in reversed(columns)] + columns
    for s, height, share in columns:
        x = np.interp(abs(s), along, curve[:, 0]) * np.sign(s)
        z = np.interp(abs(s), along, curve[:, 1])
        bow = 0.5 * (1 - (2 * share - 1) ** 2)
        normal = np.array([np.sin(min(abs(x) / half, 1) * 1.2) * np.sign(s), 0, 1.0])
        normal /= np.linalg.norm(normal)
        column = []
        for v, out in (
            (-0.06, -3.0), (0.0, -0.9), (0.05, -0.2 + bow), (0.35, 0.1 + bow), (0.75, bow),
            (0.98, 0.1), (1.02, 0.9), (1.5, 1.2), (1.9, -0.5),
        ):  # fmt: skip
            column.append(np.array([x, edge + way * v * height, z]) + out * normal)
        rows.append(column)
    points = np.array(rows).transpose(1, 0, 2)
    r, c = points.shape[:2]
    faces = grid_triangles(r, c, closed=False)
    if upper:
        faces = faces[:, ::-1]
    u, v = np.meshgrid(np.linspace(0.02, 0.98, c), np.linspace(0.02, 0.98, r))
    regions = ["teeth" if i < 6 else "mouth" for i in range(r) for _ in range(c)]
    name = "upper_teeth" if upper else "lower_teeth"
    return Part(name, points.reshape(-1, 3), faces, np.stack([u, v], -1).reshape(-1, 2), regions)


def tongue() -> Part:
    """An ellipsoid with its tip and sides bent down and a furrow along the middle."""
    rows, columns = 13, 20
    polar = np.linspace(0.05, np.pi - 0.05, rows)
    turn = 2 * np.pi * np.arange(columns) / columns
    x = 19 * np.sin(polar)[:, None] * np.cos(turn)
    y = 7 * np.sin(polar)[:, None] * np.sin(turn)
    z = np.repeat(27 * np.cos(polar)[:, None], columns, 1)
    y = y - 0.006 * x * x - 3 * np.clip(z / 27, 0, 1) ** 2
    y -= 1.0 * np.exp(-((x / 3) ** 2)) * (y > -1)
    points = np.stack([x, y - 77, z - 15], -1).reshape(-1, 3)
    faces = grid_triangles(rows, columns, closed=True)[:, ::-1]
    ring = 0.48 * polar[:, None] / np.pi
    uv = 0.5 + np.stack([ring * np.cos(turn), ring * np.sin(turn)], -1).reshape(-1, 2)
    return Part("tongue", points, _outwards(points, faces), uv, ["tongue"] * len(points))


_OUTLINE = (
    "0,2 10,-2 20,-4 29,0 34,9 34,19 29,28 19,33 7,33 -6,29 -16,23 -23,17 -26,10 -25,3 -18,-2 -9,0"
)
_HELIX = "3,8 9,0 20,-1 28,3 31,10 31,18 26,25 17,30 6,30 -6,26 -15,20"
_ANTIHELIX = "24,12 16,19 6,22 -5,19 -12,13"
_BRANCH = "22,5 19,12 14,20"


def ear() -> Part:
    """The left ear: a closed leaf, its front in relief, its back smooth; sunk into the head."""
    columns, rings = 28, 11
    outline = _curve(_OUTLINE)
    closed = np.concatenate([outline, outline[:1]])
    edge = CubicSpline(np.linspace(0, 1, len(closed)), closed, bc_type="periodic")(
        np.arange(columns) / columns
    )
    middle = np.array([3.0, 14.0])
    radii = np.linspace(0.0, 1.0, rings) ** 0.85
    flat = middle + radii[:, None, None] * (edge - middle)
    front = _relief(flat.reshape(-1, 2)).reshape(rings, columns)
    back = -1.5 - 5.5 * np.exp(-(((flat[..., 0] - 1) / 11) ** 2) - ((flat[..., 1] - 11) / 10) ** 2)
    rim = np.clip((radii - 0.8) / 0.2, 0, 1)[:, None] ** 2
    front = front * (1 - 0.35 * rim)
    leaf = np.concatenate([np.dstack([flat, front]), np.dstack([flat, back])[::-1]])
    points = _placed(leaf.reshape(-1, 3))
    rows = 2 * rings
    faces = grid_triangles(rows, columns, closed=True)
    # The back lies around the front, turned inside out, so that no triangle crosses a seam.
    reach = np.concatenate([0.62 * radii, 1 - 0.34 * radii[::-1]])
    spread = (edge - middle)[:, ::-1] / np.abs(edge - middle).max(0)[::-1]
    uv = 0.5 + 0.48 * reach[:, None, None] * spread
    faces = _outwards(points, faces)
    return Part("left_ear", points, faces, uv.reshape(-1, 2), ["ears"] * len(points))


def _curve(text: str) -> np.ndarray:
    return np.array([[float(v) for v in p.split(",")] for p in text.split()])


def _relief(at: np.ndarray) -> np.ndarray:
    """Height of the ear's front over its plane."""

    def ridge(text: str, height: float, width: float) -> np.ndarray:
        knots = _curve(text)
        line = CubicSpline(np.arange(len(knots)), knots)(np.linspace(0, len(knots) - 1, 120))
        near = np.linalg.norm(at[:, None] - line[None], axis=-1).min(1)
        return height * np.exp(-((near / width) ** 2))

    u, v = at.T
    height = 3 + ridge(_HELIX, 5.0, 3.2) + ridge(_ANTIHELIX, 4.0, 4.0) + ridge(_BRANCH, 2.2, 3.4)
    height -= 8.0 * np.exp(-((((u - 1) / 8.5) ** 2 + ((v - 11) / 7.5) ** 2) ** 2))
    height += 6 * np.exp(-(((u + 2) / 5) ** 2) - ((v - 2.5) / 3) ** 2)
    height += 4 * np.exp(-(((u + 12) / 5) ** 2) - ((v - 9) / 4) ** 2)
    height += 2.2 * np.exp(-(((u + 20) / 6) ** 2) - ((v - 8) / 6) ** 2)
    return height


def _placed(leaf: np.ndarray) -> np.ndarray:
    """From the ear's plane (up, backwards, out) to the head: out 24 degrees, leaning back."""
    u, v, w = leaf.T
    lean, out = np.radians(10), np.radians(24)
    up = u * np.cos(lean) - v * np.sin(lean)
    backwards = u * np.sin(lean) + v * np.cos(lean)
    x = backwards * np.sin(out) + w * np.cos(out)
    z = -backwards * np.cos(out) + w * np.sin(out)
    return np.stack([68.5 + x, -20 + up, -72 + z], -1)


def _outwards(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Wound so that a closed part has positive volume."""
    a, b, c = (points[faces[:, k]] - points.mean(0) for k in range(3))
    return faces if (a * np.cross(b, c)).sum() > 0 else np.ascontiguousarray(faces[:, ::-1])


def mirrored(part: Part) -> Part:
    """The right one of a left part, vertex for vertex."""
    faces = np.ascontiguousarray(part.triangles[:, ::-1])
    name = part.name.replace("left", "right")
    return Part(name, part.points * [-1, 1, 1], faces, part.uv, part.regions)
