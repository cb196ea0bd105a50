"""Rotations, rigid motions, and the alignment of point sets. Any batch, any float type."""

import torch
from jaxtyping import Float
from torch import Tensor


def hat(v: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """The skew matrix with `hat(v) @ x == cross(v, x)`."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def axis_angle_to_matrix(v: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rodrigues' formula; exact and smooth at zero, where its gradient is finite."""
    square = (v * v).sum(-1)[..., None, None]
    small = square < 1e-8
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    a = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)
    b = torch.where(small, 0.5 - square / 24, (1 - torch.cos(angle)) / safe)
    k = hat(v)
    eye = torch.eye(3, dtype=v.dtype, device=v.device)
    return eye + a * k + b * (k @ k)


def matrix_to_quaternion(m: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 4"]:
    """Unit wxyz with w >= 0, from whichever of four formulas is best conditioned."""
    m00, m01, m02 = m[..., 0, 0], m[..., 0, 1], m[..., 0, 2]
    m10, m11, m12 = m[..., 1, 0], m[..., 1, 1], m[..., 1, 2]
    m20, m21, m22 = m[..., 2, 0], m[..., 2, 1], m[..., 2, 2]
    w2, x2 = 1 + m00 + m11 + m22, 1 + m00 - m11 - m22
    y2, z2 = 1 - m00 + m11 - m22, 1 - m00 - m11 + m22
    rows = torch.stack(
        [
            torch.stack([w2, m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, x2, m01 + m10, m02 + m20], -1),
            torch.stack([m02 - m20, m01 + m10, y2, m12 + m21], -1),
            torch.stack([m10 - m01, m02 + m20, m12 + m21, z2], -1),
        ],
        -2,
    )
    best = torch.stack([w2, x2, y2, z2], -1).argmax(-1)
    chosen = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4))[..., 0, :]
    unit = torch.nn.functional.normalize(chosen, dim=-1)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def quaternion_to_matrix(q: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """From wxyz of any length but zero."""
    w, x, y, z = torch.nn.functional.normalize(q, dim=-1).unbind(-1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ],
        -1,
    ).unflatten(-1, (3, 3))  # fmt: skip


def quaternion_multiply(a: Float[Tensor, "*#b 4"], b: Float[Tensor, "*#b 4"]) -> Tensor:
    """The rotation `b`, then `a`; wxyz."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def matrix_to_axis_angle(m: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3"]:
    """Angle in [0, pi]; right near both ends."""
    q = matrix_to_quaternion(m)
    w, xyz = q[..., :1].clamp(-1, 1), q[..., 1:]
    sine = xyz.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, w)
    small = sine < 1e-6
    factor = torch.where(small, 2 / w.clamp(min=0.5), angle / sine.clamp(min=1e-12))
    return factor * xyz


def rotation_6d_to_matrix(v: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 3 3"]:
    """Two columns made orthonormal; the third is their cross product."""
    first = torch.nn.functional.normalize(v[..., :3], dim=-1)
    second = v[..., 3:] - (first * v[..., 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def rigid(rotation: Float[Tensor, "*b 3 3"], translation: Float[Tensor, "*b 3"]) -> Tensor:
    """A 4x4 motion: rotate, then translate."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)


def invert_rigid(m: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    """`b_from_a` out of `a_from_b`, for rotation and translation only."""
    back = m[..., :3, :3].mT
    return rigid(back, -(back @ m[..., :3, 3:])[..., 0])


def transform(m: Float[Tensor, "*#b 4 4"], points: Float[Tensor, "*#b N 3"]) -> Tensor:
    return points @ m[..., :3, :3].mT + m[..., None, :3, 3]


def se3_exp(v: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 4 4"]:
    """The motion of a unit of time with angular velocity `v[:3]` and velocity `v[3:]`."""
    omega, u = v[..., :3], v[..., 3:]
    square = (omega * omega).sum(-1)[..., None, None]
    small = square < 1e-8
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    b = torch.where(small, 0.5 - square / 24, (1 - torch.cos(angle)) / safe)
    c = torch.where(small, 1 / 6 - square / 120, (angle - torch.sin(angle)) / (safe * angle))
    k = hat(omega)
    left = torch.eye(3, dtype=v.dtype, device=v.device) + b * k + c * (k @ k)
    return rigid(axis_angle_to_matrix(omega), (left @ u[..., None])[..., 0])


def umeyama(
    source: Float[Tensor, "*b N 3"],
    target: Float[Tensor, "*b N 3"],
    weights: Float[Tensor, "*b N"] | None = None,
    scaled: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, rotation, translation that carry `source` nearest to `target` in least squares.

    Never a reflection. With `scaled=False` the scale is 1.
    """
    w = source.new_ones(source.shape[:-1]) if weights is None else weights
    w = (w / w.sum(-1, keepdim=True))[..., None]
    mean_s, mean_t = (w * source).sum(-2), (w * target).sum(-2)
    s, t = source - mean_s[..., None, :], target - mean_t[..., None, :]
    u, d, vt = torch.linalg.svd((w * t).mT @ s)
    flip = torch.ones_like(d)
    flip[..., 2] = torch.sign(torch.linalg.det(u @ vt))
    rotation = (u * flip[..., None, :]) @ vt
    scale = (d * flip).sum(-1) / (w * s * s).sum((-1, -2)).clamp(min=1e-30)
    if not scaled:
        scale = torch.ones_like(scale)
    translation = mean_t - scale[..., None] * (rotation @ mean_s[..., None])[..., 0]
    return scale, rotation, translation


def look_at(
    eye: Float[Tensor, "*#b 3"], target: Float[Tensor, "*#b 3"], up: Float[Tensor, "*#b 3"]
) -> Tensor:
    """`camera_from_world` of a camera at `eye` facing `target`, the picture's top towards `up`."""
    normalize = torch.nn.functional.normalize
    forward = normalize(target - eye, dim=-1)
    right = normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], -2)
    return rigid(rotation, -(rotation @ eye[..., None])[..., 0])
