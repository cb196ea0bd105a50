"""Bundle adjustment of a head: pose and expression of every frame, one identity, one focal.

Levenberg-Marquardt with the structure used: each frame's unknowns touch only that frame and the
shared ones, so the frames are eliminated (Schur complement) and one small system for the identity
is left. All frames at once, in batches. Residuals are reweighted robustly (Geman-McClure).
Smoothness pulls a frame towards the middle of its neighbours; how strongly is set per coefficient,
so that blinks pass.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.geometry import axis_angle_to_matrix, hat
from likeness.trackers.point_model import PointModel
from likeness.trackers.together import side_by_side

_POSE = 6
_CHUNK = 32  # frames at a time: what they need stays near the processor


@dataclass(frozen=True, eq=False)
class Priors:
    """What is believed before looking. Strengths are in squared pixels at a face 150 wide."""

    coefficients: Float[Tensor, "E E"]
    """Pull of coefficients to zero: an inverse covariance."""
    smooth: Float[Tensor, " E"]
    """Pull of each coefficient to the middle of its neighbours."""
    low: Float[Tensor, " E"]
    high: Float[Tensor, " E"]
    identity: float | Float[Tensor, " D"] = 0.5
    """Pull of each direction of identity to zero."""
    turn: float = 3e4
    """Smoothness of rotation, per squared radian."""
    shift: float = 3e6
    """Smoothness of place across the view, per squared metre."""
    depth: float = 3e5
    robust: float = 3.0
    """Pixels beyond which a landmark is doubted, at a face `Evidence.wide` says."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Rotations and translations are `camera_from_head`."""

    rotation: Float[Tensor, "T 3 3"]
    translation: Float[Tensor, "T 3"]
    coefficients: Float[Tensor, "T E"]
    identity: Float[Tensor, " D"]
    focal: float
    residual: Float[Tensor, "T K 2"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Landmarks in pixels with a weight each (0 where unseen), and which frames join neighbours."""

    points: Float[Tensor, "T K 2"]
    weights: Float[Tensor, "T K"]
    joined: Float[Tensor, " T"]
    """1 where a frame has neighbours on both sides in the same shot."""
    centre: Float[Tensor, " 2"]
    curves: Float[Tensor, "T E"] | None = None
    """Coefficients measured otherwise than by landmarks; those of personal modes are left out."""
    sure: Float[Tensor, " E"] | None = None
    """How strongly each of `curves` holds, as `Priors` count; 0 for those not measured."""
    wide: float = 1.0
    """Pixels that stand for one pixel of a face 150 wide."""


def start(model: PointModel, evidence: Evidence, focal: float) -> Solution:
    """Poses from an orthographic fit of the resting head to each frame on its own."""
    rest = model.base
    weights = evidence.weights * model.known
    count = len(evidence.points)
    flipped = rest * rest.new_tensor([1.0, -1.0, -1.0])  # a head facing a camera, in its axes
    xy = evidence.points - evidence.centre
    w = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)
    middle = (w[..., None] * flipped).sum(1)
    target = (w[..., None] * xy).sum(1)
    a = flipped - middle[:, None]
    b = xy - target[:, None]
    # two rows of a scaled rotation, by least squares, then made orthonormal
    gram = (w[..., None] * a).mT @ a + 1e-9 * torch.eye(3, dtype=a.dtype)
    rows = torch.linalg.solve(gram, (w[..., None] * a).mT @ b).mT
    u, s, vt = torch.linalg.svd(rows, full_matrices=False)
    scale = s.mean(-1).clamp(min=1e-6)
    two = u @ vt
    turn = torch.cat([two, torch.linalg.cross(two[:, 0], two[:, 1])[:, None]], 1)
    flip = torch.diag(rest.new_tensor([1.0, -1.0, -1.0]))
    rotation = turn @ flip
    depth = focal / scale
    place = torch.cat([target * (depth / focal)[:, None], depth[:, None]], -1)
    centred = place - (rotation @ (middle @ flip)[..., None])[..., 0]
    return Solution(
        rotation,
        centred,
        rest.new_zeros(count, len(model.shapes)),
        rest.new_zeros(len(model.directions)),
        focal,
        rest.new_zeros(count, rest.shape[0], 2),
    )


def solve(
    model: PointModel,
    evidence: Evidence,
    priors: Priors,
    begin: Solution,
    rounds: int = 12,
    learn_identity: bool = True,
    learn_pose: bool = True,
) -> Solution:
    """Refine a solution. With `learn_identity=False` the frames are solved for a known person,
    with `learn_pose=False` for known poses. Only the landmarks in `model.use` are looked at;
    residuals are of all."""
    every, all_seen = model, evidence
    if model.use is not None:
        model = model.used()
        evidence = replace(
            evidence,
            points=evidence.points[:, every.use],
            weights=evidence.weights[:, every.use],
        )
    now, damping = begin, 1e-3
    now = replace(now, residual=residual_of(model, evidence, now))
    cost = cost_of(evidence, priors, now)
    for _ in range(rounds):
        trial = _stepped(model, evidence, priors, now, damping, learn_identity, learn_pose)
        trial = replace(trial, residual=residual_of(model, evidence, trial))
        trial_cost = cost_of(evidence, priors, trial)
        if bool(torch.isfinite(trial_cost)) and trial_cost < cost * 1.0001:
            done = bool(cost - trial_cost < 1e-4 * cost)
            now, cost, damping = trial, trial_cost, max(damping * 0.3, 1e-6)
            if done:
                break
        else:
            damping *= 10
            if damping > 1e4:
                break
    return replace(now, residual=residual_of(every, all_seen, now))


def residual_of(model: PointModel, evidence: Evidence, at: Solution) -> Float[Tensor, "T K 2"]:
    """By how many pixels each landmark of the model misses what was seen."""
    head = model.at(at.identity, at.coefficients)
    head = head + model.strayed(at.rotation, at.translation)
    seen = head @ at.rotation.mT + at.translation[:, None]
    z = seen[..., 2:].clamp(min=0.01)
    return at.focal * seen[..., :2] / z + evidence.centre - evidence.points


def _robust(evidence: Evidence, priors: Priors, residual: Tensor) -> Tensor:
    """Geman-McClure weights: 1 for small residuals, falling for those beyond `robust`."""
    square = residual.square().sum(-1)
    far = (priors.robust * evidence.wide) ** 2
    return evidence.weights / (1 + square / far).square()


def cost_of(evidence: Evidence, priors: Priors, at: Solution) -> Tensor:
    """What `solve` makes small, at a solution with its residual."""
    square = at.residual.square().sum(-1)
    far = (priors.robust * evidence.wide) ** 2
    data = (evidence.weights * square / (1 + square / far)).sum()
    rest = ((at.coefficients @ priors.coefficients) * at.coefficients).sum()
    rest = rest + (priors.identity * at.identity.square()).sum()
    bend = _bend(at.coefficients, evidence.joined)
    shift = _bend(at.translation, evidence.joined)
    pull = at.translation.new_tensor([priors.shift, priors.shift, priors.depth])
    if evidence.curves is not None and evidence.sure is not None:
        away = at.coefficients[:, : len(evidence.sure)] - evidence.curves
        rest = rest + (evidence.sure * away.square()).sum()
    smooth = (priors.smooth * bend.square()).sum() + (pull * shift.square()).sum()
    return data + rest + smooth


def _middle(x: Tensor) -> Tensor:
    """Each row's neighbours' mean; the first and last rows are their own."""
    if len(x) < 3:
        return x
    return torch.cat([x[:1], 0.5 * (x[:-2] + x[2:]), x[-1:]])


def _bend(x: Tensor, joined: Tensor) -> Tensor:
    return (x - _middle(x)) * joined[:, None]


def _stepped(
    model: PointModel,
    evidence: Evidence,
    priors: Priors,
    at: Solution,
    damping: float,
    learn_identity: bool,
    learn_pose: bool,
) -> Solution:
    weight = _robust(evidence, priors, at.residual) * model.known
    learn_identity = learn_identity and len(model.directions) > 0
    bends = _bends(evidence, at)

    def solved(part: Tensor) -> _Part:
        return _solved(
            model, evidence, priors, at, part, weight, bends, damping, learn_identity, learn_pose
        )

    parts = list(side_by_side(solved, torch.arange(len(at.rotation)).split(_CHUNK)))
    d_identity, d_frames = torch.zeros_like(at.identity), torch.cat([p.direct for p in parts])
    shared = [p.shared for p in parts if p.shared is not None]
    if shared:
        pull = torch.as_tensor(priors.identity).expand(len(at.identity))
        own = torch.stack([s.own for s in shared]).sum(0) + torch.diag(pull)
        system = own - torch.stack([s.taken for s in shared]).sum(0)
        system = system + torch.diag(damping * own.diagonal() + 1e-6)
        right = torch.stack([s.right for s in shared]).sum(0) + pull * at.identity
        d_identity = torch.linalg.solve(system, right)
        d_frames = d_frames - torch.cat([s.through for s in shared]) @ d_identity
    turn = axis_angle_to_matrix(-d_frames[:, :3])
    coefficients = at.coefficients - d_frames[:, _POSE:]
    return replace(
        at,
        rotation=turn @ at.rotation,
        translation=at.translation - d_frames[:, 3:_POSE],
        coefficients=torch.maximum(torch.minimum(coefficients, priors.high), priors.low),
        identity=at.identity - d_identity,
    )


def _free(priors: Priors, coefficients: Tensor, gradient: Tensor, learn_pose: bool) -> Tensor:
    """1 for what may move in this step (T P). Coefficients at the end of their range that want
    further out stay there; else all others would count on a move that is then cut short."""
    slope = gradient[:, _POSE:]
    low = (coefficients <= priors.low) & (slope > 0)
    high = (coefficients >= priors.high) & (slope < 0)
    free = torch.ones_like(gradient)
    free[:, _POSE:] -= (low | high).to(free.dtype)
    free[:, :_POSE] *= float(learn_pose)
    return free


@dataclass(frozen=True, eq=False)
class _Shared:
    """What some frames say of the identity: its own block, what of it the frames take on
    themselves, the gradient that is left, and how frames follow it."""

    own: Float[Tensor, "D D"]
    taken: Float[Tensor, "D D"]
    right: Float[Tensor, " D"]
    through: Float[Tensor, "T P D"]


@dataclass(frozen=True, eq=False)
class _Part:
    """Some frames' step for an identity that stays, and what they say of it."""

    direct: Float[Tensor, "T P"]
    shared: _Shared | None


def _solved(
    model: PointModel,
    evidence: Evidence,
    priors: Priors,
    at: Solution,
    part: Tensor,
    weight: Tensor,
    bends: "_Bends",
    damping: float,
    learn_identity: bool,
    learn_pose: bool,
) -> _Part:
    """Normal equations of some frames, solved at once: those of a long clip would fill memory."""
    own, turned = _slopes(model, at, part)
    root = weight[part].sqrt().repeat_interleave(2, -1)[..., None]
    own *= root
    residual = root * at.residual[part].flatten(1)[..., None]
    frames, gradient = _squares(own), (own.mT @ residual)[..., 0]
    _add_priors(frames, gradient, evidence, priors, at, part, bends)
    free = _free(priors, at.coefficients[part], gradient, learn_pose)
    frames = frames + torch.diag_embed(damping * frames.diagonal(dim1=-2, dim2=-1) + 1e-6)
    frames = frames * free[:, :, None] * free[:, None] + torch.diag_embed(1 - free)
    factor = torch.linalg.cholesky(frames)
    direct = torch.cholesky_solve((gradient * free)[..., None], factor)
    if not learn_identity:
        return _Part(direct[..., 0], None)
    common = root * torch.einsum("tkij,dkj->tkid", turned, model.directions).flatten(1, 2)
    flat = common.flatten(0, 1)
    cross = (own.mT @ common) * free[..., None]
    through = torch.cholesky_solve(cross, factor)
    shared = _Shared(
        flat.mT @ flat,
        (cross.mT @ through).sum(0),
        flat.mT @ residual.flatten() - (cross.mT @ direct).sum(0)[:, 0],
        through,
    )
    return _Part(direct[..., 0], shared)


def _squares(rows: Float[Tensor, "T R P"]) -> Float[Tensor, "T P P"]:
    """Each matrix times itself: numpy's library knows that half of it is the other half."""
    return torch.from_numpy(np.stack([one.T @ one for one in rows.numpy()]))


def _slopes(model: PointModel, at: Solution, part: Tensor) -> tuple[Tensor, Tensor]:
    """Of some frames' pixels by turn, shift and coefficients (T 2K P), and by places in the head
    (T K 2 3)."""
    rotation, translation = at.rotation[part], at.translation[part]
    head = model.at(at.identity, at.coefficients[part]) + model.strayed(rotation, translation)
    turned = head @ rotation.mT
    project = pixel_slopes(turned + translation[:, None], at.focal)
    by_place = project @ rotation[:, None]
    count = len(part)
    by_shape = torch.bmm(  # landmark by landmark: few large products
        by_place.transpose(0, 1).reshape(-1, 2 * count, 3), model.shapes.permute(1, 2, 0)
    )
    slopes = project.new_empty(*project.shape[:-1], _POSE + len(model.shapes))
    slopes[..., :3] = -project @ hat(turned)
    slopes[..., 3:_POSE] = project
    slopes[..., _POSE:] = by_shape.unflatten(1, (count, 2)).transpose(0, 1)
    return slopes.flatten(1, 2), by_place


def pixel_slopes(seen: Float[Tensor, "*b 3"], focal: float) -> Float[Tensor, "*b 2 3"]:
    """By how much pixels move with what is seen there, in the camera's axes."""
    z = seen[..., 2:].clamp(min=0.01)
    flat = seen[..., :2] / z
    zero = torch.zeros_like(z[..., 0])
    f = focal / z[..., 0]
    rows = [f, zero, -f * flat[..., 0], zero, f, -f * flat[..., 1]]
    return torch.stack(rows, -1).unflatten(-1, (2, 3))


@dataclass(frozen=True, eq=False)
class _Bends:
    """How far each frame is from the middle of its neighbours, who stay put."""

    coefficients: Float[Tensor, "T E"]
    translation: Float[Tensor, "T 3"]
    rotation: Float[Tensor, "T 3"]


def _bends(evidence: Evidence, at: Solution) -> _Bends:
    return _Bends(
        _bend(at.coefficients, evidence.joined),
        _bend(at.translation, evidence.joined),
        _turn_bend(at.rotation) * evidence.joined[:, None],
    )


def _add_priors(
    frames: Tensor,
    gradient: Tensor,
    evidence: Evidence,
    priors: Priors,
    at: Solution,
    part: Tensor,
    bends: _Bends,
) -> None:
    """Pulls of some frames to zero, to measured curves, to the neighbours' middle."""
    diagonal = frames.diagonal(dim1=-2, dim2=-1)
    pull = at.translation.new_tensor([priors.shift, priors.shift, priors.depth])
    joined, coefficients = evidence.joined[part, None], at.coefficients[part]
    frames[:, _POSE:, _POSE:] += priors.coefficients
    diagonal[:, _POSE:] += priors.smooth * joined
    gradient[:, _POSE:] += coefficients @ priors.coefficients
    gradient[:, _POSE:] += priors.smooth * bends.coefficients[part]
    if evidence.curves is not None and evidence.sure is not None:
        named = slice(_POSE, _POSE + len(evidence.sure))
        away = coefficients[:, : len(evidence.sure)] - evidence.curves[part]
        diagonal[:, named] += evidence.sure
        gradient[:, named] += evidence.sure * away
    diagonal[:, 3:_POSE] += pull * joined
    gradient[:, 3:_POSE] += pull * bends.translation[part]
    diagonal[:, :3] += priors.turn * joined
    gradient[:, :3] += priors.turn * bends.rotation[part]


def _turn_bend(rotation: Tensor) -> Tensor:
    """How far each rotation is from its neighbours' middle, as a small axis-angle."""
    if len(rotation) < 3:
        return rotation.new_zeros(len(rotation), 3)
    mean = 0.5 * (rotation[:-2] + rotation[2:])
    away = rotation[1:-1] @ mean.mT
    skew = 0.5 * (away - away.mT)
    vector = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], -1)
    return torch.cat([vector[:1] * 0, vector, vector[:1] * 0])
