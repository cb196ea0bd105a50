"""Eyelids and gaze from one frame's landmarks, judged by what the last seconds showed."""

from collections import deque

import numpy as np
from jaxtyping import Float

from likeness.core.rig import Identity, Rig
from likeness.rigs.linear import LinearRig
from likeness.trackers.eyes import RIMS, SIDES
from likeness.trackers.live_fit import Fitted

_MEMORY = 300  # frames that say how wide an eye is open as a rule
_FIRST = 8  # frames before anything is called a blink
_CLOSED = 0.12  # of the open gap: the lashes of a closed eye, when no blink was seen
_SLACK = 0.08  # of the gap; smaller narrowings are not blinks
_OFFSET = np.radians([8.0, 10.0])  # sideways, up: at most this much is our zero being off
# see `eyes`: visible irises move less than whole ones, and mesh and pose follow the head unequally
_GAIN, _LEAK = np.array([1.65, 1.3]), np.array([0.75, -0.5])
_IRISES = (468, 473)
_LOOKS = ("LookOut", "LookIn", "LookUp", "LookDown")


class LiveEyes:
    """Remembers how wide this person's eyes are open and where they look at rest."""

    def __init__(self, rig: Rig, identity: Identity) -> None:
        names = [f"eye{what}{side}" for side in SIDES for what in ("Blink", *_LOOKS)]
        self.count = len(rig.shape_names)
        self.works = isinstance(rig, LinearRig) and set(names) <= set(rig.shape_names)
        self._gaps = [deque[float](maxlen=_MEMORY) for _ in SIDES]
        self._looks = [deque[np.ndarray](maxlen=_MEMORY) for _ in SIDES]
        self._last = np.zeros(2)
        self.open = [1.0 for _ in SIDES]
        """How open each eye was when last seen: 1 as usual, 0 closed."""
        if not isinstance(rig, LinearRig) or not self.works:
            return
        self.place = {name: rig.shape_names.index(name) for name in names}
        self.full = {name: float(rig.shape_joints[i].norm()) for name, i in self.place.items()}
        self.balls = [_ball(rig, identity, side) for side in SIDES]

    def read(
        self,
        points: Float[np.ndarray, "478 2"],
        at: Fitted,
        focal: float,
        centre: Float[np.ndarray, " 2"],
    ) -> Float[np.ndarray, " E"]:
        """Blink and eyeLook coefficients; the others are NaN, as all are for rigs without eyes."""
        values = np.full(self.count, np.nan)
        if not self.works:
            return values
        metre = at.translation[2] / focal
        lids = [self._lid(e, metre * _gap(points[rim])) for e, rim in enumerate(RIMS)]
        look = self._look(points, at, focal, centre, lids)
        self.open = lids
        for lid, side in zip(lids, SIDES, strict=True):
            values[self.place[f"eyeBlink{side}"]] = np.clip((1 - lid - _SLACK) / (1 - _SLACK), 0, 1)
            out = look[0] if side == "Left" else -look[0]
            for what, angle in zip(_LOOKS, (out, -out, look[1], -look[1]), strict=True):
                name = f"eye{what}{side}"
                values[self.place[name]] = np.clip(angle / self.full[name], 0, 1)
        return values

    def _lid(self, eye: int, gap: float) -> float:
        """How open an eye is: 1 as usual, 0 closed."""
        known = self._gaps[eye]
        known.append(gap)
        if len(known) < _FIRST:
            return 1.0
        least, usual = np.quantile(known, (0.01, 0.8))
        if usual <= 0:
            return 1.0
        closed = least if least < 0.55 * usual else _CLOSED * usual
        return float((gap - closed) / (usual - closed))

    def _look(
        self,
        points: np.ndarray,
        at: Fitted,
        focal: float,
        centre: np.ndarray,
        lids: list[float],
    ) -> Float[np.ndarray, " 2"]:
        """Where both eyes look together (left, up), radians from this person's usual gaze."""
        ahead = at.rotation[:, 2]
        turn = np.arctan2(ahead[:2], -ahead[2])  # sideways, up
        seen = []
        for eye, lid in enumerate(lids):
            if lid < 0.5:
                continue
            angle = _GAIN * _gaze(self.balls[eye], at, points[_IRISES[eye]], focal, centre)
            angle = angle + _LEAK * turn
            self._looks[eye].append(angle)
            usual = np.median(self._looks[eye], 0)
            seen.append(angle - np.clip(usual, -_OFFSET, _OFFSET))
        if seen:  # closed eyes keep looking where they looked
            self._last = np.mean(seen, 0)
        return self._last


def _gap(rim: Float[np.ndarray, "16 2"]) -> float:
    """Between the lids, in pixels, at a right angle to the line between the corners."""
    along = rim[8] - rim[0]
    down = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    return float((rim[10:15] @ down - rim[6:1:-1] @ down).mean())


def _ball(rig: LinearRig, identity: Identity, side: str) -> tuple[np.ndarray, float]:
    """The centre and radius of an eyeball, in the frame of the head."""
    joint = rig.joint_names.index(f"{side.lower()}_eye")
    rest = rig.shaped(identity)
    own = rig.skin_weights[:, joint] > 0.5
    radius = float((rest[own] - rest[own].mean(0)).norm(dim=-1).max())
    return rig.joints(rest)[joint].numpy().astype(np.float64), radius


def _gaze(
    ball: tuple[np.ndarray, float],
    at: Fitted,
    iris: Float[np.ndarray, " 2"],
    focal: float,
    centre: Float[np.ndarray, " 2"],
) -> Float[np.ndarray, " 2"]:
    """Angles (left, up) at which the eyeball shows its iris there, in the frame of the head."""
    middle, radius = ball
    ray = at.rotation.T @ np.append((iris - centre) / focal, 1.0)
    eye = -at.rotation.T @ at.translation - middle
    along = -(eye @ ray) / (ray @ ray)
    closest = eye + along * ray
    inside = max(radius**2 - closest @ closest, 0.0)
    hit = closest - np.sqrt(inside / (ray @ ray)) * ray
    hit /= np.linalg.norm(hit)
    return np.array([np.arctan2(hit[0], hit[2]), np.arcsin(np.clip(hit[1], -1, 1))])
