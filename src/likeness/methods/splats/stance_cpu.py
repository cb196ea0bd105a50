"""CPU twin of a stance: a kernel forth and one back for what is some hundred small operations."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.expression import Expression
from likeness.methods.splats.stance import Stance, _stance
from likeness.methods.splats.surface import Surface
from likeness.ops.jit import njit
from likeness.ops.skin_cpu import displace, turn, unskinned
from likeness.ops.twins import match_threads

if TYPE_CHECKING:
    from likeness.methods.splats.avatar import SplatAvatar


@njit(error_model="numpy")
def turned_by(x, y, z, out):
    """The rotation of an axis-angle into the corner of `out`. Returns what a velocity is
    multiplied by, along the first and second power of it, in a unit of time."""
    square = x * x + y * y + z * z
    angle = np.sqrt(square)
    if square < 1e-8:
        a, b, c = 1 - square / 6, 0.5 - square / 24, 1 / 6 - square / 120
    else:
        a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / square
        c = (angle - np.sin(angle)) / (square * angle)
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    for i in range(3):
        for j in range(3):
            twice = k[i, 0] * k[0, j] + k[i, 1] * k[1, j] + k[i, 2] * k[2, j]
            out[i, j] = (1.0 if i == j else 0.0) + a * k[i, j] + b * twice
    return b, c


@njit(error_model="numpy")
def moved_by(v, out):
    """`core.geometry.se3_exp` of six numbers."""
    x, y, z, a, b, c = v[0], v[1], v[2], v[3], v[4], v[5]
    first, second = turned_by(x, y, z, out)
    once = (y * c - z * b, z * a - x * c, x * b - y * a)
    twice = (
        y * once[2] - z * once[1], z * once[0] - x * once[2], x * once[1] - y * once[0],
    )  # fmt: skip
    for i in range(3):
        out[i, 3] = v[3 + i] + first * once[i] + second * twice[i]


@njit(error_model="numpy")
def after(a, b, out):
    """The rigid motion `b`, then `a`."""
    for i in range(3):
        for j in range(4):
            at = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
            out[i, j] = at + (a[i, 3] if j == 3 else 0.0)


@njit(error_model="numpy")
def back_of(a, out):
    for i in range(3):
        for j in range(3):
            out[i, j] = a[j, i]
        out[i, 3] = -(a[0, i] * a[0, 3] + a[1, i] * a[1, 3] + a[2, i] * a[2, 3])


@njit(cache=True, error_model="numpy")
def stand(
    coefficients, personal, joints, head, torso, rest_torso, modes, correction, shape_joints,
    positions, parents, given, stands, motions,
):  # fmt: skip
    """Fills what weighs shapes (`given`), the motions of head and torso, and those of joints, of a
    corrected expression. `modes` says whether personal modes are known."""
    count = coefficients.shape[0]
    one, two, three = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    for i in range(count):
        given[i] = coefficients[i] + correction[6 + i]
    for i in range(personal.shape[0]):
        given[count + i] = personal[i] + correction[6 + count + i] if modes else 0.0
    moved_by(correction[:6], one)
    after(head, one, stands[0])
    moved_by(correction[-6:], one)
    after(torso, one, two)
    back_of(rest_torso, three)
    after(two, three, stands[1])
    for j in range(joints.shape[0]):
        _local(joints, given, count, shape_joints, positions[j], j, one)
        if parents[j] < 0:
            motions[j] = one[:3]
        else:
            after(motions[parents[j]], one, motions[j])


@njit(error_model="numpy")
def _local(joints, given, count, shape_joints, position, j, out):
    """A joint's own turn about its place at rest. Returns its angles."""
    angles = np.empty(3)
    for i in range(3):
        angles[i] = joints[j, i]
        for k in range(count):
            angles[i] += given[k] * shape_joints[k, j, i]
    turned_by(angles[0], angles[1], angles[2], out)
    for i in range(3):
        p = position
        out[i, 3] = p[i] - (out[i, 0] * p[0] + out[i, 1] * p[1] + out[i, 2] * p[2])
    return angles


