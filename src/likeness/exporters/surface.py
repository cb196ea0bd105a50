"""One person's surface for mesh formats: neutral shape, morph targets, skin, unwrapped."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.errors import Unsupported
from likeness.core.expression import Expression
from likeness.core.regions import REGION
from likeness.core.rig import Identity, Mesh
from likeness.exporters.motion import names_of
from likeness.exporters.sockets import closed_sockets
from likeness.rigs import RIGS
from likeness.rigs.linear import LinearRig
from likeness.rigs.skinning import blend, joint_motions


@runtime_checkable
class HasRig(Protocol):
    """Any avatar: it names its rig and its person."""

    rig: str
    identity: Identity


@dataclass(frozen=True, eq=False)
class Skinned:
    """A surface in the frame of the head. Vertices are doubled along the seams of the texture.

    `targets` [E, V, 3] are what each named coefficient adds at 1, gaze included (the eyeballs'
    turn becomes a straight displacement, as formats with morph targets want). `source` is the
    vertex of the rig behind each vertex, `regions` what part it belongs to (`core.regions`).
    """

    names: tuple[str, ...]
    joint_names: tuple[str, ...]
    vertices: Float[Tensor, "V 3"]
    targets: Float[Tensor, "E V 3"]
    triangles: Int[Tensor, "F 3"]
    uv: Float[Tensor, "V 2"]
    skin: Float[Tensor, "V J"]
    joints: Float[Tensor, "J 3"]
    parents: tuple[int, ...]
    source: Int[Tensor, " V"]
    regions: Int[Tensor, " V"]

    def at(self, coefficients: Float[Tensor, " E"]) -> Mesh:
        moved = self.vertices + torch.einsum("e,evc->vc", coefficients, self.targets)
        return Mesh(moved, self.triangles)


def skinned(avatar: Any) -> Skinned:
    """The surface of an avatar: its own when it keeps one, else its rig's for its person."""
    own = getattr(avatar, "surface", None)
    if own is not None and all(hasattr(own, name) for name in ("template", "shapes", "skin")):
        count = own.shapes.shape[0] - int(getattr(own, "personal", 0))
        shapes = own.shapes[:count].detach().cpu()
        plain = {
            name: getattr(own, name).detach().cpu()
            for name in ("template", "triangles", "uv", "uv_triangles", "skin", "joints")
        }
        names, joint_names = names_of(avatar.rig, count, plain["joints"].shape[0])
        implied = own.shape_joints.detach().cpu()
        regions = getattr(own, "regions", None)
        if regions is None:
            regions = torch.full((len(plain["template"]),), REGION["skin"])
        parents, regions = tuple(own.parents), regions.detach().cpu()
        return _split(names, joint_names, shapes, implied, parents, regions, **plain)
    if avatar.rig not in RIGS:
        raise Unsupported(f"The avatar moves the rig {avatar.rig!r}, which is not installed here.")
    rig = RIGS.load(avatar.rig)()
    if not isinstance(rig, LinearRig):
        raise Unsupported(f"The rig {avatar.rig!r} has no linear shapes to write.")
    person = rig.baked(_on_cpu(avatar.identity))
    return _split(
        rig.shape_names,
        rig.joint_names,
        person.shape_basis,
        rig.shape_joints,
        rig.joint_parents,
        rig.regions,
        template=person.template,
        triangles=rig.triangles,
        uv=rig.uv,
        uv_triangles=rig.uv_triangles,
        skin=rig.skin_weights,
        joints=person.joint_positions,
    )


def _on_cpu(identity: Identity) -> Identity:
    fields = ("directions", "offsets", "shape_offsets", "modes")
    moved = {n: v.detach().cpu() for n in fields if (v := getattr(identity, n)) is not None}
    return replace(identity, **moved)


def _split(
    names: tuple[str, ...],
    joint_names: tuple[str, ...],
    shapes: Tensor,
    implied: Tensor,
    parents: tuple[int, ...],
    regions: Tensor,
    template: Tensor,
    triangles: Tensor,
    uv: Tensor,
    uv_triangles: Tensor,
    skin: Tensor,
    joints: Tensor,
) -> Skinned:
    triangles, uv_triangles = closed_sockets(triangles, uv_triangles, regions)
    pairs = torch.stack([triangles.flatten(), uv_triangles.flatten()], -1)
    unique, back = torch.unique(pairs, dim=0, return_inverse=True)
    source, corner = unique.unbind(-1)
    targets = shapes.clone()
    for index in (implied.abs().sum((1, 2)) > 0).nonzero()[:, 0].tolist():
        shaped = template + shapes[index]
        targets[index] = blend(shaped, skin, joint_motions(implied[index], joints, parents))
        targets[index] -= template
    return Skinned(
        names,
        joint_names,
        template[source],
        targets[:, source],
        back.view(-1, 3),
        uv[corner],
        skin[source],
        joints,
        parents,
        source,
        regions[source],
    )


def at_head(avatar: Any, expression: Expression) -> Expression:
    """`expression` with head and torso where they rested in training, as far as that is known."""
    head = getattr(avatar, "rest_head", None)
    torso = getattr(avatar, "rest_torso", None)
    if not isinstance(head, Tensor):
        return expression
    head = head.detach().cpu()
    body = head @ torso.detach().cpu() if isinstance(torso, Tensor) else None
    return replace(expression, world_from_head=head, world_from_torso=body)


def vertex_normals(
    vertices: Float[Tensor, "V 3"], triangles: Int[Tensor, "F 3"], same: Int[Tensor, " V"]
) -> Float[Tensor, "V 3"]:
    """Area-weighted unit normals; vertices with the same number in `same` share one."""
    a, b, c = vertices[triangles].unbind(1)
    faces = torch.linalg.cross(b - a, c - a)
    total = vertices.new_zeros(int(same.max()) + 1, 3)
    for corner in range(3):
        total.index_add_(0, same[triangles[:, corner]], faces)
    normals = torch.nn.functional.normalize(total[same], dim=-1)
    lost = normals.norm(dim=-1, keepdim=True) < 0.5
    return torch.where(lost, normals.new_tensor([0.0, 0.0, 1.0]), normals)
