"""Teeth for FLAME, as VHAP and GaussianAvatars add them, so that their files fit.

120 vertices behind the lips in eight rows of 15: root, root, edge and edge of the front (upper,
lower, upper, lower), then the same behind. Splat files bind to triangles by number, so vertices
and triangles keep exactly this order.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import Unsupported
from likeness.core.regions import REGION
from likeness.rigs.linear import LinearRig

UPPER_LIP: tuple[int, ...] = (
    *(1713, 1715, 1716, 1735, 1696, 1694, 1657, 3543, 2774, 2811, 2813, 2850, 2833, 2832, 2830),
)
LOWER_LIP: tuple[int, ...] = (
    *(1576, 1577, 1773, 1774, 1795, 1802, 1865, 3503, 2948, 2905, 2898, 2881, 2880, 2713, 2712),
)
"""FLAME's vertices along the outer border of each lip."""
_TRIANGLES = bytes.fromhex(
    "001f1e00011f01201f01022002212002032103222103042204232204052305242305062406252406072507082508"
    "2625080926092726090a270a28270a0b280b29280b0c290c2a290c0d2a0d2b2a0d0e2b0e2c2b3c4b4c3c4c3d3d4c"
    "4d3d4d3e3e4d4e3e4e3f3f4e4f3f4f40404f50405041415051415142425152425243435244445253445345455354"
    "45544646545546554747555647564848565748574949575849584a4a58594b1e4c4c1e1f4c1f4d4d1f204d204e4e"
    "20214e214f4f21224f22505022235023515123245124525224255225265226535326275327545427285428555528"
    "2955295656292a562a57572a2b572b58582b2c582c592d2e0f2e100f2e2f102f11102f3011301211303112311312"
    "313213321413323314331514333415341615341716343517351817353618361918363719371a1937381a381b1a38"
    "391b391c1b393a1c3a1d1c3a3b1d5a6a695a5b6a5b6b6a5b5c6b5c6c6b5c5d6c5d6d6c5d5e6d5e6e6d5e5f6e5f6f"
    "6e5f606f60706f606170616270627170626371637271636472647372646573657473656674667574666775677675"
    "676876687776696a2d6a2e2d6a6b2e6b2f2e6b6c2f6c302f6c6d306d31306d6e316e32316e6f326f33326f703370"
    "3433703534707135713635717236723736727337733837737438743938747539753a3975763a763b3a76773b"
)
_UPPER_ROWS = (0, 2, 4, 5)
_TEXTURE_ROWS = (3, 2, 0, 1, 3, 4, 6, 5)


def with_teeth(
    rig: LinearRig,
    upper: tuple[int, ...] = UPPER_LIP,
    lower: tuple[int, ...] = LOWER_LIP,
) -> LinearRig:
    """The FLAME rig with 120 vertices and 168 triangles of teeth at the end of its own.

    They follow the person's lips at rest, no expression; the upper row hangs on the neck, the
    lower on the jaw. `upper` and `lower` are the rings of lip vertices, 15 each.
    """
    count = len(rig.template)
    if rig.name != "flame" or max(*upper, *lower) >= count:
        raise Unsupported(
            f"Teeth are for the full FLAME model; {rig.name!r} with {count} vertices is not that."
        )
    ring = torch.tensor([upper, lower])
    points = teeth_points(rig.template[ring[0]], rig.template[ring[1]])
    triangles = torch.tensor(list(_TRIANGLES)).reshape(-1, 3)
    identity = rig.identity_basis[:, ring].mean(1).repeat(1, 8, 1)
    is_upper = torch.tensor([row in _UPPER_ROWS for row in range(8)]).repeat_interleave(15)
    skin = rig.skin_weights.new_zeros(120, rig.skin_weights.shape[1])
    skin[is_upper, 0], skin[~is_upper, 1] = 1, 1
    u = torch.linspace(0.62, 0.38, 15).repeat(8)
    v = torch.linspace(0.9917, 0.9575, 7)[list(_TEXTURE_ROWS)].repeat_interleave(15)
    return replace(
        rig,
        template=torch.cat([rig.template, points]),
        triangles=torch.cat([rig.triangles, triangles + count]),
        uv=torch.cat([rig.uv, torch.stack([u, 1 - v], -1)]),
        uv_triangles=torch.cat([rig.uv_triangles, triangles + len(rig.uv)]),
        regions=torch.cat([rig.regions, torch.full((120,), REGION["teeth"])]),
        shape_basis=_padded(rig.shape_basis),
        identity_basis=torch.cat([rig.identity_basis, identity], 1),
        skin_weights=torch.cat([rig.skin_weights, skin]),
        joint_weights=None if rig.joint_weights is None else _lengthened(rig.joint_weights),
        root_weights=None if rig.root_weights is None else _lengthened(rig.root_weights),
        pose_correctives=None if rig.pose_correctives is None else _padded(rig.pose_correctives),
        parts={name: _lengthened(part) for name, part in rig.parts.items()}
        | {"teeth": torch.arange(count + 120) >= count},
    )


def teeth_points(
    upper: Float[Tensor, "15 3"], lower: Float[Tensor, "15 3"]
) -> Float[Tensor, "120 3"]:
    """Two curved rows of teeth behind the lips, sized by the distance between them."""
    size = (upper - lower).norm(dim=-1).mean()
    middle = (upper + lower) / 2
    height = middle[:, 1].mean().expand(15)
    middle = torch.stack([middle[:, 0], height, middle[:, 2] - 1.5 * size], -1)

    def moved(y: float, z: float) -> Tensor:
        return middle + torch.stack([size * 0, y * size, z * size])

    edge_below = moved(-0.1, -0.4)
    front = [moved(2.1, 0), edge_below + torch.stack([size * 0, -2 * size, size * 0])]
    front += [moved(0.1, 0), edge_below]
    back = [row + torch.stack([size * 0, size * 0, -size]) for row in front]
    return torch.cat([*front, back[0], back[2], back[1], back[3]])


def _padded(basis: Tensor) -> Tensor:
    return torch.cat([basis, basis.new_zeros(len(basis), 120, 3)], 1)


def _lengthened(values: Tensor) -> Tensor:
    return torch.cat([values, values.new_zeros(*values.shape[:-1], 120)], -1)
