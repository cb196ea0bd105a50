"""`nerface`: dynamic neural radiance fields (Gafni et al., CVPR 2021), on any capture and track."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

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
from likeness.methods.nerface.heard import heard
from likeness.methods.nerface.network import Field, Shape
from likeness.methods.nerface.rendering import HALF, Draws, look_twice
from likeness.methods.nerface.walking import opaque, walk
from likeness.nn.subject import subject_of
from likeness.ops.bend import BORDER, torso_bend
from likeness.ops.hash_grid import HashLayout
from likeness.rigs.rest import rest_motions, rest_skin, rest_surface, rig_of
from likeness.training.adam import Adam
from likeness.training.collar import border
from likeness.training.frames import clean_backdrop, matte_of, person_pixels, trainable_frames
from likeness.training.hull import hull, in_any_bend
from likeness.training.occupancy import measured, some
from likeness.training.solid import depth_inside, guessed, shape_density
from likeness.training.tresses import tresses

_CELLS = 48  # vertices of the hull along a side, where rays do not walk
_SPOTS = 512  # places of a step that are held to the guessed shape
_JITTER = 64  # random numbers of a walk
_WALL = opaque(2.5)  # raw density inside of a person, before training
_MIST = 0.0  # and outside
_FACE, _FACE_SIDE = (0.0, -0.045, -0.02), 0.21  # middle and side of where expressions move skin
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
    draws: Draws | None
    jitter: Float[Tensor, "R J"] | None
    spots: Float[Tensor, "P 4"] | None


@dataclass(frozen=True)
class Nerface:
    """NeRFace: a radiance field that listens to expression. Faithful with `paper`."""

    steps: int = 20_000
    """Optimiser steps, one frame each."""
    rays: int = 448
    """Pixels of the frame that a step looks at."""
    cells: int = 64
    """Cells along a side of a grid that remembers where something is, so that one field is asked
    there alone; 0 asks two of them all along each ray, as published."""
    most: int = 14
    """Places on a ray that training asks then: where a ray may go on for longer, surfaces stay
    soft, and turned heads blur."""
    coarse: int = 24
    """Samples of the first pass, without a grid."""
    fine: int = 24
    """More samples of the second pass, which looks at both; 0 leaves it out."""
    width: int = 64
    """Of the trunk's layers."""
    colour_width: int = 32
    """Of the colour layers."""
    octaves: int = 5
    """Frequencies of positions."""
    ground_levels: int = 8
    """Resolutions of a learned table of places beside those; the paper has none."""
    ground_finest: int = 256
    """Its finest one."""
    ground_log2_size: int = 16
    """Its entries per level, as a power of two."""
    local: bool = True
    """Let each coefficient be heard only where the rig moves something by it, and codes in the face
    alone; in the paper everything hears everything."""
    shape_steps: int = 200
    """Steps in which the field is first taught the rig's shape, where rays walk."""
    hold: float = 0.02
    """Weight of staying with that shape, which decides where no frame does."""
    probes: int = 6
    """Training moments with which the grid is measured."""
    measure_every: int = 400
    """Steps between measurements of the grid."""
    on_person: float = 0.7
    """Share of pixels drawn from where the person is, where rays walk."""
    direction_octaves: int = 0
    """Frequencies of view directions."""
    direction_given: bool = True
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
    """Standard deviation of noise on densities while training, without a grid."""
    rate: float = 4e-3
    """Learning rate at the start."""
    table_rate: float = 0.3
    """That of the table of places: entries begin near zero, and count for little until they are as
    large as the waves beside them."""
    decay: float = 0.05
    """What the rate is multiplied by in the end."""
    decay_from: float = 0.5
    """Share of the steps from which on it falls."""
    decay_steps: int | None = None
    """Steps for that; none takes all of them."""
    code_weight: float = 0.005
    """Weight of the length of a frame's code."""
    carve: bool = True
    """Ask the fields only within the hull of the mattes; the paper does not."""
    mask: float = 0.3
    """Weight of the matte, where there is one; the paper has no such term."""
    square: float = 24.0
    """Weight of squares of colours' errors beside their sizes, with a grid: what cannot be hit,
    hair and what frames show differently, is then met in the middle."""
    code_share: float = 0.1
    """The learning rate of codes against that of the layers: they must not learn what expressions
    can say, for new frames have none."""
    latent_reg: str = "norm"
    """norm, as released; or weight_decay (squares of all codes), as the paper says."""
    box_share: float = 0.9
    """Weight of a pixel inside the head's box against one outside."""
    box_sampling: str = "intended"
    """intended; or released, where rows and columns of the box are exchanged."""
    direction: str = "unit"
    """unit; or released, where near and far stand in for two of its numbers."""
    expression_scale: float = 2.0
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
        if not 0 <= self.decay_from < 1:
            raise BadInput(f"decay_from={self.decay_from} is not in [0, 1).")
        if self.cells and not self.carve:
            raise BadInput("A grid of cells starts from the mattes: it needs carve=true.")
        if self.latent_reg not in ("norm", "weight_decay"):
            raise BadInput(f"latent_reg={self.latent_reg!r} is neither norm nor weight_decay.")
        if not 0 < self.box_share < 1:
            raise BadInput(f"box_share={self.box_share} is not between 0 and 1.")
        self.drawing()

    def drawing(self) -> Drawing:
        names = (
            "coarse", "fine", "near", "far", "reach", "direction", "inverse", "expression_scale",
            "clamp", "latent", "bend", "cells", "most",
        )  # fmt: skip
        return Drawing(**{name: getattr(self, name) for name in names})

    def shape(self, condition: int) -> Shape:
        ground = face = None
        if self.ground_levels:
            finest, size = self.ground_finest, self.ground_log2_size
            ground = HashLayout(self.ground_levels, 2, 16, finest, size)
        if self.local:
            scale = 0.5 / self.reach
            x, y, z = (scale * (f - m) for f, m in zip(_FACE, _MIDDLE))
            face = (x, y, z, scale * _FACE_SIDE)
        return Shape(
            condition, self.width, self.colour_width, self.octaves, self.direction_octaves,
            self.direction_given, ground, HALF, face,
        )  # fmt: skip

    def build(self, capture: Capture, track: Track) -> NerfaceAvatar:
        frames = trainable_frames(capture, track)
        chosen = take(track.expressions, torch.tensor(frames))
        subject = subject_of(track.rig, track.identity, chosen, self.torso)
        generator = Generator().manual_seed(self.seed)
        heard_at = self._heard(track)
        shape = self.shape(subject.width + self.codes)
        if heard_at is not None:
            shape = replace(shape, parts=(heard_at.shape[0], heard_at.shape[1]))
        coarse = Field(shape, generator)
        fine = Field(shape, generator) if self.fine and not self.cells else None
        for field in (coarse, fine):
            if field is not None and field.heard is not None and heard_at is not None:
                field.heard.copy_(heard_at)
        middle = torch.zeros(3) if self.near is not None else torch.tensor(_MIDDLE)
        scale = torch.tensor(1.0 if self.near is not None else 0.5 / self.reach)
        codes, backdrop = torch.zeros(len(frames), self.codes), clean_backdrop(capture, track)
        surface = rest_surface(track.identity)
        edge = border(track, frames, subject.rest_torso, surface) if self.bend else BORDER
        start = (self.drawing(), subject, coarse, fine, codes, backdrop, middle, scale)
        if not self.carve:
            return NerfaceAvatar(*start, border=torch.tensor(edge))
        axis = torch.linspace(-HALF, HALF, self.cells + 1 if self.cells else _CELLS)
        places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1) / scale + middle
        still = subject.rest_torso if self.bend else None
        kept = hull(capture, track, frames, places, still, surface, edge)
        made = NerfaceAvatar(*start, kept, border=torch.tensor(edge))
        if self.cells:
            self._begin(made, track, frames, places, generator)
        return made

    def _heard(self, track: Track) -> Tensor | None:
        """Where each coefficient is heard, where a rig says it."""
        rest, motions = rest_surface(track.identity), rest_motions(track.identity)
        if not self.local or rest is None or motions is None:
            return None
        return heard(rest, motions, (*_FACE, _FACE_SIDE))

    def _begin(
        self,
        made: NerfaceAvatar,
        track: Track,
        frames: list[int],
        places: Tensor,
        generator: Generator,
    ) -> None:
        """The field as a wall where the person is thought to be, and the grid that knows."""
        hair = tresses(track, frames, places, made.hull, rig_of(track.identity))
        inside = depth_inside(places, made.hull, *(rest_skin(track.identity) or (None, None)), hair)
        field, still = made.coarse, torch.zeros(made.subject.width + self.codes)
        shape_density(
            lambda points: field.trunk(HALF * (2 * points - 1), still)[1],
            list(field.parameters()), inside, made.hull, (_MIST, _WALL), generator,
            self.shape_steps,
        )  # fmt: skip
        rows = torch.randperm(len(made.codes), generator=generator)[: 8 * self.probes]
        moments = take(track.expressions, torch.tensor(frames)[rows])
        said = self.expression_scale * made.subject.condition(moments)
        said = torch.cat([said, torch.zeros(len(rows), self.codes)], -1)
        made.spread = torch.cat([still[None], said])
        made.bends = torch.cat(
            [torch.eye(4)[None], torso_bend(moments, made.subject.rest_torso).view(-1, 4, 4)]
        )
        made.hull, made.guess = in_any_bend(made.hull, places, made.bends, made.edge), inside
        made.grid = torch.zeros(made.hull.shape)
        self._measure(made, 0)

    def _measure(self, avatar: NerfaceAvatar, step: int) -> None:
        generator = Generator().manual_seed(self.seed * 1_000_003 + step)
        probes = some(len(avatar.spread), self.probes, generator)
        box = avatar.grid.new_tensor([[-HALF] * 3, [HALF] * 3])
        grid = measured(avatar.grid, box, avatar.hull, probes, avatar.probed, generator)
        avatar.grid.copy_(torch.where(avatar.hull, grid, 0.0))

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
        count = min(self.rays, height * width)
        if self.cells:
            flat = person_pixels(capture, track, index, count, self.on_person, generator)
        else:
            box = head_box(capture, track, index)
            weights = pixel_weights(height, width, box, self.box_share, self.box_sampling)
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
        expression = take(track.expressions, index)
        if self.cells:
            jitter = torch.rand((count, _JITTER), generator=generator)
            spots = torch.rand((_SPOTS, 4), generator=generator)
            return View(row, camera, expression, at, flat, seen, alpha, None, jitter, spots)
        first, second = (count, self.coarse), (count, self.coarse + self.fine)
        draws = Draws(
            torch.rand(first, generator=generator),
            torch.rand((count, self.fine), generator=generator),
            torch.randn(first, generator=generator),
            torch.randn(second, generator=generator),
        )
        return View(row, camera, expression, at, flat, seen, alpha, draws, None, None)

    def optimizer(self, avatar: NerfaceAvatar) -> Optimizer:
        fields = [avatar.coarse] if avatar.fine is None else [avatar.coarse, avatar.fine]
        tables = [f.ground.table for f in fields if f.ground is not None]
        layers = [p for f in fields for n, p in f.named_parameters() if n != "ground.table"]
        groups = [
            {"params": layers, "lr": self.rate, "share": 1.0},
            {"params": [avatar.codes], "lr": self.rate, "share": self.code_share},
        ]
        if tables:
            share = self.table_rate / self.rate
            groups.append({"params": tables, "lr": self.table_rate, "share": share})
        if self.learn_backdrop:
            groups.append({"params": [avatar.backdrop], "lr": self.rate, "share": 1.0})
        if not self.cells:
            return Adam(groups)
        return Adam(groups, betas=(0.9, 0.99), eps=1e-15, resting=True)

    def losses(self, avatar: NerfaceAvatar, view: View, step: int) -> dict[str, Tensor]:
        """Squares of both passes, and the length of the frame's code."""
        code = avatar.codes[view.row]
        backdrop = avatar.backdrop.reshape(-1, 3)[view.flat]
        backdrop = torch.where((view.alpha < _BEHIND)[:, None], backdrop, backdrop.detach())
        rays = avatar.rays(view.camera, view.expression, view.pixels)
        if self.cells:
            told = avatar.told(view.expression, code)
            seen = walk(avatar.coarse, rays, told, avatar.occupied(), self.most, view.jitter)
            drawn = seen.values + (1 - seen.opacity[:, None]) * backdrop
            missed = drawn - view.rgb
            losses = {"colour": missed.abs().mean() + self.square * missed.square().mean()}
            if self.hold > 0 and view.spots is not None:
                places, wanted = guessed(avatar.guess, avatar.hull, (_MIST, _WALL), view.spots)
                condition = told.condition.detach()
                raw = avatar.coarse.trunk(HALF * (2 * places - 1), condition)[1]
                losses["shape"] = self.hold * (raw - wanted).abs().mean()
            return losses | self._besides(avatar, code, seen.opacity, view.alpha)
        first, second = look_twice(
            avatar.coarse, avatar.fine, rays, avatar.condition(view.expression, code), backdrop,
            (self.coarse, self.fine), view.draws, self.noise, self.inverse, avatar.known,
            avatar.asked(view.expression),
        )  # fmt: skip
        losses = {"coarse": (first.rgb - view.rgb).square().mean()}
        if second is not first:
            losses["fine"] = (second.rgb - view.rgb).square().mean()
        return losses | self._besides(avatar, code, 1 - second.behind, view.alpha)

    def _besides(
        self, avatar: NerfaceAvatar, code: Tensor, opacity: Tensor, alpha: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the matte and of the frame's code."""
        losses = {}
        if self.mask > 0:
            losses["matte"] = self.mask * (opacity - alpha).abs().mean()
        if self.latent_reg == "norm":
            losses["code"] = self.code_weight * length(code)
        else:
            losses["code"] = self.code_weight * avatar.codes.square().sum()
        return losses

    def after_step(self, avatar: NerfaceAvatar, optimizer: Optimizer, step: int) -> None:
        """Lower the rate along an exponential."""
        late = (step / (self.decay_steps or self.steps) - self.decay_from) / (1 - self.decay_from)
        rate = self.rate * self.decay ** max(0.0, late)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        early = tuple(self.measure_every // n for n in (8, 4, 2))
        if self.cells and step > 0 and (step in early or step % self.measure_every == 0):
            self._measure(avatar, step)

    def restore(self, state: dict[str, Tensor]) -> NerfaceAvatar:
        """The avatar out of its own tensors alone."""
        return NerfaceAvatar.from_state(self.drawing(), self.shape(0), state)


PUBLISHED: dict[str, Any] = {
    "cells": 0, "octaves": 10, "direction_octaves": 4, "direction_given": False,
    "ground_levels": 0, "local": False, "carve": False, "bend": False, "decay_from": 0.0,
    "code_share": 1.0, "expression_scale": 1 / 3,
}  # fmt: skip
"""Settings that leave out what the paper does not have."""


def laptop() -> Nerface:
    """Minutes on two CPU cores: narrower layers, a grid that knows where to look."""
    return Nerface()


def gpu() -> Nerface:
    """The paper's network with fewer steps, for a CUDA device."""
    return Nerface(
        steps=60_000, rays=4096, width=256, colour_width=128, cells=128, most=48, rate=1e-3,
        table_rate=3e-2,
    )  # fmt: skip


def paper() -> Nerface:
    """As published and released, on data in the authors' units."""
    return Nerface(
        steps=400_000, rays=2048, coarse=64, fine=64, width=256, colour_width=128,
        near=0.2, far=0.8, rate=5e-4, decay=0.1, decay_steps=250_000, clamp=False, mask=0.0,
        torso=False, learn_backdrop=False, **PUBLISHED,
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
