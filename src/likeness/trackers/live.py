"""The live tracker: one frame at a time, at the rate of a camera.

The same detection and the same landmark model as the offline tracker, warm-started: each frame is
fitted from the one before. Who it is comes from a Track, or is learned from the first seconds. What
needs the future (smoothing, personal modes) or the pictures (the photometric pass) is left out.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8

from likeness.core.camera import Camera, pinhole
from likeness.core.expression import Expression
from likeness.core.geometry import (
    axis_angle_to_matrix,
    invert_rigid,
    matrix_to_axis_angle,
    rigid,
)
from likeness.core.rig import Identity, Rig
from likeness.trackers.detection import Landmarks2D, confidence_of, plausible
from likeness.trackers.live_eyes import LiveEyes
from likeness.trackers.live_fit import Fitted, FrameModel, fit_frame, person_model
from likeness.trackers.live_gaze import EyePicture, LiveGaze
from likeness.trackers.mesh_points import POINTS, FaceBoxes, FaceMesh, Found
from likeness.trackers.personal import adapt
from likeness.trackers.point_model import PointModel, point_model
from likeness.trackers.solve import solve, start
from likeness.trackers.witnesses import default_priors, evidence_of

FOCAL = 1.25
"""Of the longer side of the picture: what cameras have when nobody knows."""
_SMALL = 48  # pixels of face below which it is looked at enlarged
_LOOK = 1.8  # side of a close look, in face widths
_SEARCH = 6  # of lost frames, every so many are searched for small faces
_STALE = 5  # lost frames after which the fit begins anew
_KEPT = 20  # frames that say who it is: more tell little, and the picture stands still meanwhile
_HOLD = 0.3  # of the offline smoothness: here it drags behind, there it pulls from both sides
_TURN, _SHIFT = (1.5, 30.0), (1.5, 400.0)  # cutoff (Hz) at rest, and what each unit/s adds
_FLAT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # our world is y up, cameras are y down


@dataclass(frozen=True, eq=False)
class Moment:
    """What one frame showed.

    Without a face `seen` is False, `landmarks` is None and the expression is that of the frame
    before. `ready` says that the person is known; until then only the pose is worth much.
    """

    expression: Expression
    seen: bool
    confidence: float
    landmarks: Float[np.ndarray, "478 3"] | None
    ready: bool


class LiveTracker:
    """Follows one head, picture by picture. Use in a `with` block: it holds native memory.

    The camera stands at the origin of the world and looks along -z. With `identity` the person is
    known from the start; else the first `learn` frames with a face teach who it is.
    """

    def __init__(
        self,
        rig: Rig,
        size: tuple[int, int],
        focal: float | None = None,
        identity: Identity | None = None,
        learn: int = 50,
        smooth: float = 1.0,
    ) -> None:
        self.rig = rig
        self.focal = focal or FOCAL * max(size)
        self.camera: Camera = pinhole(self.focal, *size, rigid(_FLAT, torch.zeros(3)))
        self.centre = np.array(size, np.float64) / 2
        self.identity = rig.rest() if identity is None else identity
        self.ready = identity is not None
        self.calm: Expression | None = None
        """The moments the person was learned from, told in the terms of who it turned out to be."""
        self._learn, self._smooth = max(2, learn), smooth
        self._points = point_model(rig)
        known = self._points if identity is None else person_model(rig, self._points, identity)
        self._know(known, np.zeros(known.directions.shape[0]))
        self._seen: list[EyePicture] = []
        self._last: Found | None = None
        self._lost = 0
        self._steady: Steady | None = None
        self._moment = Moment(rig.neutral(), False, 0.0, None, self.ready)

    def __enter__(self) -> "LiveTracker":
        self._mesh = FaceMesh(video=True).__enter__()
        self._close = FaceMesh().__enter__()
        self._boxes = FaceBoxes().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self._mesh, self._close, self._boxes):
            part.__exit__()

    def see(self, picture: UInt8[np.ndarray, "H W 3"], time: float) -> Moment:
        """Follow one more picture, taken at `time` (seconds; later than the one before)."""
        found = self._find(picture)
        if found is None or not plausible(found):
            self._lost += 1
            if self._lost > _STALE:
                self._last, self._steady = None, None
                self._gaze.lose()
            self._moment = replace(
                self._moment, seen=False, confidence=0.0, landmarks=None, ready=self.ready
            )
            return self._moment
        confidence = confidence_of(found, self._last, picture.shape)
        self._last, self._lost = found, 0
        eyes = EyePicture.of(picture, found.points[:, :2].astype(np.float64))
        if not self.ready:
            self._seen.append(eyes)
            if len(self._seen) == self._learn:
                self._learn_person()
        expression = self._expression(self._fitted(eyes, time))
        self._moment = Moment(expression, True, confidence, found.points, self.ready)
        return self._moment

    def _find(self, picture: np.ndarray) -> Found | None:
        """The face that was followed, else the largest; small faces are looked at enlarged."""
        small = self._last is not None and self._last.width < _SMALL
        found = [] if small else self._mesh.find(picture)
        if found:
            return found[0]
        if self._last is not None:
            close = self._close.find_in(picture, self._last.centre, _LOOK * self._last.width)
            if close is not None:
                return close
        if self._lost % _SEARCH == 0:
            for x, y, side in self._boxes.find(picture)[:2]:
                close = self._close.find_in(picture, np.array([x, y]), _LOOK * side)
                if close is not None:
                    return close
        return None

    def _fitted(self, seen: EyePicture, time: float) -> Fitted:
        points = seen.points
        fresh = self._steady is None
        begin = self._begin(points) if self._steady is None else self._steady.raw
        rounds = 6 if fresh else 2
        nothing = np.full(len(self.rig.shape_names), np.nan)
        here = (self._model, points, self.focal, self.centre)
        if fresh:
            begin = fit_frame(*here, begin, nothing, 4, held=0.0)
        eyes = self._eyes.read(points, begin, self.focal, self.centre)
        now = fit_frame(*here, begin, eyes, rounds, held=0.0 if fresh else _HOLD * self._smooth)
        if self.ready:
            now = self._looking(now, seen, self._eyes.open)
        if self._steady is None or self._smooth == 0:
            self._steady = Steady(now, now, np.zeros(3), np.zeros(3), time)
        else:
            self._steady = self._steady.after(now, time, self._smooth)
        return self._steady.shown

    def _looking(self, at: Fitted, seen: EyePicture, lids: list[float]) -> Fitted:
        """The same, its eyes turned to where their pixels say they look."""
        curves = self._gaze.read(seen, at, self.focal, self.centre, lids)
        coefficients = at.coefficients.copy()
        for name, value in curves.items():
            coefficients[self.rig.shape_names.index(name)] = value
        return replace(at, coefficients=coefficients)

    def _begin(self, points: np.ndarray) -> Fitted:
        """A first guess: the resting head turned to where the landmarks are."""
        alone = evidence_of(self._as_clip([points]), self.camera)
        rest = replace(self._points, base=torch.from_numpy(self._model.base).float())
        begin = start(rest, alone, self.focal)
        return Fitted(
            begin.rotation[0].double().numpy(),
            begin.translation[0].double().numpy(),
            np.zeros(len(self._model.shapes)),
        )

    def _as_clip(self, points: list[np.ndarray]) -> Landmarks2D:
        flat = np.zeros((len(points), POINTS, 3), np.float32)
        for row, own in zip(flat, points, strict=True):
            row[:, :2] = own[:, :2]
        return Landmarks2D(
            flat,
            np.ones(len(points), np.float32),
            np.zeros(len(points), np.int64),
            np.zeros(len(points), bool),
        )

    def _learn_person(self) -> None:
        """Bundle adjustment of the frames so far: who it is, and how their landmarks differ."""
        chosen = (
            np.linspace(0, len(self._seen) - 1, min(_KEPT, len(self._seen))).round().astype(int)
        )
        kept = [self._seen[i] for i in chosen]
        evidence = evidence_of(self._as_clip([k.points for k in kept]), self.camera)
        model = self._points
        priors = default_priors(model, 0.0)
        solution = solve(model, evidence, priors, start(model, evidence, self.focal), rounds=8)
        personal = adapt(model, evidence, solution, 0)
        self.identity = Identity(self.rig.name, solution.identity)
        self._know(personal.model, solution.identity.numpy())
        self.ready, self._steady = True, None
        fits, lids = [], []
        for index, eyes in zip(chosen, kept, strict=True):
            fits.append(self._fitted(eyes, float(index)))
            lids.append(self._eyes.open)
        if self._gaze.learn():
            fits = [self._looking(*row) for row in zip(fits, kept, lids, strict=True)]
        self.calm = _together([self._expression(at) for at in fits])
        self._seen = []

    def _know(self, model: PointModel, directions: np.ndarray) -> None:
        known = FrameModel.of(model, directions, default_priors(model, 1.0))
        if "tongueOut" in self.rig.shape_names:  # no landmark shows it, an open jaw looks alike
            known = known.without(self.rig.shape_names.index("tongueOut"))
        self._model = known
        self._eyes = LiveEyes(self.rig, self.identity)
        self._gaze = LiveGaze(self.rig, self.identity)

    def _expression(self, at: Fitted) -> Expression:
        names = len(self.rig.shape_names)
        values = torch.from_numpy(at.coefficients).float()
        camera_from_head = rigid(
            torch.from_numpy(at.rotation).float(), torch.from_numpy(at.translation).float()
        )
        return replace(
            self.rig.neutral(),
            coefficients=values[:names],
            world_from_head=invert_rigid(self.camera.camera_from_world) @ camera_from_head,
            personal=values[names:] if len(values) > names else None,
        )


@dataclass(frozen=True, eq=False)
class Steady:
    """A pose without shimmer (the one-euro filter of Casiez et al., 2012): the slower a head
    moves, the more it is smoothed, so that fast turns do not lag."""

    raw: Fitted
    shown: Fitted
    turning: Float[np.ndarray, " 3"]
    shifting: Float[np.ndarray, " 3"]
    time: float

    def after(self, now: Fitted, time: float, strength: float) -> "Steady":
        step = float(np.clip(time - self.time, 1e-3, 0.2))
        away = now.rotation @ self.shown.rotation.T
        turn = matrix_to_axis_angle(torch.from_numpy(away)).numpy()
        jump = matrix_to_axis_angle(torch.from_numpy(now.rotation @ self.raw.rotation.T)).numpy()
        own = _share(1.0, step)
        turning = self.turning + own * (jump / step - self.turning)
        shifting = self.shifting + own * (
            (now.translation - self.raw.translation) / step - self.shifting
        )
        a = _share((_TURN[0] + _TURN[1] * float(np.linalg.norm(turning))) / strength, step)
        b = _share((_SHIFT[0] + _SHIFT[1] * float(np.linalg.norm(shifting))) / strength, step)
        shown = Fitted(
            _matrix(a * turn) @ self.shown.rotation,
            self.shown.translation + b * (now.translation - self.shown.translation),
            now.coefficients,
        )
        return Steady(now, shown, turning, shifting, time)


def _share(cutoff: float, step: float) -> float:
    """How much of a new value gets through a low-pass with that cutoff (Hz)."""
    through = 2 * np.pi * cutoff * step
    return float(through / (through + 1))


def _matrix(turn: np.ndarray) -> np.ndarray:
    return axis_angle_to_matrix(torch.from_numpy(turn)).numpy()


def _together(moments: list[Expression]) -> Expression:
    """Moments as one batch."""
    rows = {
        name: torch.stack([getattr(m, name) for m in moments])
        for name in ("coefficients", "joints", "world_from_head")
    }
    return Expression(moments[0].rig, **rows)