@njit(error_model="numpy")
def _powers(square):
    """What `turned_by` multiplies first and second powers with, and what velocities' second power
    is multiplied with; then how each changes with the angle, over the angle."""
    if square < 1e-4:
        return (
            1 - square / 6, 0.5 - square / 24, 1 / 6 - square / 120,
            -1 / 3 + square / 30, -1 / 12 + square / 180, -1 / 60 + square / 1260,
        )  # fmt: skip
    angle = np.sqrt(square)
    a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / square
    c = (1 - a) / square
    d_a, d_b = (np.cos(angle) - a) / square, (a - 2 * b) / square
    return a, b, c, d_a, d_b, (-d_a - 2 * c) / square


@njit(error_model="numpy")
def _by_vector(v, first, second, d_first, d_second, g, out):
    """Adds to `out` the gradient by `v` of a matrix, `first` times the cross product with `v` plus
    `second` times that twice, whose gradient is `g`."""
    k = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    h, once, twice = np.zeros((3, 3)), 0.0, 0.0
    for i in range(3):
        for j in range(3):
            once += g[i, j] * k[i, j]
            for m in range(3):
                twice += g[i, j] * k[i, m] * k[m, j]
                h[i, j] += g[i, m] * k[j, m] + k[m, i] * g[m, j]
    for n in range(3):
        i, j = (n + 2) % 3, (n + 1) % 3
        out[n] += first * (g[i, j] - g[j, i]) + second * (h[i, j] - h[j, i])
        out[n] += v[n] * (d_first * once + d_second * twice)


