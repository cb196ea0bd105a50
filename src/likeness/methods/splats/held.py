"""What frames hardly show stays near how it began.

A flank that is seen at a grazing angle fills few pixels, and those lie at the outline: left free,
its splats take the colour of the wall behind, or shrink until one looks through them from a side.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.regions import REGION
from likeness.methods.splats.avatar import SplatAvatar

OPAQUE = 1.0
"""Logit of opacity that every splat begins with."""
LARGER = 0.3
"""Logarithm of how much larger held splats begin: nothing will close gaps between them."""
_TURNED = (0.15, 0.55)  # cosines of the best look: held below the first, free above the second
_OUTER = ("skin", "hair", "ears", "neck", "scalp")
_PALER, _OTHER = 0.03, 0.1  # how far a held colour may go, and a free one more
_SMALLER, _FREELY = 0.2, 2.0  # logarithm of size a held splat may lose, and a free one more
_HAIR = 0.3  # more, for hair
_FAINTER = 4.0  # logit of opacity that free skin may lose


def how_held(facing: Float[Tensor, " N"], region: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """1 for what no look faces, 0 for what one faces well, by the cosine of the best."""
    low, high = _TURNED
    free = ((facing - low) / (high - low)).clamp(0, 1)
    outer = torch.tensor([REGION[name] for name in _OUTER], device=region.device)
    return (1 - free * free * (3 - 2 * free)) * torch.isin(region, outer)


@torch.no_grad()
def keep(avatar: SplatAvatar) -> None:
    """Bring held splats back to the colour they began with, and to nearly their size and opacity.

    Hair may shrink and fade, and so may ears and neck fade, which the rig may have too wide.
    Scalp may not: hair lies over it.
    """
    held, free = avatar.held, 1 - avatar.held
    reach = torch.where(held > 0, _PALER + _OTHER * free * free, torch.inf)[:, None]
    away = (avatar.colour - avatar.start_colour).clamp(-reach, reach)
    avatar.colour.copy_(avatar.start_colour + away)
    hair = avatar.region == REGION["hair"]
    least = avatar.start_size - (_SMALLER + _HAIR * hair + _FREELY * (1 + hair) * free)[:, None]
    grown = torch.maximum(avatar.log_scale, least)
    avatar.log_scale.copy_(torch.where(held[:, None] > 0, grown, avatar.log_scale))
    skin = (avatar.region == REGION["skin"]) | (avatar.region == REGION["scalp"])
    solid = torch.maximum(avatar.opacity, OPAQUE - _FAINTER * free)
    avatar.opacity.copy_(torch.where(skin & (held > 0), solid, avatar.opacity))
