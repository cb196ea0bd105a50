"""The control mesh of the skin: rings around eyes and mouth, plain skin between them, an annulus
over the crown to the collar, lids that turn inwards and a bag behind the lips. Subdivision makes
it smooth. Millimetres."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline
from scipy.spatial import Delaunay

from likeness.rigs.clay.measures import EYE, MOUTH, OVAL, Measures, measures

RINGS = 14  # of the annulus, from the face's oval to the collar
EYE_CENTRE = np.array([31.5, 2.0, -5.0])
EYE_RADIUS = 12.0

# Guides over the head: after the oval landmark, nine stations (x, y, z) to the collar.
_GUIDES: dict[int, str] = {
    0: "0,82,8 0,106,-21 0,117,-75 0,92,-143 0,35,-171 0,-30,-157 0,-90,-134 0,-135,-136 "
    "0,-172,-150",
    2: "40,75,-3 46,95,-27 49,104,-75 47,82,-135 43,35,-160 37,-30,-146 32,-90,-127 34,-138,-131 "
    "42,-175,-144",
    4: "63,52,-28 68,68,-50 70,72,-85 66,58,-128 57,28,-148 50,-30,-136 46,-90,-119 48,-142,-122 "
    "62,-180,-134",
    6: "71,18,-52 74,31,-70 75.5,36,-95 70,25,-126 62,0,-137 55,-45,-127 52,-95,-112 55,-145,-113 "
    "76,-185,-121",
    8: "70,-25,-66 70,-20,-78 70,-17,-92 67,-24,-108 63,-45,-115 60,-75,-110 59,-110,-102 "
    "61,-150,-101 84,-190,-105",
    11: "64,-81,-54 63,-81,-66 60,-82,-78 58,-90,-86 57,-101,-88 57,-113,-87 57,-130,-85 "
    "59,-160,-85 76,-194,-85",
    14: "39,-107,-14 37,-110,-26 36,-112,-38 37,-116,-48 39,-124,-55 40,-136,-57 39,-151,-57 "
    "40,-175,-58 48,-200,-56",
    18: "0,-119,10 0,-121,-2 0,-122,-15 0,-124,-25 0,-130,-32 0,-142,-33 0,-158,-35 0,-182,-41 "
    "0,-206,-44",
}
_LID = ((0.06, 0.6), (-0.12, 4.0), (-0.25, 9.0))  # towards the slit's middle, and back, per ring


@dataclass(frozen=True, eq=False)
class Control:
    """The control mesh. The first 468 vertices are the landmarks.

    `lids` are 2 eyes x 3 rings x 16, `bag` 6 rings x 20 behind the lips, `annulus` rings x 36.
    `mirror` gives each vertex's partner.
    """

    points: Float[np.ndarray, "N 3"]
    triangles: Int[np.ndarray, "F 3"]
    mirror: Int[np.ndarray, " N"]
    lids: Int[np.ndarray, "2 3 16"]
    bag: Int[np.ndarray, "6 20"]
    bag_end: int
    annulus: Int[np.ndarray, "R 36"]


@cache
def control() -> Control:
    facts = measures()
    face, mirror = facts.landmarks, facts.mirror
    parts, faces = [face], [_face_triangles(facts)]
    count = len(face)
    mirrors = [mirror]

    left = _lid_rings(face)
    lids = count + np.arange(96).reshape(2, 3, 16)
    parts += [left.reshape(-1, 3), left.reshape(-1, 3) * [-1, 1, 1]]
    mirrors.append(np.concatenate([lids[1].ravel(), lids[0].ravel()]))
    for side, ring in enumerate((np.array(EYE[0]), mirror[np.array(EYE[0])])):
        for inner, outer in zip(lids[side], (ring, *lids[side][:-1])):
            faces.append(_strip(outer, inner, flip=side == 1))
    count += 96

    rings, end = _bag_rings(face)
    bag = count + np.arange(120).reshape(6, 20)
    parts += [rings.reshape(-1, 3), end[None]]
    partner = (10 - np.arange(20)) % 20
    mirrors.append(np.concatenate([bag[:, partner].ravel(), [count + 120]]))
    for inner, outer in zip(bag, (np.array(MOUTH[0]), *bag[:-1])):
        faces.append(_strip(outer, inner, False, _MOUTH_RIGHT))
    bag_end = count + 120
    last = bag[-1]
    faces.append(np.stack([last, np.roll(last, -1), np.full(20, bag_end)], -1))
    count += 121

    skull = _annulus(face)
    annulus = count + np.arange(RINGS * 36).reshape(RINGS, 36)
    parts.append(skull.reshape(-1, 3))
    mirrors.append(annulus[:, (-np.arange(36)) % 36].ravel())
    for outer, inner in zip(annulus, (np.array(OVAL), *annulus[:-1])):
        faces.append(_strip(inner, outer, True, _OVAL_RIGHT))
    points, triangles = np.concatenate(parts), np.concatenate(faces)
    partner = np.concatenate(mirrors)
    points = 0.5 * (points + points[partner] * [-1, 1, 1])
    return Control(points, _outwards(points, triangles), partner, lids, bag, bag_end, annulus)


def _strip(a: np.ndarray, b: np.ndarray, flip: bool, right: np.ndarray | None = None) -> np.ndarray:
    """Triangles between two closed rings of equally many vertices. Quads marked in `right` are cut
    along their other diagonal, so that a ring across the middle plane is symmetric."""
    a1, b1 = np.roll(a, -1), np.roll(b, -1)
    if right is None:
        right = np.zeros(len(a), bool)
    first = np.where(right, [a, a1, b1], [a, a1, b]).T
    second = np.where(right, [a, b1, b], [a1, b1, b]).T
    both = np.concatenate([first, second])
    return both[:, ::-1] if flip else both


_MOUTH_RIGHT = np.isin(np.arange(20), [15, 16, 17, 18, 19, 0, 1, 2, 3, 4])
_OVAL_RIGHT = np.arange(36) >= 18


def _face_triangles(facts: Measures) -> np.ndarray:
    """Strips around the left eye and the mouth, a fill between; the right side mirrored."""
    face, mirror = facts.landmarks, facts.mirror
    faces = []
    for inner, outer in pairwise(EYE):
        strip = _strip(np.array(inner), np.array(outer), flip=True)
        faces += [strip, mirror[strip][:, ::-1]]
    for inner, outer in pairwise(MOUTH):
        faces.append(_strip(np.array(inner), np.array(outer), True, _MOUTH_RIGHT))
    half = _fill(face)
    faces += [half, mirror[half][:, ::-1]]
    return np.concatenate(faces)


def _fill(face: np.ndarray) -> np.ndarray:
    """Plain skin of the left half between oval, brow ring and outer mouth ring: a Delaunay
    triangulation of the unrolled face, without what lies inside the rings."""
    inside = {v for ring in EYE[:-1] for v in ring} | {v for ring in MOUTH[:-1] for v in ring}
    use = np.array([v for v in range(468) if face[v, 0] > -1e-6 and v not in inside])
    chart = np.stack([75 * np.arctan2(face[:, 0], face[:, 2] + 75), face[:, 1]], -1)
    triangles = use[Delaunay(chart[use]).simplices]
    centre = chart[triangles].mean(1)
    eye, mouth, oval = (chart[list(r)] for r in (EYE[-1], MOUTH[-1], OVAL))
    keep = ~_within(centre, eye) & ~_within(centre, mouth) & _within(centre, oval)
    area = turns(chart, triangles)
    triangles = np.where((area > 0)[:, None], triangles, triangles[:, ::-1])
    return triangles[keep & (np.abs(area) > 1e-6)]


def turns(
    points: Float[np.ndarray, "N 2"], triangles: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, " F"]:
    """Twice the areas of triangles of the plane, above 0 where they turn counter-clockwise."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    u, v = b - a, c - a
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


