"""3D Gaussians to a picture: project, sort into tiles, blend front to back.

The stages are separate functions so that a method can keep what lies between them: the places on
screen carry the gradient that growth listens to.
"""

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.errors import BadInput
from likeness.core.geometry import quaternion_to_matrix
from likeness.ops.twins import one_place, pick

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

    xy: Float[Tensor, "*b N 2"]
    depth: Float[Tensor, "*b N"]
    conic: Float[Tensor, "*b N 3"]
    compensation: Float[Tensor, "*b N"]


def project_splats(
    means: Float[Tensor, "N 3"],
    rotation: Float[Tensor, "N 4"],
    scale: Float[Tensor, "N 3"],
    camera: Camera,
) -> Projected:
    """Where Gaussians of the world fall on screen, and how wide.

    `rotation` is wxyz of any length but zero, `scale` standard deviations in metres. The
    perspective is linearised at each mean (at most a little outside the picture). Gradients reach
    means, rotation, scale, and the camera. A batch of cameras gives a batch of projections.
    """
    k, pose = camera.intrinsics, camera.camera_from_world
    one_place(means, rotation, scale, k, pose)
    twin = pick(_project_splats, means.device.type)
    if (k.requires_grad or pose.requires_grad) and torch.is_grad_enabled():
        twin = _project_splats
    batch = pose.shape[:-2]
    size = (camera.width, camera.height)
    if not batch:
        return Projected(*twin(means, rotation, scale, k, pose, *size))
    if not prod(batch):
        raise BadInput(f"There is no camera in a batch of {tuple(batch)}.")
    views = zip(k.reshape(-1, 3, 3), pose.reshape(-1, 4, 4))
    found = [twin(means, rotation, scale, *view, *size) for view in views]
    return Projected(*(torch.stack(x).reshape(*batch, *x[0].shape) for x in zip(*found)))


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
    features: Float[Tensor, "*#b N C"],
    opacity: Float[Tensor, "*#b N"],
    width: int,
    height: int,
) -> tuple[Float[Tensor, "*b H W C"], Float[Tensor, "*b H W"]]:
    """Blend features front to back. Returns premultiplied features and alpha.

    A splat counts where its alpha is at least 1/255, never with more than 0.99, and a pixel ends
    when less than 1e-4 shines through. Splats of equal depth blend in the order given. Of a batch
    of projections, all views may share features and opacity, or each have its own.
    """
    xy, depth, conic = projected.xy, projected.depth, projected.conic
    one_place(xy, depth, conic, features, opacity)
    twin = pick(_rasterise_splats, features.device.type)
    if xy.dim() == 2:
        return twin(xy, depth, conic, features, opacity, width, height)
    batch, (count, channels) = xy.shape[:-2], features.shape[-2:]
    features = features.expand(*batch, count, channels)
    parts = (xy, depth, conic, features, opacity.expand(*batch, count))
    flat = (x.flatten(0, len(batch) - 1) for x in parts)
    views = [twin(a, b, c, d, e, width, height) for a, b, c, d, e in zip(*flat)]
    picture, alpha = (torch.stack(x) for x in zip(*views))
    return picture.reshape(*batch, height, width, channels), alpha.reshape(*batch, height, width)


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
