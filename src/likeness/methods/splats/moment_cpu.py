"""CPU twin of a moment: a kernel for what is some sixty small operations of torch."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from likeness.core.expression import Expression
from likeness.methods.splats.code import SHIFT, TURN
from likeness.methods.splats.moment import Standing, _moment
from likeness.methods.splats.stance_cpu import after, back_of, fits, stand, vertices_of
from likeness.ops.carry_cpu import _quaternion
from likeness.ops.jit import njit
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
    back_of(rest_head, one)
    one[:3, 3] = 0.0
    after(one, head, two)
    x, y, z = _turn_of(two)
    values[at], values[at + 1], values[at + 2] = TURN * x, TURN * y, TURN * z
    back_of(head, one)
    after(one, torso, two)
    back_of(rest_torso, one)
    after(two, one, three)
    x, y, z = _turn_of(three)
    values[at + 3], values[at + 4], values[at + 5] = TURN * x, TURN * y, TURN * z
    for i in range(3):
        values[at + 6 + i] = SHIFT * three[i, 3]
    values[at + 9 : at + 9 + bends.shape[0]] = bends
    found, numbers = np.empty(bias.shape[0]), np.empty(code.shape[0])
    _linear(values, code_mean, directions, np.empty(0), code_low, code_high, numbers)
    code[:] = numbers
    _linear(values, mean, weights, bias, low, high, found)
    stand(
        coefficients, personal, joints, head, torso, rest_torso, modes, found, shape_joints,
        positions, parents, given, stands, motions,
    )  # fmt: skip


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


def moment(avatar: "SplatAvatar", expression: Expression) -> Standing:
    """One moment in float32, of this avatar's rig; else the definition."""
    surface = avatar.surface
    e, count, personal = expression, surface.coefficients, surface.personal
    if not fits(avatar, e):
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
    vertices = vertices_of(surface, weights, motions)[0]
    return torch.from_numpy(found), vertices, stands[0], stands[1]
