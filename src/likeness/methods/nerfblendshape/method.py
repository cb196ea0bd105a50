"""`nerfblendshape`: a head as blended hash grids (Gao et al., SIGGRAPH Asia 2022)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.optim import Optimizer

from likeness.core.batching import take
from likeness.core.camera import Camera
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.regions import HEAD_REGIONS, REGION
from likeness.core.track import Track
from likeness.methods.nerfblendshape.avatar import HALF, BlendAvatar, Walk
from likeness.methods.nerfblendshape.field import Field, Shape
from likeness.methods.nerfblendshape.patches import PATCH, patch_pixels
from likeness.nn.subject import subject_of
from likeness.ops.bend import BORDER, torso_bend
from likeness.ops.hash_grid import HashLayout
from likeness.ops.image import perceptual
from likeness.ops.march import vertex_places
from likeness.rigs.rest import rest_skin, rest_surface, rig_of
from likeness.training.adam import Adam
from likeness.training.collar import border
from likeness.training.frames import clean_backdrop, matte_of, person_pixels, trainable_frames
from likeness.training.hull import hull, in_any_bend
from likeness.training.occupancy import measured, some
from likeness.training.solid import depth_inside, guessed, shape_density
from likeness.training.tresses import tresses

_BEHIND = 0.05  # the backdrop is learned only where the matte is below this
_MIDDLE = (0.0, -0.08, -0.06)  # of head and shoulders, seen from between the eyes, in metres
_FACE, _FACE_SIDE = (0.0, -0.045, -0.02), 0.21  # middle and side of where expressions move skin
_CUBE = torch.tensor([[-HALF] * 3, [HALF] * 3])
_WALL = 4.0  # raw density inside of a person
_SPOTS = 512  # places of a step that are held to the guessed shape
_JITTER = 64  # random numbers per ray
_MOUTH = tuple(REGION[n] for n in ("lips", "mouth", "teeth", "tongue"))
_HEAD = tuple(REGION[n] for n in HEAD_REGIONS)


@dataclass(frozen=True, eq=False)
class View:
    """Pixels of a few training frames, one row of each per frame."""

    camera: Camera
    expression: Expression
    pixels: Float[Tensor, "B R 2"]
    flat: Int[Tensor, "B R"]
    rgb: Float[Tensor, "B R 3"]
    alpha: Float[Tensor, "B R"]
    jitter: Float[Tensor, "B*R J"]
    spots: Float[Tensor, "P 4"]
    patch: bool


@dataclass(frozen=True)
class NerfBlendShape:
    """NeRFBlendShape: hash grids mixed by expression. Faithful with `paper`."""

    steps: int = 6000
    """Optimiser steps."""
    frames: int = 4
    """Frames that a step looks at."""
    rays: int = 128
    """Pixels of each of them."""
    on_person: float = 0.7
    """Share of those drawn from where the person is; the paper draws all from everywhere."""
    bases: int = 12
    """Tables beside the neutral one: principal directions of what the tracker saw. 0 gives every
    coefficient its own table."""
    levels: int = 6
    """Resolutions of a table."""
    features: int = 2
    """Numbers per entry."""
    coarsest: int = 8
    """Cells along a side at the coarsest resolution."""
    finest: int = 64
    """At the finest."""
    log2_size: int = 14
    """Entries per level, as a power of two."""
    ground_levels: int = 8
    """Resolutions of a table that expressions leave alone; the others are then of the face only.
    0: none, and all tables are of the whole cube, as published."""
    ground_finest: int = 256
    """Its finest one."""
    ground_log2_size: int = 16
    """Its entries per level, as a power of two."""
    width: int = 48
    """Of the networks' layers."""
    depth: int = 2
    """Hidden layers of the density network."""
    degree: int = 0
    """Of the harmonics of view directions that colours hear; 0 lets them hear nothing."""
    geometry: int = 16
    """Features handed from density to colour."""
    gain: float = 100.0
    """What densities are multiplied by; above 1, surfaces form sooner."""
    shift: float = 4.0
    """What densities start below, before they are made positive: thin mist rather than a wall."""
    least: float = 8.0
    """Density, in the cube's unit, from which a place counts as occupied; or the mean, if less."""
    floor: float = 0.01
    """Light left behind which a ray ends in training."""
    most: int = 20
    """Samples of a ray in training: behind so many, little light is left."""
    cells: int = 64
    """Cells of the occupancy grid along a side."""
    reach: float = 0.3
    """Metres from the middle to the sides of the cube; 0 means data in the authors' own units."""
    probes: int = 6
    """Training expressions with which the grid is measured; 0 probes each base's extreme."""
    measure_every: int = 400
    """Steps between measurements of the grid."""
    carve: bool = True
    """Start from the hull of the mattes."""
    shape_steps: int = 150
    """Steps in which the field is first taught the rig's shape; 0 leaves depth open."""
    hold: float = 0.02
    """Weight of staying with that shape, which decides where no frame does."""
    mask: float = 0.3
    """Weight of the matte in the first part of training."""
    mask_until: float = 1.0
    """Where that part ends, as a share of all steps."""
    patch_share: float = 0.1
    """Share of the steps that look at a patch of one frame instead of single pixels of several."""
    patches_from: float = 0.6
    """From when on patches are compared perceptually; 1 never."""
    perceptual: float = 0.1
    """Weight of that comparison, and of L1 on such patches."""
    square: float = 24.0
    """Weight of squares of colours' errors beside their sizes; the paper has none."""
    sparsity: float = 0.0
    """Weight of the mean absolute entry of the tables of bases."""
    rate: float = 4e-3
    """Learning rate at the start."""
    resting: bool = True
    """Entries of tables that no sample looked at keep still, as instant-ngp has it."""
    network_share: float = 0.3
    """The networks' learning rate against that of the tables."""
    decay: float = 0.05
    """What the rate is multiplied by in the end."""
    decay_from: float = 0.5
    """Share of the steps from which on it falls."""
    patch_columns: str = "intended"
    """intended; or released, where a patch's column is left to chance."""
    torso: bool = False
    """Let the blend hear how the torso moves against the head."""
    bend: bool = True
    """Ask the field for shoulders where they are at rest; the paper lets them swing."""
    small: float = 0.05
    """Principal directions with less spread than this count as noise and stay small."""
    basis_share: float = 0.1
    """The learning rate of the tables of bases against that of the neutral one."""
    clamp: bool = True
    """Keep expressions within the range of training."""
    learn_backdrop: bool = True
    """Whether the backdrop is refined too."""
    seed: int = 0
    """Of the start and of the grid's measurements."""

    NAME: ClassVar[str] = "nerfblendshape"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rays < 1 or self.frames < 1:
            raise BadInput(
                f"{self.steps} steps of {self.frames} frames with {self.rays} rays are no training."
            )
        if self.patch_columns not in ("intended", "released"):
            raise BadInput(
                f"patch_columns={self.patch_columns!r} is neither intended nor released."
            )
        if not 0 <= self.decay_from < 1:
            raise BadInput(f"decay_from={self.decay_from} is not in [0, 1).")
        if not 2 <= self.cells <= 512 or self.reach < 0:
            raise BadInput(f"cells={self.cells} or reach={self.reach} is out of range.")

    def walk(self) -> Walk:
        return Walk(
            cells=self.cells, floor=self.floor, clamp=self.clamp, bend=self.bend, least=self.least,
            most=self.most,
        )  # fmt: skip

    def shape(self, bases: int) -> Shape:
        ground, face = None, (0.0, 0.0, 0.0, 1.0)
        if self.ground_levels:
            finest, size = self.ground_finest, self.ground_log2_size
            ground = HashLayout(self.ground_levels, self.features, 16, finest, size)
            side = _FACE_SIDE / (2 * self.reach)
            x, y, z = (0.5 + (f - m) / (2 * self.reach) for f, m in zip(_FACE, _MIDDLE))
            face = (x - side / 2, y - side / 2, z - side / 2, side)
        return Shape(
            bases, self.levels, self.features, self.coarsest, self.finest, self.log2_size,
            self.width, self.depth, self.geometry, gain=self.gain, shift=self.shift,
            degree=self.degree, ground=ground, face=face,
        )  # fmt: skip

    def build(self, capture: Capture, track: Track) -> BlendAvatar:
        frames = trainable_frames(capture, track)
        chosen = take(track.expressions, torch.tensor(frames))
        subject = subject_of(track.rig, track.identity, chosen, self.torso)
        seen = subject.condition(chosen)
        mean, axes = self._bases(seen)
        blends = (seen - mean) @ axes
        bends = torso_bend(chosen, subject.rest_torso)
        generator = Generator().manual_seed(self.seed)
        rows = self._probed(len(blends), generator)
        none, still = torch.zeros_like(blends[:1]), torch.eye(4)[None]
        spread = torch.cat([none, blends[rows] if self.probes else torch.diag(blends.amax(0))])
        moved = bends[rows] if self.probes else still.expand(len(spread) - 1, 4, 4)
        field = Field(self.shape(axes.shape[1]), generator)
        skin = rest_surface(track.identity)
        edge = border(track, frames, subject.rest_torso, skin) if self.bend else BORDER
        grid, kept, inside = self._carved(capture, track, frames, subject.rest_torso, moved, edge)
        if inside is not None:
            self._shape(field, kept, inside, generator)
        made = BlendAvatar(
            self.walk(), subject, field, clean_backdrop(capture, track), self.placed(), mean, axes,
            grid, kept, spread, torch.cat([still, moved]), torch.tensor(edge), inside,
        )  # fmt: skip
        if inside is not None:
            self._measure(made, 0)
        return made

    def _carved(
        self,
        capture: Capture,
        track: Track,
        frames: list[int],
        rest_torso: Tensor,
        bends: Tensor,
        edge: tuple[float, float, float],
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The grid before training; where anything can ever be: the hull of the mattes, in any of
        the torso's bends; and how far inside of the person places are thought to lie."""
        side = self.cells + 1
        sides = (side, side, side)
        kept = torch.ones(sides, dtype=torch.bool)
        grid = torch.full(sides, 1e-3)
        if not self.carve:
            return grid, kept, None
        places = vertex_places(sides, _CUBE)
        turn, shift = self.placed()[:, :3], self.placed()[:, 3]
        head = (places - shift) @ torch.linalg.inv(turn).mT
        skin = rest_surface(track.identity)
        if not self.bend:
            still = kept = hull(capture, track, frames, head, surface=skin)
        else:
            still = hull(capture, track, frames, head, rest_torso, skin, edge)
            kept = in_any_bend(still, head, bends, edge)
        if not self.shape_steps:
            return torch.where(kept, grid, 0.0) if bool(kept.any()) else grid, kept, None
        hair = tresses(track, frames, head, still, rig_of(track.identity))
        inside = depth_inside(head, still, *(rest_skin(track.identity) or (None, None)), hair)
        return torch.where(kept, grid, 0.0) if bool(kept.any()) else grid, kept, inside

    def _shape(self, field: Field, kept: Tensor, inside: Tensor, generator: Generator) -> None:
        """Begin with the guessed shape of the person as a wall, and thin mist before it."""
        parameters = [field.tables.neutral, *field.inner.parameters()]
        parameters += [] if field.ground is None else [field.ground.table]
        shape_density(
            lambda points: self._raw(field, points), parameters, inside, kept, (0.0, _WALL),
            generator, self.shape_steps,
        )  # fmt: skip

    @staticmethod
    def _raw(field: Field, places: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        """What becomes density, without expression."""
        blend = places.new_zeros(1, field.shape.bases)
        return field.inner(field.looked_up(places, blend, None, None))[:, 0]

    def _bases(self, seen: Float[Tensor, "T C"]) -> tuple[Tensor, Tensor]:
        """The condition's middle and its principal directions, each of unit spread."""
        width = seen.shape[1]
        if self.bases == 0:
            return torch.zeros(width), torch.eye(width)
        mean = seen.mean(0)
        _, spread, axes = torch.linalg.svd(seen - mean, full_matrices=False)
        count = min(self.bases, int((spread > 1e-4 * spread[0]).sum()))
        deviation = spread[:count] / max(len(seen) - 1, 1) ** 0.5
        return mean, axes[:count].mT / deviation.clamp(min=self.small)

    def placed(self) -> Float[Tensor, "3 4"]:
        """The cube's frame from the head's. The authors': axes (y, z, x), lengths times 0.33."""
        if self.reach == 0:
            turn = 0.33 * torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
            return torch.cat([turn, torch.zeros(3, 1)], -1)
        turn = torch.eye(3) * (HALF / self.reach)
        return torch.cat([turn, -(turn @ torch.tensor(_MIDDLE))[:, None]], -1)

    def _probed(self, count: int, generator: Generator) -> Tensor:
        """Training frames whose weights and bends the grid is measured with, in turn."""
        return torch.randperm(count, generator=generator)[: 8 * self.probes]

    def batches(self, capture: Capture, track: Track, generator: Generator) -> Iterator[View]:
        """Pixels of drawn frames, some of them patches; `losses` knows what to do with those."""
        frames = trainable_frames(capture, track)
        while True:
            order = torch.randperm(len(frames), generator=generator)
            for group in order.split(self.frames):
                chosen = [frames[i] for i in group.tolist()]
                yield self.view(capture, track, chosen, generator)

    def view(self, capture: Capture, track: Track, chosen: list[int], generator: Generator) -> View:
        height, width = track.cameras.height, track.cameras.width
        large = min(height, width) > PATCH + 2
        patch = large and bool(torch.rand((), generator=generator) < self.patch_share)
        if patch:
            chosen = chosen[:1]
            flat = self._patch(capture, track, chosen, generator)
        else:
            flat = torch.stack(
                [
                    person_pixels(capture, track, index, self.rays, self.on_person, generator)
                    for index in chosen
                ]
            )
        at = torch.stack([flat % width, flat // width], -1) + 0.5
        rgb, alpha = [], []
        for index, row in zip(chosen, flat.numpy()):
            matte = matte_of(capture, track, index)
            if matte is None and self.mask > 0:
                raise BadInput(
                    f"Frame {index} of {capture.name!r} has no matte. Run `likeness track`, or set "
                    "mask=0."
                )
            matte = torch.ones(height, width) if matte is None else matte
            rgb.append(torch.from_numpy(capture[index].rgb8.reshape(-1, 3)[row]))
            alpha.append(matte.flatten()[row])
        jitter = torch.rand((flat.numel(), _JITTER), generator=generator)
        rows = torch.tensor(chosen)
        return View(
            take(track.cameras, rows), take(track.expressions, rows), at, flat,
            torch.stack(rgb).float() / 255, torch.stack(alpha), jitter,
            torch.rand((_SPOTS, 4), generator=generator), patch,
        )  # fmt: skip

    def _patch(
        self, capture: Capture, track: Track, chosen: list[int], generator: Generator
    ) -> Tensor:
        """A patch of each frame, around the mouth as often as anywhere on the head."""
        height, width = track.cameras.height, track.cameras.width
        mouth = bool(torch.rand((), generator=generator) < 0.5)
        boxes = []
        for index in chosen:
            regions = track.maps.regions(index) if track.maps is not None else None
            box = region_box(regions, _MOUTH if mouth else _HEAD)
            boxes.append([0, 0, width - 1, height - 1] if box is None else box)
        draws = torch.rand((2, len(chosen)), generator=generator)
        spare = torch.rand((2, len(chosen)), generator=generator)
        return patch_pixels(torch.tensor(boxes), draws, (height, width), self.patch_columns, spare)

    def optimizer(self, avatar: BlendAvatar) -> Optimizer:
        tables, field = avatar.field.tables, avatar.field
        networks = [*field.inner.parameters(), *field.outer.parameters()]
        groups = [
            {"params": [tables.basis], "lr": self.rate, "share": self.basis_share},
            {
                "params": [tables.neutral, *([] if field.ground is None else [field.ground.table])],
                "lr": self.rate,
                "share": 1.0,
            },
            {"params": networks, "lr": self.rate, "share": self.network_share},
        ]
        if self.learn_backdrop:
            groups.append({"params": [avatar.backdrop], "lr": 1e-3, "share": 1e-3 / self.rate})
        betas, mixed = (0.9, 0.99), [tables.basis]
        return Adam(groups, betas=betas, eps=1e-15, resting=self.resting, mixed=mixed)

    def losses(self, avatar: BlendAvatar, view: View, step: int) -> dict[str, Tensor]:
        """L1 of colours, of the matte early, of tables; late, patches as the eye compares them."""
        parts = [
            avatar.rays(take(view.camera, i), take(view.expression, i), view.pixels[i], i)
            for i in range(len(view.pixels))
        ]
        rays = type(parts[0])(
            torch.cat([p.origins for p in parts]),
            torch.cat([p.directions for p in parts]),
            torch.cat([p.head for p in parts]),
        )
        bend = avatar.bend(view.expression)
        seen = avatar(rays, avatar.blend(view.expression), view.jitter, bend)
        flat = view.flat.flatten()
        behind = avatar.backdrop.reshape(-1, 3)[flat]
        matte = view.alpha.flatten()
        behind = torch.where((matte < _BEHIND)[:, None], behind, behind.detach())
        drawn = seen.values + (1 - seen.opacity[:, None]) * behind
        truth = view.rgb.flatten(0, 1)
        late = view.patch and step >= self.patches_from * self.steps
        missed = drawn - truth
        losses = {"colour": missed.abs().mean() + self.square * missed.square().mean()}
        if late:
            losses["colour"] = 0.5 * losses["colour"]
            sides = (PATCH, PATCH, 3)
            losses["patch"] = self.perceptual * perceptual(drawn.view(sides), truth.view(sides))
        if step < self.mask_until * self.steps and self.mask > 0:
            losses["matte"] = self.mask * (seen.opacity - matte).abs().mean()
        if self.hold > 0 and avatar.guess.numel():
            places, wanted = guessed(avatar.guess, avatar.hull, (0.0, _WALL), view.spots)
            losses["shape"] = self.hold * (self._raw(avatar.field, places) - wanted).abs().mean()
        if self.sparsity > 0:
            losses["tables"] = self.sparsity * avatar.field.tables.basis.abs().mean()
        return losses

    def after_step(self, avatar: BlendAvatar, optimizer: Optimizer, step: int) -> None:
        """Lower the rate; measure the grid anew now and then."""
        late = (step / self.steps - self.decay_from) / (1 - self.decay_from)
        decay = self.decay ** min(1.0, max(0.0, late))
        for group in optimizer.param_groups:
            group["lr"] = self.rate * group["share"] * decay
        if self._measures(step):
            self._measure(avatar, step)

    def _measure(self, avatar: BlendAvatar, step: int) -> None:
        generator = Generator().manual_seed(self.seed * 1_000_003 + step)
        probes = some(len(avatar.spread), self.probes, generator)
        kept = avatar.hull if self.carve else None
        grid = measured(avatar.grid, avatar.box, kept, probes, avatar.probed, generator)
        avatar.grid.copy_(torch.where(avatar.hull, grid, 0.0) if self.carve else grid)

    def _measures(self, step: int) -> bool:
        """Regularly and, where the hull is all that is known, three times early on."""
        early = tuple(self.measure_every // n for n in (8, 4, 2)) if self.carve else ()
        return step > 0 and (step in early or step % self.measure_every == 0)

    def restore(self, state: dict[str, Tensor]) -> BlendAvatar:
        """The avatar out of its own tensors alone."""
        return BlendAvatar.from_state(self.walk(), self.shape(0), state)


def region_box(regions: np.ndarray | None, labels: tuple[int, ...]) -> list[int] | None:
    """x0, y0, x1, y1 around some regions."""
    if regions is None:
        return None
    rows, columns = np.nonzero(np.isin(regions, labels))
    if len(rows) == 0:
        return None
    return [int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())]


def laptop() -> NerfBlendShape:
    """Minutes on two CPU cores: fewer, smaller tables along principal directions."""
    return NerfBlendShape()


def gpu() -> NerfBlendShape:
    """The paper's sizes with principal directions, for a CUDA device."""
    return NerfBlendShape(
        steps=20_000, frames=4, rays=1024, bases=24, levels=12, features=4, finest=256, width=64,
        depth=4, geometry=64, cells=128, ground_levels=12, ground_finest=1024,
        ground_log2_size=18, degree=3,
    )  # fmt: skip


def paper() -> NerfBlendShape:
    """As published and released, on data in the authors' units."""
    return NerfBlendShape(
        steps=40_000, frames=2, rays=1024, bases=0, levels=16, features=4, coarsest=16, finest=1024,
        ground_levels=0, degree=3,
        log2_size=14, width=64, depth=4, geometry=64, cells=128, reach=0, probes=0, on_person=0.0,
        measure_every=1000, carve=False, shape_steps=0, mask=1.0, mask_until=0.1, patches_from=0.5,
        sparsity=1.0, square=0.0, rate=1e-3, network_share=1.0, decay=0.1, gain=1.0,
        torso=False, learn_backdrop=False, bend=False, small=1e-6, basis_share=1.0,
        shift=0.0, least=10.0, floor=1e-4, most=2048, resting=False, decay_from=0.0,
        patch_share=0.5,
    )  # fmt: skip
