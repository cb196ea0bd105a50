"""The 52 ARKit-named shapes at 100 %, as displacements of control mesh and parts (mm).

Left shapes are made and mirrored. A shape is a few landmarks told where to go (handles) and a
biharmonic field between them and the edge of a free zone.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from jaxtyping import Float

from likeness.rigs.clay.control import EYE_CENTRE, EYE_RADIUS, control
from likeness.rigs.clay.fields import solve
from likeness.rigs.clay.measures import EYE, LOWER_LID, MOUTH, UPPER_LID

ARKIT = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft",
    "eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight",
    "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft",
    "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft",
    "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight",
    "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip

LIPS = tuple(v for ring in MOUTH[:4] for v in ring)
_UPPER = tuple(v for ring in MOUTH[:4] for v in ring[11:])  # without the corners
_LOWER = tuple(v for ring in MOUTH[:4] for v in ring[1:10])
_CORNERS = tuple(ring[k] for ring in MOUTH[:4] for k in (0, 10))
_JAW_PIVOT, _JAW_TURN, _JAW_GLIDE = np.array([0.0, -20, -62]), 18.0, np.array([0.0, -3, 6])
_BAG_SHARE = (1.0, 0.9, 0.5, 0.2, 0.0, 0.0)

Handles = dict[int, tuple[float, float, float] | np.ndarray]


@dataclass(frozen=True, eq=False)
class Shape:
    """Displacements of the control mesh, and of the parts that move along."""

    skin: Float[np.ndarray, "N 3"]
    parts: dict[str, Float[np.ndarray, "P 3"]] = field(default_factory=dict)


@cache
def jaw_weights() -> Float[np.ndarray, " N"]:
    """How much of the jaw's motion each control vertex makes."""
    mesh = control()
    x, y, z = mesh.points.T
    handles: dict[int, float] = {}
    face = np.arange(468)
    for v in face[(y[:468] < -86) & (z[:468] > 4) & (np.abs(x[:468]) < 45)]:
        handles[int(v)] = 1.0
    for v in _LOWER:
        handles[v] = 1.0
    for v in _UPPER:
        handles[v] = 0.0
    for v in _CORNERS:
        handles[v] = 0.42
    for row, ring in enumerate(mesh.bag):
        for k, v in enumerate(ring):
            low, corner = 1 <= k <= 9, k in (0, 10)
            handles[int(v)] = 0.42 if corner else (float(low) if row < 4 else 0.5 * low)
    free = (y < -48) & (y > -165) & (z > -72)
    return np.clip(solve(handles, free, harmonic=True)[:, 0], 0, 1)


