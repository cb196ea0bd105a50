"""What the head should go on looking like from sides that no frame shows.

Training sees a head mostly from the front and lets splats on its flanks do as they like. The start
is even all round, so it is drawn once from a fan of cameras, softly, and remembered; now and then
training is asked to look much the same from one of them.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from likeness.core.camera import Camera, resized
from likeness.core.expression import Expression
from likeness.core.orbit import orbited

SIDE = 128  # pixels along a side of such a view
_SOFT = 2  # of its pixels, to a side, are compared as one
_DEGREES = (  # yaw and pitch
    (-50, 0), (-38, 8), (-30, -8), (-20, 0), (20, 0), (30, -8), (38, 8), (50, 0), (0, 15), (0, -15),
)  # fmt: skip
_OF_MOMENT = tuple(name for name in Expression.BATCHED if name != "sound")


class Sides(nn.Module):
    """A moment and the start as K cameras saw it then: colour before black, and alpha."""

    poses: Tensor
    lens: Tensor
    seen: Tensor

    def __init__(self, rig: str, **kept: Tensor) -> None:
        super().__init__()
        self.rig = rig
        for name, value in kept.items():
            self.register_buffer(name, value.clone())

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def moment(self) -> Expression:
        """What the head did."""
        return Expression(self.rig, **{name: getattr(self, name, None) for name in _OF_MOMENT})  # type: ignore[arg-type]

    def camera(self, index: int) -> Camera:
        high, wide = (_SOFT * n for n in self.seen.shape[-2:])
        return Camera(self.lens, self.poses[index], wide, high)

    def unlike(self, index: int, picture: Float[Tensor, "H W C"], alpha: Tensor) -> Tensor:
        """How far a picture from that side is from what is remembered."""
        return (softened(picture, alpha) - self.seen[index].float()).abs().mean()


def fan(camera: Camera, moment: Expression) -> list[Camera]:
    """Small cameras around the head of a moment."""
    scale = SIDE / _SOFT / max(camera.width, camera.height)
    wide, high = (_SOFT * max(1, round(n * scale)) for n in (camera.width, camera.height))
    small = resized(camera, wide, high)
    turns = torch.tensor(_DEGREES, dtype=torch.float64).deg2rad().tolist()
    return [orbited(small, moment, yaw, pitch) for yaw, pitch in turns]


def remembered(
    cameras: list[Camera], moment: Expression, pictures: list[tuple[Tensor, Tensor]]
) -> Sides:
    """The sides as the start was drawn from `cameras`: colours before black, and alphas."""
    kept = {name: getattr(moment, name) for name in _OF_MOMENT}
    return Sides(
        moment.rig,
        poses=torch.stack([c.camera_from_world for c in cameras]),
        lens=cameras[0].intrinsics,
        seen=torch.stack([softened(*picture) for picture in pictures]).half(),
        **{name: value for name, value in kept.items() if value is not None},
    )


def softened(picture: Float[Tensor, "H W C"], alpha: Float[Tensor, "H W"]) -> Tensor:
    """Colour before black and alpha, channels first, on fewer pixels."""
    planes = torch.cat([picture[..., :3].permute(2, 0, 1), alpha[None]])  # as they are in memory
    return F.avg_pool2d(planes[None], _SOFT)[0]
