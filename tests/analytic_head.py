"""A head that needs no rasteriser: a painted ball before a wall, seen by one still camera."""

from dataclasses import dataclass

import numpy as np
import torch

from likeness.core.camera import Camera, pinhole
from likeness.core.capture import Capture, Sound, Splits
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.core.regions import REGION
from likeness.core.rig import Identity
from likeness.core.track import Track
from likeness.ops.rays import picture_rays
from likeness.rigs.clay import clay

RADIUS = 0.1
CENTRE = (0.0, -0.04, -0.07)  # of the ball, in the frame of the head


@dataclass(frozen=True)
class Ball:
    """Pictures and maps of the ball in each frame of a track."""

    camera: Camera
    expressions: Expression
    jaw: int

    def rgb(self, index: int) -> np.ndarray:
        return self._seen(index)[0]

    def alpha(self, index: int) -> np.ndarray:
        return (self._seen(index)[1] > 0).astype(np.uint8) * 255

    def regions(self, index: int) -> np.ndarray:
        return self._seen(index)[1]

    def _seen(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        head = self.expressions.world_from_head[index]
        origins, directions = picture_rays(self.camera)
        directions = torch.nn.functional.normalize(directions, dim=-1) @ head[:3, :3]
        start = (origins - head[:3, 3]) @ head[:3, :3] - torch.tensor(CENTRE)
        b = (start * directions).sum(-1)
        under = b * b - (start * start).sum(-1) + RADIUS**2
        hit = under > 0
        place = start + (-b - under.clamp(min=0).sqrt())[..., None] * directions
        x, y, z = (place / RADIUS).unbind(-1)
        shade = 0.55 + 0.3 * y
        colour = torch.stack([shade + 0.2, shade, shade - 0.15], -1)
        opening = 0.08 + 0.3 * self.expressions.coefficients[index, self.jaw]
        mouth = hit & (z > 0) & ((x / 0.4).square() + ((y + 0.3) / opening).square() < 1)
        eyes = hit & (z > 0) & (((x.abs() - 0.35).square() + (y - 0.3).square()) < 0.02)
        colour = torch.where(mouth[..., None], torch.tensor([0.5, 0.1, 0.1]), colour)
        colour = torch.where(eyes[..., None], torch.tensor([0.9, 0.9, 0.95]), colour)
        colour = torch.where(hit[..., None], colour, torch.tensor(wall(self.camera)) / 255)
        label = torch.where(hit, REGION["skin"], 0)
        label = torch.where(mouth, REGION["mouth"], label)
        label = torch.where(eyes, REGION["eyes"], label)
        rgb = (colour.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        return rgb, label.to(torch.uint8).numpy()


def wall(camera: Camera) -> np.ndarray:
    """The backdrop: a slope from blue to grey."""
    ramp = np.linspace(60, 160, camera.width, dtype=np.float32)
    rows = np.broadcast_to(ramp, (camera.height, camera.width))
    return np.stack([rows, rows, np.full_like(rows, 150)], -1).astype(np.uint8)


def analytic_head(
    count: int = 20, size: int = 32, sound: bool = False, height: int | None = None
) -> tuple[Capture, Track]:
    """A recording of the ball turning and opening its mouth, and a perfect track of it."""
    rig = clay()
    jaw = rig.shape_names.index("jawOpen")
    phase = torch.arange(count) * 0.7
    coefficients = torch.zeros(count, len(rig.shape_names))
    coefficients[:, jaw] = 0.5 + 0.5 * phase.sin()
    turn = torch.zeros(count, 3)
    turn[:, 1], turn[:, 0] = 0.35 * (1.7 * phase).sin(), 0.12 * phase.cos()
    heads = rigid(axis_angle_to_matrix(turn), torch.zeros(count, 3))
    expressions = Expression("clay", coefficients, torch.zeros(count, 4, 3), heads)
    pose = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, -0.04], [0, 0, -1, 0.8], [0, 0, 0, 1]])
    tall = height or size
    camera = pinhole(2.6 * size, size, tall, pose)
    ball = Ball(camera, expressions, jaw)
    cut = count - count // 4
    capture = Capture(
        "ball",
        ball,
        tuple(i / 25 for i in range(count)),
        (size, tall),
        fps=25.0,
        splits=Splits(tuple(range(cut)), test=tuple(range(cut, count))),
        sound=Sound(torch.zeros(count * 320), 8000) if sound else None,
    )
    cameras = pinhole(torch.full((count,), 2.6 * size), size, tall, pose.expand(count, 4, 4))
    identity = Identity("clay", torch.zeros(len(rig.identity_names)))
    track = Track(
        cameras, expressions, identity, torch.ones(count), maps=ball, backdrop=wall(camera)
    )
    return capture, track