@njit(error_model="numpy")
def _moved_by_back(v, g, out):
    """Adds to `out` the gradient by `v` of `moved_by`, from that of the motion."""
    a, b, c, d_a, d_b, d_c = _powers(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    _by_vector(v, a, b, d_a, d_b, g[:, :3], out)
    k = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    along = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            along[i, j] = g[i, 3] * v[3 + j]
    _by_vector(v, b, c, d_b, d_c, along, out)
    for j in range(3):  # the transposed map, on the gradient of the shift
        out[3 + j] += g[j, 3]
        for i in range(3):
            twice = k[i, 0] * k[0, j] + k[i, 1] * k[1, j] + k[i, 2] * k[2, j]
            out[3 + j] += g[i, 3] * (b * k[i, j] + c * twice)


@njit(error_model="numpy")
def _before(motion, g, out):
    """The gradient of what `motion` comes after, from that of both together."""
    for i in range(3):
        for j in range(4):
            out[i, j] = motion[0, i] * g[0, j] + motion[1, i] * g[1, j] + motion[2, i] * g[2, j]


@njit(error_model="numpy")
def _later(own, g, out):
    """Adds the gradient of what comes after `own`, from that of both together."""
    for i in range(3):
        for j in range(3):
            for m in range(4):
                out[i, j] += g[i, m] * own[j, m]
        out[i, 3] += g[i, 3]


@njit(cache=True, error_model="numpy")
def _stand_back(
    joints, head, torso, rest_torso, modes, correction, shape_joints, positions, parents, given,
    motions, d_given, d_motions, d_stands, d_correction,
):  # fmt: skip
    """The gradient of a correction, from those of weights, of joints' motions (which it changes)
    and of the motions of head and torso."""
    count = shape_joints.shape[0]
    one, two, own = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    total = np.zeros(correction.shape[0])
    for n in range(joints.shape[0]):
        j = joints.shape[0] - 1 - n
        angles = _local(joints, given, count, shape_joints, positions[j], j, own)
        if parents[j] >= 0:
            _later(own, d_motions[j], d_motions[parents[j]])
            _before(motions[parents[j]], d_motions[j], one)
        else:
            one[:3] = d_motions[j]
        for i in range(3):
            for k in range(3):
                one[i, k] -= one[i, 3] * positions[j, k]
        a, b, _, d_a, d_b, _ = _powers(angles[0] ** 2 + angles[1] ** 2 + angles[2] ** 2)
        by_angle = np.zeros(3)
        _by_vector(angles, a, b, d_a, d_b, one[:3, :3], by_angle)
        for k in range(count):
            for i in range(3):
                total[6 + k] += by_angle[i] * shape_joints[k, j, i]
    for k in range(count if not modes else d_given.shape[0]):
        total[6 + k] += d_given[k]
    _before(head, d_stands[0], one)
    _moved_by_back(correction[:6], one, total[:6])
    back_of(rest_torso, own)
    two[:] = 0.0
    _later(own, d_stands[1], two)
    _before(torso, two, one)
    _moved_by_back(correction[-6:], one, total[-6:])
    for k in range(total.shape[0]):
        d_correction[k] = total[k]


@njit(cache=True, error_model="numpy")
def _vertices(template, frame, shapes, runs, weights, moved, skin, motions, before, out):
    count = template.shape[0]
    displace(template.reshape(-1), shapes, runs, weights, before.reshape(-1))
    out[:count], out[count:] = before, frame
    turn(moved, skin, motions, out)


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


def fits(avatar: "SplatAvatar", expression: Expression) -> bool:
    """Whether a kernel takes this: one moment in float32, of this avatar's rig."""
    e, surface = expression, avatar.surface
    given = [e.coefficients, e.joints, e.world_from_head, e.world_from_torso, e.personal, e.torso]
    return (
        all(x is None or x.dtype == torch.float32 for x in given)
        and e.coefficients.shape == (surface.coefficients,)
        and e.joints.shape == surface.joints.shape
        and e.world_from_head.shape == (4, 4)
    )


def vertices_of(surface: Surface, weights: np.ndarray, motions: np.ndarray) -> tuple[Tensor, ...]:
    """Vertices in the frame of the head with those of that frame, and the same before joints
    turned them."""
    count = len(surface.template)
    vertices, before = torch.empty(count + 3, 3), torch.empty(count, 3)
    _vertices(
        _plain(surface.template), _plain(surface.frame), _plain(surface.shapes).reshape(-1),
        _plain(surface.alive), weights, _plain(surface.moved), _plain(surface.moved_skin), motions,
        before.numpy(), vertices.numpy(),
    )  # fmt: skip
    return vertices, before


class _Standing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, avatar, expression, correction):
        e, surface = expression, avatar.surface
        count, personal = surface.coefficients, surface.personal
        modes = e.personal is not None and e.personal.shape == (personal,)
        torso = e.world_from_head if e.world_from_torso is None else e.world_from_torso
        parents = np.array(surface.parents, np.int64)
        ctx.fixed = (
            _plain(e.joints), _plain(e.world_from_head), _plain(torso), _plain(avatar.rest_torso),
            modes, _plain(correction), _plain(surface.shape_joints), _plain(surface.joints),
            parents,
        )  # fmt: skip
        weights = np.empty(count + personal, np.float32)
        stands = torch.zeros(2, 4, 4)
        stands[:, 3, 3] = 1
        motions = np.empty((len(parents), 3, 4), np.float32)
        nothing = np.zeros(personal, np.float32)
        modal = nothing if e.personal is None or not modes else _plain(e.personal)
        given = (_plain(e.coefficients), modal)
        match_threads()
        stand(*given, *ctx.fixed, weights, stands.numpy(), motions)
        vertices, before = vertices_of(surface, weights, motions)
        ctx.surface, ctx.weights, ctx.motions, ctx.before = surface, weights, motions, before
        return vertices, stands[0].clone(), stands[1].clone()

    @staticmethod
    def backward(ctx: Any, d_vertices, d_head, d_torso):  # type: ignore[override]
        surface, motions = ctx.surface, ctx.motions
        count = len(surface.template)
        gradient = d_vertices[:count].clone(memory_format=torch.contiguous_format)
        match_threads()
        d_weights, d_motions = unskinned(
            surface.shapes, surface.alive, surface.moved, surface.moved_skin,
            torch.from_numpy(motions), ctx.before, gradient,
        )  # fmt: skip
        d_stands, d_correction = torch.stack([d_head, d_torso]), np.empty_like(ctx.fixed[5])
        by_motion = d_motions.view(-1, 3, 4).numpy()
        _stand_back(
            *ctx.fixed, ctx.weights, motions, d_weights.numpy(), by_motion, d_stands.numpy(),
            d_correction,
        )  # fmt: skip
        return None, None, torch.from_numpy(d_correction)


def stance(avatar: "SplatAvatar", expression: Expression, correction: Tensor) -> Stance:
    """Where nothing but the correction is learned; else the definition."""
    e = expression
    given = (e.coefficients, e.joints, e.world_from_head, e.world_from_torso, e.personal)
    if (
        not fits(avatar, e)
        or correction.dtype != torch.float32
        or any(x is not None and x.requires_grad for x in given)
    ):
        return _stance(avatar, expression, correction)
    return _Standing.apply(avatar, expression, correction)  # type: ignore[return-value]
