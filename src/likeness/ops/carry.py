"""Points and orientations carried by the triangles of a moving surface."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.geometry import matrix_to_quaternion, quaternion_multiply
from likeness.ops.twins import one_place, pick, within


def carry(
    vertices: Float[Tensor, "V 3"],
    corners: Int[Tensor, "N 3"],
    weights: Float[Tensor, "N 3"],
    offsets: Float[Tensor, "N 3"],
    rotations: Float[Tensor, "N 4"],
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 4"]]:
    """Where N passengers of a surface are, and how they are turned.

    Passenger `i` rides on the triangle with vertices `corners[i]`, at barycentric `weights[i]`,
    displaced by `offsets[i]` in the triangle's own axes: first edge, in-plane normal of it, face
    normal, none of them scaled, so that an offset keeps its length in metres. `rotations` are wxyz
    relative to those axes. Positions pass gradients to vertices (at fixed axes) and offsets;
    rotations pass them to `rotations` only. A degenerate triangle (height under 1e-5 of its
    sides) has the axes of the world.
    """
    one_place(vertices, corners, weights, offsets, rotations)
    within(corners, vertices.shape[0], "vertices")
    twin = pick(_carry, vertices.device.type)
    return twin(vertices, corners, weights, offsets, rotations)


def _carry(
    vertices: Tensor, corners: Tensor, weights: Tensor, offsets: Tensor, rotations: Tensor
) -> tuple[Tensor, Tensor]:
    points = vertices[corners]  # N 3 3
    axes = triangle_axes(points.detach())
    means = (points * weights[..., None]).sum(1) + (axes @ offsets[..., None])[..., 0]
    return means, quaternion_multiply(matrix_to_quaternion(axes), rotations)


def triangle_axes(points: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3 3"]:
    """Orthonormal axes of triangles (as columns): first edge, in-plane normal, face normal."""
    edge, side = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    normal = torch.linalg.cross(edge, side)
    lengths = edge.square().sum(-1) * side.square().sum(-1)
    flat = (normal.square().sum(-1) <= 1e-10 * lengths + 1e-30)[:, None]
    one = edge.new_tensor([1.0, 0.0, 0.0]).expand_as(edge)
    three = edge.new_tensor([0.0, 0.0, 1.0]).expand_as(edge)
    first = torch.nn.functional.normalize(torch.where(flat, one, edge), dim=-1)
    third = torch.nn.functional.normalize(torch.where(flat, three, normal), dim=-1)
    return torch.stack([first, torch.linalg.cross(third, first), third], -1)
