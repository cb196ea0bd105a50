"""What a clip's landmarks say and how far they are believed: the solver's evidence and priors."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera
from likeness.trackers.detection import Landmarks2D
from likeness.trackers.eyes import RIMS
from likeness.trackers.plausible import usual_pull
from likeness.trackers.point_model import PointModel
from likeness.trackers.regions import OVAL
from likeness.trackers.solve import Evidence, Priors, Solution, residual_of

_FACE = 150.0  # pixels; residuals are counted as if the face were this wide
_HELD = 2e4  # how strongly blinks and gaze keep what the pictures said


def evidence_of(
    found: Landmarks2D, camera: Camera, worth: Float[Tensor, " K"] | None = None
) -> Evidence:
    """Landmarks weighed by what they are worth; unless told, contour points count little, for they
    slide, and irises more."""
    points = torch.from_numpy(found.points[..., :2]).float()
    seen = torch.from_numpy(found.confidence > 0)
    width = points[:, :468, 0].amax(-1) - points[:, :468, 0].amin(-1)
    width = float(width[seen].median())
    if worth is None:
        worth = torch.ones(points.shape[1])
        worth[list(OVAL)] = 0.1
        worth[468:] = 1.5
    weights = worth * seen[:, None] * (_FACE / width) ** 2
    shots = found.shots
    joined = np.zeros(len(shots), np.float32)
    joined[1:-1] = (shots[1:-1] == shots[:-2]) & (shots[1:-1] == shots[2:])
    known = found.confidence > 0
    joined[1:-1] *= known[1:-1] & known[:-2] & known[2:]
    return Evidence(
        torch.nan_to_num(points),
        weights,
        torch.from_numpy(joined),
        camera.intrinsics[:2, 2].clone(),
        wide=width / _FACE,
    )


def spread(use: Tensor, most: int) -> Tensor:
    """At most so many of some frames, evenly."""
    return use[torch.linspace(0, len(use) - 1, min(most, len(use))).round().long()]


def as_one_witness(model: PointModel, priors: Priors, frames: int) -> Priors:
    """Frames of one clip repeat each other's errors: where those are accounted for, all together
    say no more of who someone is than one would."""
    return replace(priors, identity=priors.identity * frames) if model.strange_shapes else priors


def own_directions(model: PointModel, solution: Solution) -> Float[Tensor, " D"]:
    """Who someone is, without how the face mesh errs on them."""
    return solution.identity[: len(solution.identity) - model.strange_directions]


def as_rigged(
    model: PointModel, evidence: Evidence, solution: Solution
) -> tuple[PointModel, Solution]:
    """What the rig alone says of each frame, and by how much that misses the landmarks."""
    count = solution.coefficients.shape[1] - model.strange_shapes
    model = model.without_strange_shapes()
    plain = replace(solution, coefficients=solution.coefficients[:, :count])
    return model, replace(plain, residual=residual_of(model, evidence, plain))


def chosen(evidence: Evidence, use: Tensor) -> Evidence:
    """Some frames only; smoothness holds where the chosen ones were neighbours."""
    gap = torch.ones(len(use))
    if len(use) > 2:
        gap[1:-1] = ((use[1:-1] - use[:-2] == 1) & (use[2:] - use[1:-1] == 1)).float()
    gap[[0, -1]] = 0
    return replace(
        evidence,
        points=evidence.points[use],
        weights=evidence.weights[use],
        joined=evidence.joined[use] * gap,
        curves=None if evidence.curves is None else evidence.curves[use],
    )


def chosen_frames(solution: Solution, use: Tensor) -> Solution:
    return replace(
        solution,
        rotation=solution.rotation[use],
        translation=solution.translation[use],
        coefficients=solution.coefficients[use],
        residual=solution.residual[use],
    )


def with_eyes(evidence: Evidence, curves: Float[Tensor, "T E"]) -> Evidence:
    """Blinks and gaze held as measured (NaN: not measured); the mesh's lid points, which lag
    behind real lids, no longer count."""
    measured = ~curves.isnan().all(0)
    weights = evidence.weights.clone()
    if bool(measured.any()):
        weights[:, RIMS.ravel()] *= 0.2
        weights[:, 468:] *= 0.2
    return replace(
        evidence, weights=weights, curves=curves.nan_to_num(), sure=_HELD * measured.float()
    )


def default_priors(model: PointModel, smooth: float) -> Priors:
    """Pulls to rest; each coefficient is held in its range. Blinks are barely smoothed. What comes
    after the named shapes counts in standard deviations."""
    count, named = len(model.shapes), len(model.names)
    pull = torch.diag(torch.full((count,), 3.0))
    pull[:named, :named] = usual_pull(model.names)
    still = model.shapes.norm(dim=-1).amax(-1) < 1e-6  # metres at full strength
    pull[still] = pull[:, still] = 0
    pull[still, still] = 1e6
    hold = torch.full((count,), 30.0)
    hold[:14] = 4.0  # the eyes come first among ARKit's names
    low, high = torch.zeros(count), torch.full((count,), 1.0)
    low[named:], high[named:] = -4.0, 4.0
    hold[named:] = 3.0
    identity = torch.full((len(model.directions),), 0.5)
    if model.strange_directions:
        identity[: -model.strange_directions] = 1.5
        identity[-model.strange_directions :] = 1.0
    if model.strange_shapes:
        own = slice(count - model.strange_shapes, count)
        pull[own, own] = torch.eye(model.strange_shapes)
    return Priors(
        pull, smooth * hold, low, high, identity=identity,
        turn=3e4 * smooth, shift=3e6 * smooth, depth=1e6 * smooth,
    )  # fmt: skip
