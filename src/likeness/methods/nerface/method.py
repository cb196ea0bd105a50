"""`nerface`: dynamic neural radiance fields (Gafni et al., CVPR 2021), on any capture and track."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.optim import Optimizer

from likeness.core.batching import take
from likeness.core.camera import Camera
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.regions import HEAD_REGIONS, REGION
from likeness.core.track import Track
from likeness.methods.nerface.avatar import Drawing, NerfaceAvatar
from likeness.methods.nerface.network import Field, Shape
from likeness.methods.nerface.rendering import HALF, Draws, look_twice
from likeness.nn.subject import subject_of
from likeness.rigs.rest import rest_surface
from likeness.training.adam import Adam
from likeness.training.frames import clean_backdrop, matte_of, trainable_frames
from likeness.training.hull import hull

_CELLS = 48  # vertices of the hull along a side
_BEHIND = 0.05  # the backdrop is learned only where the matte is below this
_MIDDLE = (0.0, -0.05, -0.06)  # of a head and its neck, seen from between the eyes, in metres


@dataclass(frozen=True, eq=False)
class View:
    """Some pixels of one training frame, and the step's random numbers."""

    row: int
    camera: Camera
    expression: Expression
    pixels: Float[Tensor, "R 2"]
    flat: Float[Tensor, " R"]
    rgb: Float[Tensor, "R 3"]
    alpha: Float[Tensor, " R"]
    draws: Draws


