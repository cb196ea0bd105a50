"""3D Gaussians to a picture: project, sort into tiles, blend front to back.

The stages are separate functions so that a method can keep what lies between them: the places on
screen carry the gradient that growth listens to.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.errors import Unsupported
from likeness.core.geometry import quaternion_to_matrix
from likeness.ops.twins import pick

NEAR = 0.01  # metres; nearer splats are not drawn
DILATION = 0.3  # square pixels added to every splat, so that none slips between pixels
LEAST_ALPHA = 1 / 255
MOST_ALPHA = 0.99
LEAST_LIGHT = 1e-4  # a pixel through which less shines is finished
WIDE = 1.3  # how far outside the picture the linearised projection follows, in half pictures


@dataclass(frozen=True, eq=False)
class Projected:
    """Gaussians on screen. A splat that cannot be drawn (behind, or not finite) has depth 0.

    `conic` is the inverse covariance in pixels, as xx, xy, yy. `compensation` is by how much the
    dilation would brighten the splat; multiply the opacity by it to draw antialiased.
    """

    xy: Float[Tensor, "N 2"]
    depth: Float[Tensor, " N"]
    conic: Float[Tensor, "N 3"]
    compensation: Float[Tensor, " N"]


def project_splats(
    means: Float[Tensor, "N 3"],
    rotation: Float[Tensor, "N 4"],
    scale: Float[Tensor, "N 3"],
    camera: Camera,
) -> Projected:
    """Where Gaussians of the world fall on screen, and how wide.

    `rotation` is wxyz of any length but zero, `scale` standard deviations in metres. The
    perspective is linearised at each mean (at most a little outside the picture). Gradients reach
    means, rotation, scale, and the camera.
    """
    if camera.camera_from_world.dim() != 2:
        raise Unsupported("Splats are projected for one camera at a time; take one of the batch.")
    k, pose = camera.intrinsics, camera.camera_from_world
    twin = pick(_project_splats, means.device.type)
    if (k.requires_grad or pose.requires_grad) and torch.is_grad_enabled():
        twin = _project_splats
    return Projected(*twin(means, rotation, scale, k, pose, camera.width, camera.height))


def _project_splats(
    means: Tensor,
    rotation: Tensor,
    scale: Tensor,
    intrinsics: Tensor,
    pose: Tensor,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    fx, fy = intrinsics[0, 0], intrinsics[1, 1]
    cx, cy = intrinsics[0, 2], intrinsics[1, 2]
    seen = means @ pose[:3, :3].mT + pose[:3, 3]
    finite = torch.isfinite(seen).all(-1) & torch.isfinite(rotation).all(-1)
    finite = finite & torch.isfinite(scale).all(-1) & (rotation.abs().sum(-1) > 0)
    ok = finite & (seen[:, 2] > NEAR)
    one = torch.ones_like(seen)
    seen = torch.where(ok[:, None], seen, one)
    turn = torch.where(ok[:, None], rotation, torch.ones_like(rotation))
    scale = torch.where(ok[:, None], scale, one)
    x, y, z = seen.unbind(-1)
    xy = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    wide, high = WIDE * 0.5 * width / fx, WIDE * 0.5 * height / fy
    tx = torch.minimum(torch.maximum(x / z, -wide), wide) * z
    ty = torch.minimum(torch.maximum(y / z, -high), high) * z
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [fx / z, zero, -fx * tx / (z * z), zero, fy / z, -fy * ty / (z * z)], -1
    ).unflatten(-1, (2, 3))
    axes = quaternion_to_matrix(turn) * scale[:, None]
    flat = jacobian @ pose[:3, :3] @ axes
    covariance = flat @ flat.mT
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    sharp = (a * c - b * b).clamp(min=0)
    a, c = a + DILATION, c + DILATION
    determinant = a * c - b * b
    conic = torch.stack([c, -b, a], -1) / determinant[:, None]
    compensation = (sharp / determinant + 1e-12).sqrt()
    none = torch.zeros_like(z)
    return (
        torch.where(ok[:, None], xy, torch.zeros_like(xy)),
        torch.where(ok, z, none),
        torch.where(ok[:, None], conic, torch.zeros_like(conic)),
        torch.where(ok, compensation, none),
    )


def rasterise_splats(
    projected: Projected,
    features: Float[Tensor, "N C"],
    opacity: Float[Tensor, " N"],
    width: int,
    height: int,
) -> tuple[Float[Tensor, "H W C"], Float[Tensor, "H W"]]:
    """Blend features front to back. Returns premultiplied features and alpha.

    A splat counts where its alpha is at least 1/255, never with more than 0.99, and a pixel ends
    when less than 1e-4 shines through. Splats of equal depth blend in the order given.
    """
    twin = pick(_rasterise_splats, features.device.type)
    return twin(projected.xy, projected.depth, projected.conic, features, opacity, width, height)


def _rasterise_splats(
    xy: Tensor,
    depth: Tensor,
    conic: Tensor,
    features: Tensor,
    opacity: Tensor,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    order = torch.argsort(depth, stable=True)
    order = order[(depth[order] > 0) & torch.isfinite(opacity[order])]
    order = order[torch.isfinite(features[order]).all(-1)]
    xy, conic, features, opacity = xy[order], conic[order], features[order], opacity[order]
    v, u = torch.meshgrid(
        torch.arange(height, dtype=xy.dtype, device=xy.device) + 0.5,
        torch.arange(width, dtype=xy.dtype, device=xy.device) + 0.5,
        indexing="ij",
    )
    dx, dy = u[..., None] - xy[:, 0], v[..., None] - xy[:, 1]
    power = -0.5 * (conic[:, 0] * dx * dx + conic[:, 2] * dy * dy) - conic[:, 1] * dx * dy
    alpha = (opacity * torch.exp(power.clamp(max=0))).clamp(max=MOST_ALPHA)
    alpha = torch.where(alpha >= LEAST_ALPHA, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, -1)
    before = torch.cat([torch.ones_like(after[..., :1]), after[..., :-1]], -1)
    alive = (after >= LEAST_LIGHT).to(alpha.dtype).cumprod(-1)
    weights = before * alpha * alive
    return weights @ features, weights.sum(-1)


def splat_colour(
    harmonics: Float[Tensor, "N H 3"], directions: Float[Tensor, "N 3"]
) -> Float[Tensor, "N 3"]:
    """Colour seen along unit `directions` (from the camera to the splat); never below 0.

    Real spherical harmonics of degree 0 to 3 in the convention of 3D Gaussian splatting: the
    constant term is offset by one half.
    """
    x, y, z = directions.unbind(-1)
    terms = [torch.full_like(x, 0.28209479177387814)]
    if harmonics.shape[1] > 1:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if harmonics.shape[1] > 4:
        xx, yy, zz = x * x, y * y, z * z
        terms += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if harmonics.shape[1] > 9:
        xx, yy, zz = x * x, y * y, z * z
        terms += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    basis = torch.stack(terms, -1)
    return ((basis[..., None] * harmonics).sum(1) + 0.5).clamp(min=0)
