"""Vertices of a head, displaced by shapes and turned by joints."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from likeness.ops.twins import one_place, pick

RUN = 64
"""Vertices that are displaced together: most shapes leave most runs of them as they are."""


def alive(shapes: Float[Tensor, "E V 3"]) -> Bool[Tensor, "E R"]:
    """In which runs of vertices each shape moves any."""
    count, rest = shapes.shape[0], -shapes.shape[1] % RUN
    padded = torch.nn.functional.pad(shapes, (0, 0, 0, rest))
    return (padded != 0).view(count, -1, 3 * RUN).any(-1)


def skinned(
    template: Float[Tensor, "V 3"],
    shapes: Float[Tensor, "E V 3"],
    runs: Bool[Tensor, "E R"],
    weights: Float[Tensor, " E"],
    moved: Int[Tensor, " M"],
    skin: Float[Tensor, "M J"],
    motions: Float[Tensor, "J 4 4"],
) -> Float[Tensor, "V 3"]:
    """The template with weighed shapes added, of which `runs` says where they are `alive`; then
    those vertices that are `moved` by the joints' motions, as much as `skin` says, the rest with
    the head. Gradients reach weights and motions."""
    one_place(template, shapes, runs, weights, moved, skin, motions)
    twin = pick(_skinned, template.device.type)
    return twin(template, shapes, runs, weights, moved, skin, motions)


def _skinned(
    template: Tensor,
    shapes: Tensor,
    runs: Tensor,
    weights: Tensor,
    moved: Tensor,
    skin: Tensor,
    motions: Tensor,
) -> Tensor:
    vertices = template + (weights @ shapes.flatten(1)).view(-1, 3)
    still = torch.eye(4, dtype=motions.dtype, device=motions.device)
    mixed = torch.einsum("vj,jrc->vrc", skin, (motions - still)[:, :3])
    loose = vertices[moved]
    turned = loose + (mixed[..., :3] @ loose[..., None])[..., 0] + mixed[..., 3]
    return vertices.index_copy(0, moved, turned)