@dataclass(frozen=True)
class Nerface:
    """NeRFace: a radiance field that listens to expression. Faithful with `paper`."""

    steps: int = 20_000
    """Optimiser steps, one frame each."""
    rays: int = 768
    """Pixels of the frame that a step looks at."""
    coarse: int = 24
    """Samples of the first pass."""
    fine: int = 24
    """More samples of the second pass, which looks at both; 0 leaves it out."""
    width: int = 96
    """Of the trunk's layers."""
    colour_width: int = 48
    """Of the colour layers."""
    octaves: int = 9
    """Frequencies of positions."""
    direction_octaves: int = 4
    """Frequencies of view directions."""
    direction_given: bool = False
    """Give the direction itself beside its frequencies."""
    codes: int = 32
    """Numbers of a training frame's own code."""
    near: float | None = None
    """Nearest distance in metres; none takes near and far from where the head is."""
    far: float | None = None
    """Farthest distance in metres."""
    reach: float = 0.25
    """Metres before and behind the head that are looked through."""
    noise: float = 0.1
    """Standard deviation of noise on densities while training."""
    rate: float = 2e-3
    """Learning rate at the start."""
    decay: float = 0.05
    """What the rate is multiplied by in the end."""
    decay_steps: int | None = None
    """Steps for that; none takes all of them."""
    code_weight: float = 0.005
    """Weight of the length of a frame's code."""
    carve: bool = True
    """Ask the fields only within the hull of the mattes; the paper does not."""
    mask: float = 0.05
    """Weight of the matte, where there is one; the paper has no such term."""
    latent_reg: str = "norm"
    """norm, as released; or weight_decay (squares of all codes), as the paper says."""
    box_share: float = 0.9
    """Weight of a pixel inside the head's box against one outside."""
    box_sampling: str = "intended"
    """intended; or released, where rows and columns of the box are exchanged."""
    direction: str = "unit"
    """unit; or released, where near and far stand in for two of its numbers."""
    expression_scale: float = 1 / 3
    """What expressions are multiplied by."""
    clamp: bool = True
    """Keep expressions within the range of training when drawing."""
    inverse: bool = False
    """First samples even in 1 / distance."""
    latent: str = "mean"
    """Code of new frames: mean, zero, or the number of a training frame."""
    torso: bool = False
    """Let the fields hear how the torso moves against the head."""
    bend: bool = True
    """Ask the fields for shoulders where they are at rest; the paper lets them swing."""
    learn_backdrop: bool = True
    """Whether the backdrop is refined too."""
    seed: int = 0
    """Of the start."""

    NAME: ClassVar[str] = "nerface"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rays < 1:
            raise BadInput(f"{self.steps} steps of {self.rays} rays are no training.")
        if self.box_sampling not in ("intended", "released"):
            raise BadInput(f"box_sampling={self.box_sampling!r} is neither intended nor released.")
        if self.latent_reg not in ("norm", "weight_decay"):
            raise BadInput(f"latent_reg={self.latent_reg!r} is neither norm nor weight_decay.")
        if not 0 < self.box_share < 1:
            raise BadInput(f"box_share={self.box_share} is not between 0 and 1.")
        self.drawing()

    def drawing(self) -> Drawing:
        names = (
            "coarse", "fine", "near", "far", "reach", "direction", "inverse", "expression_scale",
            "clamp", "latent", "bend",
        )  # fmt: skip
        return Drawing(**{name: getattr(self, name) for name in names})

    def shape(self, condition: int) -> Shape:
        return Shape(
            condition,
            self.width,
            self.colour_width,
            self.octaves,
            self.direction_octaves,
            self.direction_given,
        )

    def build(self, capture: Capture, track: Track) -> NerfaceAvatar:
        frames = trainable_frames(capture, track)
        chosen = take(track.expressions, torch.tensor(frames))
        subject = subject_of(track.rig, track.identity, chosen, self.torso)
        generator = Generator().manual_seed(self.seed)
        shape = self.shape(subject.width + self.codes)
        coarse = Field(shape, generator)
        fine = Field(shape, generator) if self.fine else None
        middle = torch.zeros(3) if self.near is not None else torch.tensor(_MIDDLE)
        scale = torch.tensor(1.0 if self.near is not None else 0.5 / self.reach)
        codes, backdrop = torch.zeros(len(frames), self.codes), clean_backdrop(capture, track)
        kept = None
        if self.carve:
            kept = self._hull(capture, track, frames, middle, scale, subject.rest_torso)
        return NerfaceAvatar(
            self.drawing(), subject, coarse, fine, codes, backdrop, middle, scale, kept
        )

    def _hull(
        self,
        capture: Capture,
        track: Track,
        frames: list[int],
        middle: Tensor,
        scale: Tensor,
        rest_torso: Tensor,
    ) -> Tensor:
        axis = torch.linspace(-HALF, HALF, _CELLS)
        places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
        still = rest_torso if self.bend else None
        return hull(
            capture, track, frames, places / scale + middle, still, rest_surface(track.identity)
        )

    def batches(self, capture: Capture, track: Track, generator: Generator) -> Iterator[View]:
        """Frames in a drawn order, each with drawn pixels, most of them in the head's box."""
        frames = trainable_frames(capture, track)
        while True:
            for row in torch.randperm(len(frames), generator=generator).tolist():
                yield self.view(capture, track, row, frames[row], generator)

    def view(
        self, capture: Capture, track: Track, row: int, index: int, generator: Generator
    ) -> View:
        camera, rgb = take(track.cameras, index), capture[index].rgb8
        height, width = rgb.shape[:2]
        box = head_box(capture, track, index)
        weights = pixel_weights(height, width, box, self.box_share, self.box_sampling)
        count = min(self.rays, height * width)
        flat = torch.multinomial(weights.flatten(), count, generator=generator)
        at = torch.stack([flat % width, flat // width], -1) + 0.5
        seen = torch.from_numpy(rgb.reshape(-1, 3)[flat.numpy()]).float() / 255
        matte = matte_of(capture, track, index)
        if matte is None and self.mask > 0:
            raise BadInput(
                f"Frame {index} of {capture.name!r} has no matte. Run `likeness track`, or set "
                "mask=0."
            )
        alpha = torch.ones(count) if matte is None else matte.flatten()[flat]
        first, second = (count, self.coarse), (count, self.coarse + self.fine)
        draws = Draws(
            torch.rand(first, generator=generator),
            torch.rand((count, self.fine), generator=generator),
            torch.randn(first, generator=generator),
            torch.randn(second, generator=generator),
        )
        return View(row, camera, take(track.expressions, index), at, flat, seen, alpha, draws)

    def optimizer(self, avatar: NerfaceAvatar) -> Optimizer:
        fields = [*avatar.coarse.parameters()]
        fields += [] if avatar.fine is None else [*avatar.fine.parameters()]
        groups = [{"params": fields, "lr": self.rate}, {"params": [avatar.codes], "lr": self.rate}]
        if self.learn_backdrop:
            groups.append({"params": [avatar.backdrop], "lr": self.rate})
        return Adam(groups)

    def losses(self, avatar: NerfaceAvatar, view: View, step: int) -> dict[str, Tensor]:
        """Squares of both passes, and the length of the frame's code."""
        code = avatar.codes[view.row]
        backdrop = avatar.backdrop.reshape(-1, 3)[view.flat]
        backdrop = torch.where((view.alpha < _BEHIND)[:, None], backdrop, backdrop.detach())
        rays = avatar.rays(view.camera, view.expression, view.pixels)
        first, second = look_twice(
            avatar.coarse, avatar.fine, rays, avatar.condition(view.expression, code), backdrop,
            (self.coarse, self.fine), view.draws, self.noise, self.inverse, avatar.known,
            avatar.asked(view.expression),
        )  # fmt: skip
        losses = {"coarse": (first.rgb - view.rgb).square().mean()}
        if second is not first:
            losses["fine"] = (second.rgb - view.rgb).square().mean()
        if self.mask > 0:
            losses["matte"] = self.mask * (1 - second.behind - view.alpha).abs().mean()
        if self.latent_reg == "norm":
            losses["code"] = self.code_weight * length(code)
        else:
            losses["code"] = self.code_weight * avatar.codes.square().sum()
        return losses

    def after_step(self, avatar: NerfaceAvatar, optimizer: Optimizer, step: int) -> None:
        """Lower the rate along an exponential."""
        rate = self.rate * self.decay ** (step / (self.decay_steps or self.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate

    def restore(self, state: dict[str, Tensor]) -> NerfaceAvatar:
        """The avatar out of its own tensors alone."""
        return NerfaceAvatar.from_state(self.drawing(), self.shape(0), state)


def laptop() -> Nerface:
    """Minutes on two CPU cores: narrower layers, fewer samples."""
    return Nerface()


def gpu() -> Nerface:
    """The paper's network with fewer steps, for a CUDA device."""
    return Nerface(
        steps=60_000, rays=4096, coarse=48, fine=48, width=256, colour_width=128, octaves=10
    )


def paper() -> Nerface:
    """As published and released, on data in the authors' units."""
    return Nerface(
        steps=400_000, rays=2048, coarse=64, fine=64, width=256, colour_width=128, octaves=10,
        near=0.2, far=0.8, rate=5e-4, decay=0.1, decay_steps=250_000, clamp=False, mask=0.0,
        carve=False, torso=False, bend=False, learn_backdrop=False,
    )  # fmt: skip


def length(code: Tensor) -> Tensor:
    """The norm of a vector, with a gradient of zero at zero."""
    square = code.square().sum()
    return torch.where(square > 0, square.clamp(min=1e-24).sqrt(), square)


def pixel_weights(
    height: int, width: int, box: tuple[int, int, int, int], share: float, sampling: str
) -> Float[Tensor, "H W"]:
    """How likely each pixel is: `share` inside the box (row0, row1, column0, column1, half open)
    against 1 - share outside, all summing to 1.

    `released` reads the map column by column, as the authors' program does: transposed on square
    pictures, scrambled on others.
    """
    weights = torch.full((height, width), 1 - share, dtype=torch.float64)
    weights[box[0] : box[1], box[2] : box[3]] = share
    weights = weights / weights.sum()
    return weights if sampling == "intended" else weights.view(width, height).T.contiguous()


def head_box(capture: Capture, track: Track, index: int) -> tuple[int, int, int, int]:
    """The box around the head in whole pixels: the data set's own, or of the track's regions, or of
    its landmarks, or the whole picture."""
    width, height = track.cameras.width, track.cameras.height
    boxes = capture.notes.get("boxes")
    if isinstance(boxes, list):
        own = np.floor(np.asarray(boxes[index]) * [height, height, width, width]).astype(int)
        return (int(own[0]), int(own[1]), int(own[2]), int(own[3]))
    regions = track.maps.regions(index) if track.maps is not None else None
    if regions is not None:
        rows, columns = np.nonzero(np.isin(regions, [REGION[n] for n in HEAD_REGIONS]))
        if len(rows):
            return (
                int(rows.min()),
                int(rows.max()) + 1,
                int(columns.min()),
                int(columns.max()) + 1,
            )
    if track.landmarks is not None and bool(track.landmarks[index].isfinite().all(-1).any()):
        points = track.landmarks[index]
        points = points[points.isfinite().all(-1)]
        low, high = points.amin(0), points.amax(0)
        span = high - low
        low, high = low - span * low.new_tensor([0.15, 0.27]), high + 0.15 * span
        left, right = (int(x.clamp(0, width)) for x in (low[0], high[0]))
        top, bottom = (int(x.clamp(0, height)) for x in (low[1], high[1]))
        return top, bottom, left, right
    return 0, height, 0, width
