"""A rig of a few dozen vertices with everything a rig can have, for tests of what uses rigs."""

import torch

from likeness.core.rig import Embedding
from likeness.rigs.linear import LinearRig


def toy(seed: int = 0, vertices: int = 24, shapes: int = 5, directions: int = 3) -> LinearRig:
    """A random soup of triangles, 0.1 m across, with two joints, correctives and gaze."""
    g = torch.Generator().manual_seed(seed)

    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=g, dtype=torch.float64)

    skin = torch.rand(vertices, 2, generator=g, dtype=torch.float64) / 2
    regress = torch.rand(2, vertices, generator=g, dtype=torch.float64)
    regress = regress / regress.sum(-1, keepdim=True)
    template = 0.1 * random(vertices, 3)
    triangles = torch.arange(vertices // 3 * 3).reshape(-1, 3)
    turning = 0.3 * random(shapes, 2, 3)
    turning[1:] = 0  # the first shape looks to a side
    points = Embedding(
        torch.arange(4), torch.full((4, 3), 1 / 3, dtype=torch.float64), torch.ones(4).long()
    )
    return LinearRig(
        name="toy",
        template=template,
        triangles=triangles,
        uv=torch.rand(vertices, 2, generator=g, dtype=torch.float64),
        uv_triangles=triangles,
        regions=torch.ones(vertices, dtype=torch.int64),
        shape_names=tuple(f"shape{i}" for i in range(shapes)),
        shape_basis=0.01 * random(shapes, vertices, 3),
        identity_names=tuple(f"direction{i}" for i in range(directions)),
        identity_basis=0.01 * random(directions, vertices, 3),
        joint_names=("neck", "jaw"),
        joint_positions=regress @ template,
        joint_parents=(-1, 0),
        skin_weights=skin,
        shape_joints=turning,
        joint_weights=regress,
        pose_correctives=0.01 * random(9, vertices, 3),
        corrective_joints=(1,),
        layouts={"classic68": points},
    )