def jaw_moved(points: np.ndarray, weights: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Displacement of points that make `weights` of the jaw's opening."""
    angle = np.radians(_JAW_TURN) * share * weights
    y, z = points[:, 1] - _JAW_PIVOT[1], points[:, 2] - _JAW_PIVOT[2]
    c, s = np.cos(angle), np.sin(angle)
    turned = np.stack(
        [points[:, 0], y * c - z * s + _JAW_PIVOT[1], y * s + z * c + _JAW_PIVOT[2]], -1
    )
    return turned - points + share * weights[:, None] * _JAW_GLIDE


def _zone(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Vertices inside an ellipsoid of the face."""
    away = (control().points - np.array(centre)) / np.array(radii)
    return (away * away).sum(-1) < 1


def _near_mouth(wide: float = 52, high: float = 36) -> np.ndarray:
    mesh = control()
    free = _zone((0, -66, 22), (wide, high, 48))
    free[mesh.bag.ravel()] = True
    free[mesh.lids.ravel()] = False
    return free


def _mouth(handles: Handles, free: np.ndarray | None = None) -> np.ndarray:
    """A lip shape: the bag behind the lips follows its ring, less and less."""
    mesh = control()
    inner = MOUTH[0]
    for row, share in enumerate(_BAG_SHARE):
        for k, v in enumerate(mesh.bag[row]):
            handles[int(v)] = share * np.asarray(handles.get(inner[k], (0, 0, 0)), float)
    return solve(handles, _near_mouth() if free is None else free)


def _lips(rule) -> Handles:
    """Handles for every lip vertex from `rule(place, ring, upper)`; upper is 0 at the corners."""
    points = control().points
    handles: Handles = {}
    for row, ring in enumerate(MOUTH[:4]):
        for k, v in enumerate(ring):
            upper = 0 if k in (0, 10) else (1 if k > 10 else -1)
            handles[v] = np.asarray(rule(points[v], row, upper), float)
    return handles


def _side(x: float, soft: float = 6.0) -> float:
    """1 on the left, 0 on the right, smooth across the middle."""
    t = np.clip(0.5 + 0.5 * x / soft, 0, 1)
    return float(t * t * (3 - 2 * t))


def _lid_shape(upper: float, lower: float) -> np.ndarray:
    """Left lid margins moved up or down along the sphere of the eyeball (mm, up is positive)."""
    handles: Handles = {}
    for margin, move in ((UPPER_LID, upper), (LOWER_LID, lower)):
        for k, v in enumerate(margin):
            share = np.sin(np.pi * (k + 1) / (len(margin) + 1)) ** 0.7
            handles[v] = _on_sphere(control().points[v], move * share)
    return _lids_solved(handles)


def _lids_solved(handles: Handles) -> np.ndarray:
    mesh = control()
    for corner in (EYE[0][0], EYE[0][8]):
        handles[corner] = np.zeros(len(handles[UPPER_LID[0]]))
    for row, share in enumerate((1.0, 0.6, 0.0)):
        for k, v in enumerate(mesh.lids[0, row]):
            handles[int(v)] = share * np.asarray(handles[EYE[0][k]], float)
    free = np.zeros(len(mesh.points), bool)
    free[list(EYE[1]) + list(EYE[2])] = True
    return solve(handles, free)


def _on_sphere(point: np.ndarray, dy: float) -> np.ndarray:
    """A lid vertex moved by `dy`, kept at its distance from the centre of the eyeball."""
    away = point - EYE_CENTRE
    reach = max(np.linalg.norm(away[1:]), EYE_RADIUS * 0.7)
    y = np.clip(away[1] + dy, -0.98 * reach, 0.98 * reach)
    return np.array([0.0, y - away[1], np.sqrt(reach * reach - y * y) - away[2]])


def _blink() -> np.ndarray:
    points = control().points
    lower = points[[EYE[0][8], *LOWER_LID[::-1], EYE[0][0]]]
    order = np.argsort(lower[:, 0])
    handles: Handles = {}
    for v in LOWER_LID:
        handles[v] = _on_sphere(points[v], 0.8)
    for v in UPPER_LID:
        seam = np.interp(points[v, 0], lower[order, 0], lower[order, 1]) + 0.5
        handles[v] = _on_sphere(points[v], seam - points[v, 1])
    return _lids_solved(handles)


def seam_weights() -> list[dict[int, float]]:
    """Per point of the left upper lid: minus itself, plus the points of the lower lid between
    which a blink lays it."""
    points = control().points
    lower = np.array([EYE[0][8], *LOWER_LID[::-1], EYE[0][0]])
    lower = lower[np.argsort(points[lower, 0])]
    rows = []
    for v in UPPER_LID:
        at = np.interp(points[v, 0], points[lower, 0], np.arange(len(lower)))
        first = min(int(at), len(lower) - 2)
        a, b = int(lower[first]), int(lower[first + 1])
        rows.append({v: -1.0, a: first + 1 - at, b: at - first})
    return rows


def lid_followers() -> Float[np.ndarray, "N 7"]:
    """How much every vertex goes with each point of the left upper lid; the lower lid stays."""
    handles: Handles = dict(zip(UPPER_LID, np.eye(len(UPPER_LID)), strict=True))
    handles |= {v: np.zeros(len(UPPER_LID)) for v in LOWER_LID}
    return _lids_solved(handles)


def _smile() -> np.ndarray:
    def rule(p, row, upper):
        t = np.clip(p[0] / 24, 0, 1.1)
        w = t**1.5
        return 8.5 * w, 8 * w**1.2 - (1 - w) * 0.6, -5.5 * w - 1.2 * min(1, 2 * t)

    handles = _lips(lambda p, row, upper: np.array(rule(p, row, upper)) * _side(p[0], 8))
    handles |= {50: (2, 5, 2.5), 280: (2, 5, 2.5), 425: (3.5, 4.5, 2.5)}
    handles.pop(50)
    return _mouth(handles, _near_mouth(62, 46) & (control().points[:, 0] > -14))


def _corner(move: tuple[float, float, float]) -> np.ndarray:
    def rule(p, row, upper):
        w = np.clip(p[0] / 24, 0, 1.1) ** 1.5
        return w * np.array(move)

    return _mouth(_lips(rule), _near_mouth(58, 40))


def _pucker(narrow: float, out: float, open_: float) -> np.ndarray:
    def rule(p, row, upper):
        forward = out + (2 if row == 0 else (1 if row == 1 else 0))
        if upper == 0:
            forward = 0.45 * out
        return (narrow - 1) * p[0], upper * open_ * (1 if row < 3 else 0.6), forward

    return _mouth(_lips(rule), _near_mouth(56, 40))


def _brow(moves: dict[int, tuple[float, float, float]], low: float = 0.0) -> np.ndarray:
    """Brow landmarks moved; lid margins and the nose below stay."""
    handles: Handles = {k: np.array(v, float) for k, v in moves.items()}
    for v in EYE[0]:
        handles[v] = np.zeros(3)
    points = control().points
    free = _zone((0, 38, 20), (72, 42, 60)) & (points[:, 1] > low)
    free[control().lids.ravel()] = False
    return solve(handles, free)


@cache
def left_and_centre() -> dict[str, Shape]:
    """Every shape but the mirrored right ones."""
    mesh = control()
    points, jaw = mesh.points, jaw_weights()
    opened = jaw_moved(points, jaw)
    slide = jaw[:, None]
    shapes = {
        "eyeBlinkLeft": Shape(_blink()),
        "eyeLookDownLeft": Shape(_lid_shape(-3.2, -0.9)),
        "eyeLookInLeft": Shape(np.zeros_like(points)),
        "eyeLookOutLeft": Shape(np.zeros_like(points)),
        "eyeLookUpLeft": Shape(_lid_shape(2.0, 0.7)),
        "eyeSquintLeft": Shape(_lid_shape(-1.4, 2.6)),
        "eyeWideLeft": Shape(_lid_shape(2.4, -0.6)),
        "jawForward": Shape(slide * [0, -1, 7]),
        "jawLeft": Shape(slide * [9, -0.5, 0]),
        "jawRight": Shape(slide * [-9, -0.5, 0]),
        "jawOpen": Shape(opened - _narrowed(opened)),
        "mouthClose": Shape(_closing(opened)),
        "mouthFunnel": Shape(_pucker(0.78, 7, 4.2) + jaw_moved(points, jaw, 0.2)),
        "mouthPucker": Shape(_pucker(0.64, 7, -0.2)),
        "mouthLeft": Shape(_sideways(8.0)),
        "mouthRight": Shape(_sideways(8.0)[mesh.mirror] * [-1, 1, 1]),
        "mouthSmileLeft": Shape(_smile()),
        "mouthFrownLeft": Shape(_corner((2, -8, -2))),
        "mouthDimpleLeft": Shape(_corner((4, 1, -5))),
        "mouthStretchLeft": Shape(_corner((9, -3, -4))),
        "mouthRollLower": Shape(_roll(-1)),
        "mouthRollUpper": Shape(_roll(1)),
        "mouthShrugLower": Shape(_mouth(_lips(_shrug))),
        "mouthShrugUpper": Shape(
            _mouth(_lips(lambda p, r, u: (0, 3.0 * (u > 0), 2.0 * (u > 0))))
        ),
        "mouthPressLeft": Shape(_mouth(_lips(_press))),
        "mouthLowerDownLeft": Shape(_mouth(_lips(_lower_down), _near_mouth(52, 44))),
        "mouthUpperUpLeft": Shape(_mouth(_lips(_upper_up), _near_mouth(52, 40))),
        "browDownLeft": Shape(
            _brow({285: (-3, -6, 1.5), 336: (-3, -6, 1.5), 295: (-2, -5, 1), 296: (-2, -5, 1),
                   282: (-1, -4, 0.5), 334: (-1, -3, 0.5), 283: (0, -2, 0), 276: (0, -1, 0)})
        ),
        "browInnerUp": Shape(_inner_up()),
        "browOuterUpLeft": Shape(
            _brow({300: (0, 6, 0), 276: (0, 5.5, 0), 293: (0, 7, 0), 283: (0, 6.5, 0),
                   334: (0, 7.5, 0), 282: (0, 6.5, 0), 296: (0, 3.5, 0), 336: (0, 0.5, 0),
                   285: (0, 0.5, 0)})
        ),
        "cheekPuff": Shape(_puff()),
        "cheekSquintLeft": Shape(_cheek_squint()),
        "noseSneerLeft": Shape(_sneer()),
        "tongueOut": Shape(jaw_moved(points, jaw, 0.5)),
    }  # fmt: skip
    return shapes


def _narrowed(opened: np.ndarray) -> np.ndarray:
    """An open mouth is narrower: corners come in by a fifth of the gap."""
    corners: Handles = {v: (np.sign(control().points[v, 0]) * 5.0, 0, 0) for v in _CORNERS}
    for v in (*_UPPER, *_LOWER):
        corners[v] = (5.0 * control().points[v, 0] / 24, 0, 0)
    return _mouth(corners)


def _closing(opened: np.ndarray) -> np.ndarray:
    """The lips' part of jawOpen undone, half from above and half from below."""
    handles = {v: -np.asarray(opened[v]) * (1.0 if v not in _CORNERS else 0.9) for v in LIPS}
    return _mouth(dict(handles), _near_mouth(46, 34))


def _sideways(reach: float) -> np.ndarray:
    def rule(p, row, upper):
        lift = np.clip(p[0] / 24, -1, 1)
        return reach * (0.6 + 0.4 * abs(lift)), 0.7 * lift, -2.0 * abs(lift)

    return _mouth(_lips(rule), _near_mouth(58, 44))


def _roll(which: int) -> np.ndarray:
    def rule(p, row, upper):
        if upper != which:
            return 0, 0, 0
        share = (1.0, 1.0, 0.8, 0.4)[row]
        return 0, -which * 2.6 * share, -4.5 * share

    return _mouth(_lips(rule))


def _shrug(p, row, upper):
    return (0, 3.5, 3.0) if upper < 0 else ((0, 2.0, 1.0) if upper > 0 else (0, 1.5, 0))


def _press(p, row, upper):
    return np.array([0, -1.4 * upper * (1.0, 0.9, 0.6, 0.3)[row], -1.0]) * _side(p[0], 10)


def _lower_down(p, row, upper):
    middle = max(0.0, 1 - (p[0] / 26) ** 2)
    return np.array([0.0, -6.0 * (upper < 0) * middle, -0.8 * (upper < 0)]) * _side(p[0], 9)


def _upper_up(p, row, upper):
    middle = max(0.0, 1 - (p[0] / 26) ** 2)
    return np.array([0.0, 6.0 * (upper > 0) * middle, -0.6 * (upper > 0)]) * _side(p[0], 9)


def _inner_up() -> np.ndarray:
    left = {107: 9.0, 55: 8.0, 66: 7.0, 65: 6.0, 105: 2.5, 52: 2.0}
    mirror = control().mirror
    moves = {int(v): (0.0, y, 0.0) for v, y in left.items()}
    moves |= {int(mirror[v]): (0.0, y, 0.0) for v, y in left.items()}
    moves |= {9: (0, 5, 0), 8: (0, 3, 0)}
    handles: Handles = {k: np.array(v, float) for k, v in moves.items()}
    for v in EYE[0]:
        handles[v] = handles[int(mirror[v])] = np.zeros(3)
    free = _zone((0, 40, 20), (72, 40, 60)) & (control().points[:, 1] > 3)
    free[control().lids.ravel()] = False
    return solve(handles, free)


def _puff() -> np.ndarray:
    mirror = control().mirror
    left = {425: (6, 0, 7), 434: (7, -2, 3), 280: (2.5, 0, 3), 436: (4, 0, 6)}
    handles: Handles = {v: np.zeros(3) for v in LIPS}
    for v, move in left.items():
        handles[v] = np.array(move, float)
        handles[int(mirror[v])] = np.array(move, float) * [-1, 1, 1]
    free = _zone((0, -62, 5), (72, 46, 62))
    free[control().lids.ravel()] = free[control().bag.ravel()] = False
    return solve(handles, free)


def _cheek_squint() -> np.ndarray:
    handles: Handles = {280: (0.5, 4, 2), 425: (0.5, 2, 1), 346: (0, 2.5, 1), 347: (0, 2.5, 1)}
    for v in LOWER_LID:
        handles[v] = _on_sphere(control().points[v], 1.2)
    for v in (*UPPER_LID, EYE[0][0], EYE[0][8], *LIPS):
        handles[v] = np.zeros(3)
    free = _zone((40, -26, 15), (34, 32, 50))
    free[control().lids.ravel()] = False
    field_ = solve(handles, free)
    for row, share in enumerate((1.0, 0.6, 0.0)):
        field_[control().lids[0, row]] = share * field_[list(EYE[0])]
    return field_


def _sneer() -> np.ndarray:
    handles: Handles = {358: (1.5, 6, 1), 294: (1, 4.5, 1), 327: (0.5, 4, 0.5), 371: (0, 5, 1),
                        429: (0.5, 5.5, 1), 355: (0, 3, 0.5)}  # fmt: skip
    for v in (*EYE[0], *LIPS, 1, 2, 4, 5, 195):
        handles[v] = np.zeros(3)
    free = _zone((14, -30, 30), (26, 34, 40))
    free[control().lids.ravel()] = free[control().bag.ravel()] = False
    return solve(handles, free)
