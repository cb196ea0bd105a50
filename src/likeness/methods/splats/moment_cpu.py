"""CPU twin of a moment: a kernel for what is some sixty small operations of torch."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from likeness.core.expression import Expression
from likeness.methods.splats.code import SHIFT, TURN
from likeness.methods.splats.moment import Standing, _moment
from likeness.ops.carry_cpu import _quaternion
from likeness.ops.jit import njit
from likeness.ops.skin_cpu import displace, turn
from likeness.ops.twins import match_threads

if TYPE_CHECKING:
    from likeness.methods.splats.avatar import SplatAvatar


@njit(error_model="numpy")
def _turn_of(m):
    """Axis-angle of a rotation: see `core.geometry.matrix_to_axis_angle`."""
    w, x, y, z = _quaternion(
        m[0, 0], m[0, 1], m[0, 2], m[1, 0], m[1, 1], m[1, 2], m[2, 0], m[2, 1], m[2, 2]
    )
    sine = np.sqrt(x * x + y * y + z * z)
    factor = 2 / max(w, 0.5) if sine < 1e-6 else 2 * np.arctan2(sine, w) / sine
    return factor * x, factor * y, factor * z


@njit(error_model="numpy")
def _turned_by(x, y, z, out):
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
def _moved_by(v, out):
    """`core.geometry.se3_exp` of six numbers."""
    x, y, z, a, b, c = v[0], v[1], v[2], v[3], v[4], v[5]
    first, second = _turned_by(x, y, z, out)
    once = (y * c - z * b, z * a - x * c, x * b - y * a)
    twice = (
        y * once[2] - z * once[1], z * once[0] - x * once[2], x * once[1] - y * once[0],
    )  # fmt: skip
    for i in range(3):
        out[i, 3] = v[3 + i] + first * once[i] + second * twice[i]


@njit(error_model="numpy")
def _after(a, b, out):
    """The rigid motion `b`, then `a`."""
    for i in range(3):
        for j in range(4):
            at = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
            out[i, j] = at + (a[i, 3] if j == 3 else 0.0)


@njit(error_model="numpy")
def _back(a, out):
    for i in range(3):
        for j in range(3):
            out[i, j] = a[j, i]
        out[i, 3] = -(a[0, i] * a[0, 3] + a[1, i] * a[1, 3] + a[2, i] * a[2, 3])


@njit(error_model="numpy")
def _linear(values, mean, weights, bias, low, high, out):
    """A row times a matrix, within bounds; `bias` may be empty."""
    out[:] = 0.0
    for i in range(values.shape[0]):
        value = values[i] - mean[i]
        if value != 0.0:
            for j in range(out.shape[0]):
                out[j] += value * weights[i, j]
    for j in range(out.shape[0]):
        at = out[j] + (bias[j] if bias.shape[0] else 0.0)
        out[j] = max(min(at, high[j]), low[j])


@njit(cache=True, error_model="numpy")
def _stand(
    coefficients, personal, joints, head, torso, bends, rest_head, rest_torso, modes,
    mean, weights, bias, low, high, code_mean, directions, code_low, code_high, shape_joints,
    positions, parents, code, given, stands, motions,
):  # fmt: skip
    """Fills the code, what weighs shapes, the motions of head and torso, and those of joints.
    `modes` says whether personal modes are known."""
    count = coefficients.shape[0]
    values = np.zeros(mean.shape[0])
    values[:count] = coefficients
    at = count + personal.shape[0]
    if modes:
        values[count:at] = personal
    for j in range(joints.shape[0]):
        for i in range(3):
            values[at + 3 * j + i] = joints[j, i]
    at += 3 * joints.shape[0]
    one, two, three = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    _back(rest_head, one)
    one[:3, 3] = 0.0
    _after(one, head, two)
    x, y, z = _turn_of(two)
    values[at], values[at + 1], values[at + 2] = TURN * x, TURN * y, TURN * z
    _back(head, one)
    _after(one, torso, two)
    _back(rest_torso, one)
    _after(two, one, three)
    x, y, z = _turn_of(three)
    values[at + 3], values[at + 4], values[at + 5] = TURN * x, TURN * y, TURN * z
    for i in range(3):
        values[at + 6 + i] = SHIFT * three[i, 3]
    values[at + 9 : at + 9 + bends.shape[0]] = bends
    found, numbers = np.empty(bias.shape[0]), np.empty(code.shape[0])
    _linear(values, code_mean, directions, np.empty(0), code_low, code_high, numbers)
    code[:] = numbers
    _linear(values, mean, weights, bias, low, high, found)
    for i in range(count):
        given[i] = coefficients[i] + found[6 + i]
    for i in range(personal.shape[0]):
        given[count + i] = personal[i] + found[6 + count + i] if modes else 0.0
    _moved_by(found[:6], one)
    _after(head, one, stands[0])
    _moved_by(found[-6:], one)
    _after(torso, one, two)
    _back(rest_torso, one)
    _after(two, one, stands[1])
    for j in range(joints.shape[0]):
        angles = np.empty(3)
        for i in range(3):
            angles[i] = joints[j, i]
            for k in range(count):
                angles[i] += given[k] * shape_joints[k, j, i]
        _turned_by(angles[0], angles[1], angles[2], one)
        for i in range(3):
            p = positions[j]
            one[i, 3] = p[i] - (one[i, 0] * p[0] + one[i, 1] * p[1] + one[i, 2] * p[2])
        if parents[j] < 0:
            motions[j] = one[:3]
        else:
            _after(motions[parents[j]], one, motions[j])


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


def moment(avatar: "SplatAvatar", expression: Expression) -> Standing:
    """One moment in float32, of this avatar's rig; else the definition."""
    surface = avatar.surface
    e, count, personal = expression, surface.coefficients, surface.personal
    given = [e.coefficients, e.joints, e.world_from_head, e.world_from_torso, e.personal, e.torso]
    if (
        any(x is not None and x.dtype != torch.float32 for x in given)
        or e.coefficients.shape != (count,)
        or e.joints.shape != surface.joints.shape
        or e.world_from_head.shape != (4, 4)
    ):
        return _moment(avatar, expression)
    match_threads()
    modes = e.personal is not None and e.personal.shape == (personal,)
    bends = e.torso if e.torso is not None and e.torso.shape == (avatar.bends,) else None
    torso = e.world_from_head if e.world_from_torso is None else e.world_from_torso
    regression, code = avatar.regression, avatar.code
    found = np.empty(code.directions.shape[1], np.float32)
    weights = np.empty(count + personal, np.float32)
    stands = torch.zeros(2, 4, 4)
    stands[:, 3, 3] = 1
    motions = np.empty((len(surface.parents), 3, 4), np.float32)
    none = np.zeros(max(personal, avatar.bends), np.float32)
    _stand(
        _plain(e.coefficients), _plain(e.personal) if modes else none[:personal],  # type: ignore[arg-type]
        _plain(e.joints), _plain(e.world_from_head), _plain(torso),
        none[: avatar.bends] if bends is None else _plain(bends),
        _plain(avatar.rest_head), _plain(avatar.rest_torso), modes,
        *(_plain(x) for x in (
            regression.mean, regression.weights, regression.bias, regression.low, regression.high,
            code.mean, code.directions, code.low, code.high, surface.shape_joints, surface.joints,
        )), np.array(surface.parents, np.int64), found, weights, stands.numpy(), motions,
    )  # fmt: skip
    template = surface.template
    vertices = torch.empty(len(template) + 3, 3)
    vertices[-3:] = surface.frame
    room, flat = (
        vertices.numpy(),
        (_plain(template).reshape(-1), _plain(surface.shapes).reshape(-1)),
    )
    displace(*flat, _plain(surface.alive), weights, room.reshape(-1))
    turn(_plain(surface.moved), _plain(surface.moved_skin), motions, room)
    return torch.from_numpy(found), vertices, stands[0], stands[1]
