"""One frame of landmarks to a pose and coefficients, begun at the frame before."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from likeness.core.geometry import axis_angle_to_matrix
from likeness.core.rig import Identity, Rig, embed
from likeness.trackers.eyes import RIMS
from likeness.trackers.point_model import PointModel
from likeness.trackers.regions import OVAL
from likeness.trackers.solve import Priors

_POSE = 6
_FACE = 150.0  # pixels; residuals are counted as if the face were this wide
_ROBUST = 3.0


@dataclass(frozen=True, eq=False)
class Fitted:
    """`camera_from_head`, and coefficients with those of personal modes after them."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, " 3"]
    coefficients: Float[np.ndarray, " E"]


@dataclass(frozen=True, eq=False)
class FrameModel:
    """One person's landmarks as numbers that a frame's fit is quick with."""

    base: Float[np.ndarray, "K 3"]
    shapes: Float[np.ndarray, "E K 3"]
    worth: Float[np.ndarray, " K"]
    """0 for landmarks the rig cannot place; contour points slide, lids and irises lag."""
    pull: Float[np.ndarray, "E E"]
    hold: Float[np.ndarray, " E"]
    low: Float[np.ndarray, " E"]
    high: Float[np.ndarray, " E"]

    @classmethod
    def of(
        cls, model: PointModel, identity: Float[np.ndarray, " D"], priors: Priors
    ) -> "FrameModel":
        base = model.rest(torch.from_numpy(np.asarray(identity, np.float32)))
        worth = model.known.numpy().astype(np.float64)
        worth[list(OVAL)] *= 0.1
        worth[RIMS.ravel()] *= 0.2
        worth[468:] *= 0.2
        pull = priors.coefficients
        numbers = (
            torch.diag(pull) if pull.dim() == 1 else pull,
            priors.smooth,
            priors.low,
            priors.high,
        )
        return cls(
            base.numpy().astype(np.float64),
            model.shapes.numpy().astype(np.float64),
            worth,
            *(n.numpy().astype(np.float64) for n in numbers),
        )

    def without(self, index: int) -> "FrameModel":
        """The same with one coefficient held at zero."""
        pull = self.pull.copy()
        pull[index], pull[:, index] = 0, 0
        pull[index, index] = 1e6
        return replace(self, pull=pull)


def person_model(rig: Rig, model: PointModel, identity: Identity) -> PointModel:
    """The point model of somebody who is known already, modes of their own included.

    `model` is that of the rig, whose shapes are used where the identity adapts none.
    """
    embedding = rig.landmarks("mediapipe478")
    still = rig.neutral()
    base = embed(rig.pose(identity, still), embedding)
    shapes = model.shapes
    if identity.shape_offsets is not None:
        moved = rig.neutral(len(rig.shape_names))
        eye = torch.eye(len(rig.shape_names), dtype=base.dtype)
        posed = rig.pose(replace(identity, modes=None), replace(moved, coefficients=eye))
        shapes = embed(posed, embedding) - base
    if identity.modes is not None:
        corners = identity.modes[:, rig.triangles[embedding.triangles]]
        modes = (corners * embedding.weights[..., None]).sum(-2)
        shapes = torch.cat([shapes, modes])
    return replace(model, base=base, directions=model.directions[:0], shapes=shapes)


def fit_frame(
    model: FrameModel,
    points: Float[np.ndarray, "K 2"],
    focal: float,
    centre: Float[np.ndarray, " 2"],
    begin: Fitted,
    eyes: Float[np.ndarray, " E"],
    rounds: int = 3,
    held: float = 1.0,
) -> Fitted:
    """A few Gauss-Newton steps from `begin`.

    `eyes` are coefficients measured otherwise, which stay as they are (NaN: not measured). With
    `held` the coefficients lean on those of `begin`, which is right for the frame after it.
    """
    fixed = ~np.isnan(eyes)
    names = len(eyes)
    coefficients = begin.coefficients.copy()
    coefficients[:names][fixed] = eyes[fixed]
    free = np.ones(len(coefficients), bool)
    free[:names] = ~fixed
    shapes = model.shapes[free]
    width = float(np.ptp(points[:468, 0]))
    weights = model.worth * (_FACE / max(width, 1.0)) ** 2
    pull, hold = model.pull[np.ix_(free, free)], held * model.hold[free]
    lean = model.pull[np.ix_(free, ~free)] @ coefficients[~free]
    before = begin.coefficients[free]
    rotation, translation = begin.rotation, begin.translation
    for _ in range(rounds):
        turned = (model.base + np.tensordot(coefficients, model.shapes, 1)) @ rotation.T
        at = turned + translation
        z = np.maximum(at[:, 2], 0.01)
        residual = focal * at[:, :2] / z[:, None] + centre - points
        square = (residual**2).sum(-1)
        # residuals in pixels of a face `_FACE` wide, doubted beyond `_ROBUST` (Geman-McClure)
        doubt = square * (_FACE / max(width, 1.0)) ** 2 / _ROBUST**2
        w = weights / (1 + doubt) ** 2
        slopes = _slopes(at, turned, z, focal, rotation, shapes)
        weighted = slopes * np.repeat(w, 2)[:, None]
        system = weighted.T @ slopes
        right = weighted.T @ residual.ravel()
        values = coefficients[free]
        system[_POSE:, _POSE:] += pull + np.diag(hold)
        right[_POSE:] += pull @ values + lean + hold * (values - before)
        system[np.diag_indices(len(system))] += 1e-6
        step = np.linalg.solve(system, right)
        turn = axis_angle_to_matrix(torch.from_numpy(-step[:3])).numpy()
        rotation = turn @ rotation
        translation = translation - step[3:_POSE]
        coefficients[free] = np.clip(values - step[_POSE:], model.low[free], model.high[free])
    return Fitted(rotation, translation, coefficients)


def _slopes(
    at: np.ndarray,
    turned: np.ndarray,
    z: np.ndarray,
    focal: float,
    rotation: np.ndarray,
    shapes: np.ndarray,
) -> Float[np.ndarray, "N P"]:
    """Derivatives of all pixels (x and y in turn) by turn, place and coefficients."""
    f, count = focal / z, len(z)
    x, y = at[:, 0] / z, at[:, 1] / z
    slopes = np.empty((count, 2, _POSE + len(shapes)))
    a, b, c = turned.T
    # project @ -hat(turned), written out
    slopes[:, 0, 0], slopes[:, 1, 0] = -f * x * b, -f * c - f * y * b
    slopes[:, 0, 1], slopes[:, 1, 1] = f * c + f * x * a, f * y * a
    slopes[:, 0, 2], slopes[:, 1, 2] = -f * b, f * a
    slopes[:, 0, 3:_POSE] = np.stack([f, np.zeros(count), -f * x], -1)
    slopes[:, 1, 3:_POSE] = np.stack([np.zeros(count), f, -f * y], -1)
    moved = shapes @ rotation.T  # E K 3
    slopes[:, 0, _POSE:] = (f * (moved[..., 0] - x * moved[..., 2])).T
    slopes[:, 1, _POSE:] = (f * (moved[..., 1] - y * moved[..., 2])).T
    return slopes.reshape(2 * count, -1)
