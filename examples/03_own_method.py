"""A method of your own, in one file: soft discs that ride on the head. Copy it to start yours.

The settings object is the method. Five functions train it (`build`, `batches`, `optimizer`,
`losses`, `after_step`), `restore` loads it, and its avatar needs `rig`, `identity` and `render`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Generator, Tensor, nn
from torch.optim import Adam, Optimizer

import likeness
from likeness.core.avatar import Picture
from likeness.core.batching import take
from likeness.core.camera import Camera, project
from likeness.core.expression import Expression
from likeness.methods import METHODS
from likeness.rigs.clay import clay
from likeness.training.frames import clean_backdrop, trainable_frames


@dataclass(frozen=True, eq=False)
class View:
    camera: Camera
    expression: Expression
    rgb: Tensor


class DiscAvatar(nn.Module):
    """Vertices of the neutral clay head, posed by the expression, drawn as discs far to near."""

    def __init__(self, vertices: Tensor, backdrop: Tensor, radius: float) -> None:
        super().__init__()
        self.rig, self.identity = "clay", clay().rest()
        self.radius = radius
        self.colour = nn.Parameter(torch.full((len(vertices), 3), 0.5))
        self.register_buffer("vertices", vertices)
        self.register_buffer("backdrop", backdrop)

    def render(self, camera: Camera, expression: Expression) -> Picture:
        posed = clay().pose(self.identity, expression).vertices[self.vertices]
        at = project(camera, posed)
        pose = camera.camera_from_world
        depth = posed @ pose[2, :3] + pose[2, 3]
        near_last = depth.argsort(descending=True)
        v, u = torch.meshgrid(
            torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij"
        )
        pixels = torch.stack([u, v], -1)
        radius = self.radius * camera.width
        rgb, alpha = torch.zeros(camera.height, camera.width, 3), torch.zeros_like(u)
        for k in near_last.tolist():
            away = (pixels - at[k]).norm(dim=-1) / radius
            cover = torch.sigmoid(8 * (1 - away))
            rgb = rgb * (1 - cover[..., None]) + cover[..., None] * self.colour[k].clamp(0, 1)
            alpha = alpha * (1 - cover) + cover
        return Picture(rgb, alpha)


@dataclass(frozen=True)
class Discs:
    """Soft discs carried by the head."""

    discs: int = 64
    """How many discs to place."""
    radius: float = 0.06
    """Of a disc, in picture widths."""
    steps: int = 200
    """Optimiser steps."""

    def build(self, capture: likeness.Capture, track: likeness.Track) -> DiscAvatar:
        front = clay().template[:, 2] > -0.06
        places = front.nonzero()[:, 0]
        spread = places[torch.linspace(0, len(places) - 1, self.discs).long()]
        return DiscAvatar(spread, clean_backdrop(capture, track), self.radius)

    def batches(
        self, capture: likeness.Capture, track: likeness.Track, generator: Generator
    ) -> Iterator[View]:
        frames = trainable_frames(capture, track)
        while True:
            i = frames[int(torch.randint(len(frames), (), generator=generator))]
            yield View(take(track.cameras, i), take(track.expressions, i), capture[i].rgb)

    def optimizer(self, avatar: DiscAvatar) -> Optimizer:
        return Adam(avatar.parameters(), lr=0.05)

    def losses(self, avatar: DiscAvatar, view: View, step: int) -> dict[str, Tensor]:
        picture = avatar.render(view.camera, view.expression)
        return {"photometric": (picture.over(avatar.backdrop) - view.rgb).abs().mean()}

    def after_step(self, avatar: DiscAvatar, optimizer: Optimizer, step: int) -> None:
        pass

    def restore(self, state: dict[str, Tensor]) -> DiscAvatar:
        avatar = DiscAvatar(state["vertices"], state["backdrop"], self.radius)
        avatar.load_state_dict(state)
        return avatar


# For as long as this process lives. A package of yours says the same in its pyproject.toml, and
# then `likeness fit --method discs` knows it too:
#     [project.entry-points."likeness.method"]
#     discs = "your_package:Discs"
METHODS.add("discs", f"{__name__}:Discs")


def main(capture: Path, track: Path, out: Path = Path("discs"), steps: int = 200) -> Path:
    """Fit discs to what `likeness ingest` and `likeness track` left, and judge them."""
    likeness.fit(capture, track, out / "avatar", method="discs", steps=steps)
    likeness.evaluate(out / "avatar", capture, track, out / "scores")
    return out / "avatar"


if __name__ == "__main__":
    tyro.cli(main)
