"""How far hair stands off the head: a closed surface fitted to the outlines of the mattes.

Outlines say it where the head curves out of sight, and nothing in between. Between them the height
is the smoothest there is, so that hair seen only from the front does not float before the face.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve
from torch import Tensor

from likeness.core.camera import project
from likeness.core.geometry import invert_rigid, transform
from likeness.core.regions import REGION
from likeness.methods.splats.looks import Look, sampled
from likeness.methods.splats.surface import Surface
from likeness.ops.shading import vertex_normals

_HIGHEST, _STEPS = 0.09, 31  # metres, and how finely heights are tried
_LEAST = 0.003
_INSIDE = 0.5  # of the matte
_AGREED = 0.8  # of the looks must have a place inside: mattes and tracking err a little
_TANGENT = 0.25  # cosine to the view up to which a normal runs along the outline
_HAIRLINE = 0.006  # metres: where hair meets skin it begins
_USUAL = 0.012  # metres, where nothing tells


def hair_heights(surface: Surface, looks: list[Look]) -> Float[Tensor, " V"]:
    """Metres that hair stands off each vertex; zero where none grows."""
    grows = torch.isin(surface.regions, torch.tensor([REGION["scalp"], REGION["ears"]]))
    count = len(surface.template)
    if not bool(grows.any()):
        return torch.full((count,), _USUAL)
    normals = vertex_normals(surface.template, surface.triangles)
    limit, told = _outlines(surface.template[grows], normals[grows], looks)
    known = torch.zeros(count).index_put((grows.nonzero()[:, 0],), told)
    target = torch.zeros(count).index_put((grows.nonzero()[:, 0],), limit)
    begins = grows & _touching(surface, surface.regions == REGION["skin"])
    weight = torch.where(begins & (known < 0.5), 0.3, known)
    target = torch.where(begins & (known < 0.5), target.clamp(max=_HAIRLINE), target)
    smooth = _smoothest(surface.triangles, grows, target, weight)
    heights = torch.zeros(count)
    heights[grows] = torch.minimum(smooth[grows], limit).clamp(min=_LEAST)
    return heights


def _outlines(
    points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"], looks: list[Look]
) -> tuple[Tensor, Tensor]:
    """Height at which each normal leaves the mattes, and how well that tells the hair's surface:
    1 where the normal runs along an outline."""
    tried = torch.linspace(0, _HIGHEST, _STEPS)
    along = points[:, None] + tried[:, None] * normals[:, None]
    outside = torch.zeros(len(points), _STEPS)
    tangent = torch.ones(len(points), len(looks))
    leaves = torch.full((len(points), len(looks)), _HIGHEST)
    for k, look in enumerate(looks):
        pixels = project(look.camera, transform(look.world_from_head, along.reshape(-1, 3)))
        size = pixels.new_tensor([look.camera.width, look.camera.height])
        within = ((pixels > 0) & (pixels < size)).all(-1).float()
        alpha = sampled(look.alpha[..., None], pixels)[:, 0]
        out = ((alpha < _INSIDE) & (within > 0)).float().view(-1, _STEPS)
        outside += out
        left = out.cumsum(-1).clamp(max=1)
        leaves[:, k] = tried[(_STEPS - left.sum(-1)).long().clamp(max=_STEPS - 1)]
        eye = invert_rigid(look.camera.camera_from_world @ look.world_from_head)[:3, 3]
        view = torch.nn.functional.normalize(eye - points, dim=-1)
        tangent[:, k] = (view * normals).sum(-1).abs()
    gone = (outside > (1 - _AGREED) * len(looks)).float().cumsum(-1).clamp(max=1)
    limit = tried[(_STEPS - gone.sum(-1)).long().clamp(max=_STEPS - 1)]
    near = (leaves < limit[:, None] + 0.01) & (leaves < _HIGHEST)
    told = torch.where(near, torch.exp(-((tangent / _TANGENT) ** 2)), torch.zeros(()))
    return limit, told.amax(-1)


def _touching(surface: Surface, which: Tensor) -> Tensor:
    """Vertices that share a triangle with one of these."""
    some = which[surface.triangles].any(-1)
    found = torch.zeros(len(which), dtype=torch.bool)
    found[surface.triangles[some].flatten()] = True
    return found


def _smoothest(triangles: Tensor, grows: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The smoothest heights over the vertices that grow hair, near their targets by weight."""
    pairs = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    pairs = pairs[grows[pairs].all(-1)].numpy()
    count = len(target)
    ones = np.ones(len(pairs))
    joins = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), (count, count))
    joins = joins + joins.T
    degree = np.asarray(joins.sum(1))[:, 0]
    pull = weight.double().numpy()
    usual = 0.02
    system = diags(degree + pull + usual) - joins
    right = pull * target.double().numpy() + usual * _USUAL
    return torch.from_numpy(spsolve(system.tocsc(), right)).float()