def _within(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Even-odd test of points against a closed polygon."""
    a, b = ring[None], np.roll(ring, -1, 0)[None]
    x, y = points[:, None, 0], points[:, None, 1]
    crosses = (a[..., 1] > y) != (b[..., 1] > y)
    slope = (b[..., 0] - a[..., 0]) / np.where(b[..., 1] == a[..., 1], 1, b[..., 1] - a[..., 1])
    return (crosses & (x < a[..., 0] + slope * (y - a[..., 1]))).sum(1) % 2 == 1


def _lid_rings(face: np.ndarray) -> np.ndarray:
    """From the left lid margin inwards: the lid's thickness, then behind it, hugging the ball."""
    margin = face[list(EYE[0])]
    middle = margin.mean(0)
    rings = []
    for towards, back in _LID:
        ring = margin + towards * (middle - margin)
        ring[:, 2] -= back
        away = ring - EYE_CENTRE
        away *= np.maximum(1, (EYE_RADIUS + 0.4) / np.linalg.norm(away, axis=-1, keepdims=True))
        rings.append(EYE_CENTRE + away)
    return np.stack(rings)


def _bag_rings(face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the inner lips backwards: thick lips, then cheeks, palate and floor, and the end."""
    lips = face[list(MOUTH[0])]
    upper = np.sin(np.pi * (np.arange(20) - 10) / 10)  # 1 in the middle of the upper lip
    upper = np.where(np.arange(20) > 10, upper, -np.sin(np.pi * np.arange(20) / 10))
    rings = []
    seam = lips[:, 1].mean()
    for back, narrow, height in (
        (3, 0.97, 0.3), (6, 0.97, 2.5), (12, 1.0, 9), (20, 1.0, 15), (40, 0.9, 14), (54, 0.75, 9)
    ):  # fmt: skip
        ring = lips.copy()
        ring[:, 0] *= narrow
        deep = back > 6
        ring[:, 2] = (0.6 * lips[:, 2] if deep else lips[:, 2]) - back
        ring[:, 1] = (seam if deep else lips[:, 1]) + upper * height
        rings.append(ring)
    end = np.array([0.0, seam, rings[-1][:, 2].mean() - 4])
    return np.stack(rings), end


def _annulus(face: np.ndarray) -> np.ndarray:
    """Rings over the crown and under the jaw to the collar: splines along and across guides."""
    columns = sorted(_GUIDES)
    guides = np.array(
        [[[float(v) for v in p.split(",")] for p in _GUIDES[c].split()] for c in columns]
    )
    at = np.array(columns + [36 - c for c in reversed(columns[1:-1])] + [36])
    both = np.concatenate([guides, guides[-2:0:-1] * [-1, 1, 1], guides[:1]])
    stations = CubicSpline(at, both, bc_type="periodic")(np.arange(36))  # 36 x 9 x 3
    lines = np.concatenate([face[list(OVAL)][:, None], stations], 1)
    rings = np.empty((RINGS, 36, 3))
    samples = (np.arange(1, RINGS + 1) / RINGS) ** 1.15
    for column, line in enumerate(lines):
        chord = np.cumsum([0, *(np.linalg.norm(np.diff(line, axis=0), axis=-1) ** 0.7)])
        rings[:, column] = CubicSpline(chord / chord[-1], line)(samples)
    return rings


def _outwards(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """All windings agree along edges and the nose points out of the face."""
    neighbours: dict[tuple[int, int], list[int]] = {}
    for index, (a, b, c) in enumerate(triangles):
        for u, v in ((a, b), (b, c), (c, a)):
            neighbours.setdefault((min(u, v), max(u, v)), []).append(index)
    flipped, todo = np.zeros(len(triangles), bool), []
    seen = np.zeros(len(triangles), bool)
    start = int(np.argmax(points[triangles].mean(1)[:, 2]))
    seen[start], todo = True, [start]
    out = triangles.copy()
    while todo:
        index = todo.pop()
        a, b, c = out[index]
        for u, v in ((a, b), (b, c), (c, a)):
            for other in neighbours[(min(u, v), max(u, v))]:
                if seen[other]:
                    continue
                x, y, z = out[other]
                if (u, v) in ((x, y), (y, z), (z, x)):
                    out[other] = out[other][::-1]
                    flipped[other] = True
                seen[other] = True
                todo.append(other)
    nose = points[out[start]]
    if np.cross(nose[1] - nose[0], nose[2] - nose[0])[2] < 0:
        out = out[:, ::-1]
    return np.ascontiguousarray(out)
