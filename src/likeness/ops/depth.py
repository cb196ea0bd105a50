"""What a picture of depths says about the surface."""

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.camera import Camera
from likeness.ops.rays import picture_rays


def depth_normals(camera: Camera, depth: Float[Tensor, "H W"]) -> Float[Tensor, "H W 3"]:
    """Unit normals in the world, towards the camera, out of neighbouring depths.

    `depth` is metres along the view axis; 0 means nothing is there and gives a normal of zero.
    """
    origins, directions = picture_rays(camera)
    points = origins + depth[..., None] * directions
    across = torch.gradient(points, dim=1)[0]
    along = torch.gradient(points, dim=0)[0]
    normal = torch.nn.functional.normalize(torch.linalg.cross(along, across), dim=-1)
    towards = -(normal * directions).sum(-1, keepdim=True)
    return torch.where((depth > 0)[..., None], normal * torch.sign(towards), 0)
