"""The surface splats ride on: one person's rig, baked, with everything needed to move it."""

import json

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from likeness.core.errors import Unsupported
from likeness.core.expression import Expression
from likeness.core.regions import REGION
from likeness.core.rig import Identity
from likeness.ops.skin import alive, skinned
from likeness.rigs.linear import LinearRig
from likeness.rigs.skinning import joint_motions

_BUFFERS = (
    "template",
    "triangles",
    "uv",
    "uv_triangles",
    "regions",
    "shapes",
    "skin",
    "joints",
    "shape_joints",
    "follows_head",
)


class Surface(nn.Module):
    """A posed-on-demand head of one person, in the frame of the head.

    `shapes` holds the named shapes, adapted to the person, then the personal modes. Three more
    vertices than the rig's stand for the frame of the head itself: splats that ride on nothing
    (shoulders) ride on them, at `free`. `follows_head` says how much a vertex goes with the head
    rather than with the torso: 1 on the face, towards 0 at the collar.
    """

    template: Tensor
    triangles: Tensor
    uv: Tensor
    uv_triangles: Tensor
    regions: Tensor
    shapes: Tensor
    skin: Tensor
    joints: Tensor
    shape_joints: Tensor
    follows_head: Tensor
    about: Tensor
    moved: Tensor
    moved_skin: Tensor
    alive: Tensor
    frame: Tensor

    def __init__(self, about: Tensor, **buffers: Tensor) -> None:
        """`about` is JSON as bytes: rig, parents of joints, how many personal modes."""
        super().__init__()
        plain = json.loads(bytes(about.tolist()).decode())
        self.rig: str = plain["rig"]
        self.parents: tuple[int, ...] = tuple(plain["parents"])
        self.personal: int = plain["personal"]
        self.register_buffer("about", about)
        for name in _BUFFERS:
            self.register_buffer(name, buffers[name])
        moved = (self.skin.abs().sum(-1) > 1e-4).nonzero()[:, 0]
        self.register_buffer("alive", alive(self.shapes), persistent=False)
        self.register_buffer("moved", moved, persistent=False)
        self.register_buffer("moved_skin", self.skin[moved], persistent=False)
        frame = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        self.register_buffer("frame", frame, persistent=False)

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> "Surface":
        return cls(**{name: state[name] for name in ("about", *_BUFFERS)})

    @property
    def coefficients(self) -> int:
        return self.shapes.shape[0] - self.personal

    @property
    def identity(self) -> Identity:
        """Baked: the person is the template, so no directions are left."""
        return Identity(self.rig, self.template.new_zeros(0))

    @property
    def free(self) -> Int[Tensor, " 3"]:
        """The three vertices of the frame of the head."""
        first = self.template.shape[0]
        return torch.arange(first, first + 3, device=self.template.device)

    def head_vertices(self, expression: Expression) -> Float[Tensor, "V 3"]:
        """The rig's vertices in the frame of the head, for one moment."""
        if expression.coefficients.shape[-1] != self.coefficients:
            raise Unsupported(
                f"This avatar listens to {self.coefficients} coefficients of the rig "
                f"{self.rig!r}; {expression.coefficients.shape[-1]} were given."
            )
        weights = expression.coefficients
        if self.personal:
            modes = expression.personal
            if modes is None or modes.shape[-1] != self.personal:
                modes = weights.new_zeros(self.personal)
            weights = torch.cat([weights, modes])
        implied = (expression.coefficients @ self.shape_joints.flatten(1)).view(-1, 3)
        motions = joint_motions(expression.joints + implied, self.joints, self.parents)
        skin = self.moved_skin
        return skinned(self.template, self.shapes, self.alive, weights, self.moved, skin, motions)

    def with_free(self, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "V+3 3"]:
        return torch.cat([vertices, self.frame])

    def throat(self) -> Float[Tensor, " 3"]:
        """The middle of what goes least with the head: where shoulders hang."""
        lowest = self.template[:, 1] <= self.template[:, 1].quantile(0.05)
        return self.template[lowest].mean(0)


def bake(rig: LinearRig, identity: Identity) -> Surface:
    """One person's surface from a rig. Modes become further shapes."""
    person = rig.baked(identity)
    shapes, personal = person.shape_basis, 0
    if identity.modes is not None:
        shapes, personal = torch.cat([shapes, identity.modes]), identity.modes.shape[0]
    about = json.dumps({"rig": rig.name, "parents": rig.joint_parents, "personal": personal})
    return Surface(
        torch.tensor(list(about.encode()), dtype=torch.uint8),
        template=person.template.clone(),
        triangles=rig.triangles,
        uv=rig.uv,
        uv_triangles=rig.uv_triangles,
        regions=rig.regions,
        shapes=shapes.clone(),
        skin=rig.skin_weights,
        joints=person.joint_positions,
        shape_joints=rig.shape_joints,
        follows_head=follows_head(person),
    )


def follows_head(rig: LinearRig) -> Float[Tensor, " V"]:
    """1 above the neck, falling smoothly to 0.1 at the lowest vertex."""
    height, neck = rig.template[:, 1], rig.regions == REGION["neck"]
    bottom = height.min()
    top = height[neck].quantile(0.8) if bool(neck.any()) else bottom
    share = ((height - bottom) / (top - bottom).clamp(min=1e-3)).clamp(0, 1)
    return 0.1 + 0.9 * share * share * (3 - 2 * share)


def triangle_areas(surface: Surface) -> Float[Tensor, " F"]:
    sides = surface.template[surface.triangles]
    sides = sides[:, 1:] - sides[:, :1]
    return 0.5 * torch.linalg.cross(sides[:, 0], sides[:, 1]).norm(dim=-1)
