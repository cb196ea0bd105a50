"""Real spherical harmonics, in the order and with the signs that 3DGS and instant-ngp share."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.ops.twins import one_place, pick

_C0 = 0.28209479177387814
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
_C3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154)
_C4 = (
    *(2.5033429417967046, 1.7701307697799304, 0.9461746957575601, 0.6690465435572892),
    *(0.10578554691520431, 0.47308734787878004, 0.6258357354491761),
)


def spherical_harmonics(directions: Float[Tensor, "*b 3"], degree: int) -> Float[Tensor, "*b H"]:
    """The `(degree + 1)^2` harmonics of unit `directions`, for a degree of 0 to 4.

    Polynomials in x, y, z: off the unit sphere they are still finite, but mean nothing. What
    tiny-cuda-nn calls degree 4 (16 features) is 3 here.
    """
    if not 0 <= degree <= 4:
        raise BadInput(f"Spherical harmonics of degree {degree} are not here. Use 0 to 4.")
    x, y, z = directions.unbind(-1)
    bands = [[_C0 + 0 * x]]
    if degree > 0:
        bands.append([-_C1 * y, _C1 * z, -_C1 * x])
    if degree > 1:
        bands.append(_second(x, y, z))
    if degree > 2:
        bands.append(_third(x, y, z))
    if degree > 3:
        bands.append(_fourth(x, y, z))
    return torch.stack([value for band in bands for value in band], dim=-1)


def _second(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    a, b, c = _C2
    return [a * x * y, -a * y * z, b * (3 * z * z - 1), -a * x * z, c * (x * x - y * y)]


def _third(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    a, b, c, d = _C3
    xx, yy, zz = x * x, y * y, z * z
    return [
        -a * y * (3 * xx - yy),
        b * x * y * z,
        c * y * (1 - 5 * zz),
        d * z * (5 * zz - 3),
        c * x * (1 - 5 * zz),
        b / 2 * z * (xx - yy),
        -a * x * (xx - 3 * yy),
    ]


def _fourth(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    a, b, c, d, e, f, g = _C4
    xx, yy, zz = x * x, y * y, z * z
    return [
        a * x * y * (xx - yy),
        -b * y * z * (3 * xx - yy),
        c * x * y * (7 * zz - 1),
        d * y * z * (3 - 7 * zz),
        e * (zz * (35 * zz - 30) + 3),
        d * x * z * (3 - 7 * zz),
        f * (xx - yy) * (7 * zz - 1),
        -b * x * z * (xx - 3 * yy),
        g * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
    ]


def splat_colour(
    harmonics: Float[Tensor, "N H 3"], directions: Float[Tensor, "N 3"]
) -> Float[Tensor, "N 3"]:
    """Colour seen along unit `directions` (from the camera to the splat); never below 0.

    Harmonics of degree 0 to 4 (`H` is 1, 4, 9, 16 or 25), in the convention of 3D Gaussian
    splatting: the constant term is offset by one half.
    """
    one_place(harmonics, directions)
    degree = math.isqrt(harmonics.shape[1]) - 1
    if (degree + 1) ** 2 != harmonics.shape[1] or not 0 <= degree <= 4:
        raise BadInput(
            f"{harmonics.shape[1]} harmonics per splat are no whole degree. Use 1, 4, 9, 16 or 25."
        )
    return pick(_splat_colour, harmonics.device.type)(harmonics, directions, degree)


def _splat_colour(harmonics: Tensor, directions: Tensor, degree: int) -> Tensor:
    basis = spherical_harmonics(directions, degree)
    return ((basis[..., None] * harmonics).sum(1) + 0.5).clamp(min=0)


def turned_harmonics(
    harmonics: Float[Tensor, "N H 3"], rotation: Float[Tensor, "N 3 3"]
) -> Float[Tensor, "N H 3"]:
    """Harmonics that are seen along `d` as the given ones are along `rotation^T d`.

    A rotation mixes harmonics of one degree only, by a matrix that is found from what the
    harmonics are in some directions before and after it.
    """
    degree = math.isqrt(harmonics.shape[1]) - 1
    some = F.normalize(
        torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=-1
    ).to(harmonics.device)
    there = torch.linalg.pinv(spherical_harmonics(some, degree))  # H 64
    kinds, which = torch.unique(rotation.reshape(-1, 9), dim=0, return_inverse=True)
    here = spherical_harmonics(some @ kinds.view(-1, 3, 3).double(), degree)  # R 64 H
    return (there @ here).to(harmonics.dtype)[which] @ harmonics
