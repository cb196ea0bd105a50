"""The avatar: a blended field in a cube around the head, walked through by rays."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from likeness.core.avatar import Picture, Reach
from likeness.core.batching import take
from likeness.core.camera import Camera, pixel_grid, pixel_rays
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, transform
from likeness.core.rig import Identity
from likeness.methods.nerfblendshape.field import Field, Shape
from likeness.methods.nerfblendshape.unit import unit
from likeness.nn.subject import Subject
from likeness.ops.bend import straightened, torso_bend
from likeness.ops.depth import depth_normals
from likeness.ops.march import Samples, Stride, is_occupied, march
from likeness.ops.rays import ray_box
from likeness.ops.volumes import Composite, Progress, composite_packed, composite_round
from likeness.training.hull import swung

HALF = 0.06
"""Half the cube, in the method's own unit."""
_NEAR = 0.05  # rays start here at the earliest, in that unit
_BLOCK = 16384  # rays drawn at a time
_FIRST = 10  # samples of a ray that are measured before it is asked whether light is left
_FEW = 24  # samples of a ray of which sifting out the unlit ones costs more than it saves
_ROUND = 16  # samples of a ray before those that see nothing more are left out


@dataclass(frozen=True)
class Walk:
    """How rays go through the cube."""

    cells: int = 128
    """Cells of the occupancy grid along a side; no step is longer than one."""
    floor: float = 1e-4
    """Light left behind which training ends a ray."""
    stop: float = 1e-2
    """Light left behind which drawing ends a ray."""
    clamp: bool = True
    """Keep expressions within the range of training."""
    least: float = 10.0
    """Density from which a cell counts as occupied; or the mean, if that is less."""
    most: int = 2048
    """Samples of a ray in training."""
    bend: bool = True
    """Take the torso back to where it was at rest before the field is asked."""

    @property
    def stride(self) -> Stride:
        least = 2 * 3**0.5 / 2048 * HALF
        return Stride(least, max(least, 2 * HALF / self.cells), 1 / 128, 2048)


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays in the cube's frame; directions are unit, `head` says whose head each one sees."""

    origins: Float[Tensor, "R 3"]
    directions: Float[Tensor, "R 3"]
    head: Int[Tensor, " R"]


class BlendAvatar(nn.Module):
    """A head as a blend of hash grids.

    `box_from_head` (3x4) takes the frame of the head to the cube's. Conditions become weights of
    the bases by (condition - mean) @ directions.
    """

    box_from_head: Tensor
    mean: Tensor
    axes: Tensor
    grid: Tensor
    hull: Tensor
    spread: Tensor
    bends: Tensor
    border: Tensor
    guess: Tensor

    def __init__(
        self,
        walk: Walk,
        subject: Subject,
        field: Field,
        backdrop: Float[Tensor, "H W 3"],
        box_from_head: Float[Tensor, "3 4"],
        mean: Float[Tensor, " C"],
        axes: Float[Tensor, "C K"],
        grid: Float[Tensor, "X Y Z"],
        hull: Tensor,
        spread: Float[Tensor, "S K"],
        bends: Float[Tensor, "S 4 4"],
        border: Float[Tensor, " 3"],
        guess: Float[Tensor, "X Y Z"] | None = None,
    ) -> None:
        """`spread` are weights that training frames have, and `bends` of their torsos, for probing
        what can be occupied. `border` is where the torso begins (see ops.bend), `guess`
        how far inside of the person the grid's vertices were thought to be before training."""
        super().__init__()
        self.walk, self.subject, self.field = walk, subject, field
        self.backdrop = nn.Parameter(backdrop.clone())
        for name, value in (
            ("box_from_head", box_from_head), ("mean", mean), ("axes", axes), ("grid", grid),
            ("hull", hull), ("spread", spread), ("bends", bends), ("border", border),
            ("guess", torch.zeros(0, 0, 0) if guess is None else guess),
        ):  # fmt: skip
            self.register_buffer(name, value.clone())

    @classmethod
    def from_state(cls, walk: Walk, shape: Shape, state: dict[str, Tensor]) -> "BlendAvatar":
        prefix = "subject."
        subject = Subject.from_state(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        names = (
            "backdrop", "box_from_head", "mean", "axes", "grid", "hull",
            "spread", "bends", "border", "guess",
        )  # fmt: skip
        field = Field(replace(shape, bases=state["axes"].shape[1]))
        made = cls(walk, subject, field, *(state[n] for n in names))
        made.load_state_dict(state)
        return made

    @property
    def rig(self) -> str:
        return self.subject.rig

    @property
    def identity(self) -> Identity:
        return self.subject.identity

    def at_rest(self) -> Expression:
        return self.subject.at_rest()

    def reach(self, neutral: float) -> Reach:
        return self.subject.reach()

    @property
    def box(self) -> Float[Tensor, "2 3"]:
        corner = torch.full_like(self.box_from_head[:, 3], HALF)
        return torch.stack([-corner, corner])

    @property
    def edge(self) -> tuple[float, float, float]:
        """Where the torso begins."""
        top, bottom, slope = self.border.tolist()
        return top, bottom, slope

    @property
    def scale(self) -> Tensor:
        """Units of the cube per metre."""
        return self.box_from_head[:, 0].norm()

    def blend(self, expression: Expression) -> Float[Tensor, "*b K"]:
        """Weights of the bases."""
        condition = self.subject.condition(expression, self.walk.clamp)
        return (condition - self.mean) @ self.axes

    def bend(self, expression: Expression) -> Float[Tensor, "*b 4 4"] | None:
        """How the torso is straightened; None where it counts as part of the head."""
        if not self.walk.bend:
            return None
        return torso_bend(expression, self.subject.rest_torso)

    def asked(
        self, places: Float[Tensor, "N 3"], bend: Tensor | None, head: Int[Tensor, " N"] | None
    ) -> Float[Tensor, "N 3"]:
        """Places in the cube's frame as the field knows them: in the unit cube, the torso at
        rest. `bend` is one, or one for each head."""
        if bend is not None:
            turn, shift = self.box_from_head[:, :3], self.box_from_head[:, 3]
            in_head = (places - shift) @ torch.linalg.inv(turn).mT
            each = bend if head is None or bend.dim() == 2 else bend[head]
            places = straightened(in_head, each, self.edge) @ turn.mT + shift
        return unit(places, self.box).clamp(0, 1)

    def rays(
        self, camera: Camera, expression: Expression, pixels: Float[Tensor, "R 2"], head: int = 0
    ) -> Rays:
        """Rays through pixels of one view."""
        pose = camera.camera_from_world @ expression.world_from_head
        origins, directions = pixel_rays(replace(camera, camera_from_world=pose), pixels)
        turn = self.box_from_head[:, :3]
        directions = torch.nn.functional.normalize(directions @ turn.mT, dim=-1)
        which = torch.full((len(pixels),), head, dtype=torch.long, device=pixels.device)
        return Rays(origins @ turn.mT + self.box_from_head[:, 3], directions, which)

    def samples(
        self,
        rays: Rays,
        jitter: Float[Tensor, "R J"] | None = None,
        most: int = 2048,
        occupied: Bool[Tensor, "X Y Z"] | None = None,
    ) -> Samples:
        near, far = ray_box(rays.origins, rays.directions, self.box)
        far = torch.where(far > near, far, -torch.inf)
        return march(
            rays.origins, rays.directions, near.clamp(min=_NEAR), far,
            self.occupied() if occupied is None else occupied, self.box,
            replace(self.walk.stride, limit=most), jitter,
        )  # fmt: skip

    def occupied(self) -> Bool[Tensor, "X Y Z"]:
        """Where there may be something. A grid that was never measured is all of one value, and
        none of it empty."""
        even = bool((self.grid == self.grid.flatten()[0]).all())
        return is_occupied(self.grid, self.walk.least, 0.0 if even else None)

    def forward(
        self,
        rays: Rays,
        blend: Float[Tensor, "B K"],
        jitter: Float[Tensor, "R J"] | None = None,
        bend: Float[Tensor, "B 4 4"] | None = None,
    ) -> Composite:
        """Colour (premultiplied) and opacity of rays, with gradients."""
        walked = self.samples(rays, jitter, self.walk.most)
        direction, head = rays.directions[walked.ray], rays.head[walked.ray]
        places = rays.origins[walked.ray] + walked.t[:, None] * direction
        points = self.asked(places, bend, head)
        tables = self.field.tables.mix(blend)
        if self.walk.most <= _FEW:
            density, colour = self.field(points, direction, blend, head, tables)
            return composite_packed(
                density, walked.step, colour, walked.offsets, walked.t, self.walk.floor
            )
        lit, offsets = self._lit(points, blend, head, walked, tables)
        density, colour = self.field(points[lit], direction[lit], blend, head[lit], tables)
        return composite_packed(
            density, walked.step[lit], colour, offsets, walked.t[lit], self.walk.floor
        )

    def probed(self, places: Float[Tensor, "N 3"], probe: int) -> Float[Tensor, " N"]:
        """Densities at places of the cube, as the head number `probe` of `spread` has them."""
        bend = self.bends[probe] if self.walk.bend else None
        return self.field.measure(self.asked(places, bend, None), self.spread[probe][None])[0]

    @torch.no_grad()
    def _lit(
        self, points: Tensor, blend: Tensor, head: Tensor, walked: Samples, tables: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Which samples any light reaches, and where each ray's begin among them. The others count
        nothing and pass no gradient, so nothing is lost by leaving them out. What lies deep along
        a ray is measured only where the first few samples leave light."""
        thickness = torch.zeros(len(points), dtype=torch.float64, device=points.device)

        def look_at(rows: Tensor) -> None:
            density, _ = self.field.measure(points[rows], blend, head[rows], tables)
            thickness[rows] = (density * walked.step[rows]).double()

        slot = torch.arange(len(points), device=points.device) - walked.offsets[walked.ray]
        look_at((slot < _FIRST).nonzero()[:, 0])
        met = torch.bincount(walked.ray, thickness, len(walked.offsets) - 1)
        left = torch.exp(-met) >= self.walk.floor
        look_at(((slot >= _FIRST) & left[walked.ray]).nonzero()[:, 0])
        before = thickness.cumsum(0) - thickness
        first = before[walked.offsets[:-1].clamp(max=max(len(before) - 1, 0))[walked.ray]]
        lit = (torch.exp(first - before) >= self.walk.floor).nonzero()[:, 0]
        counts = torch.bincount(walked.ray[lit], minlength=len(walked.offsets) - 1)
        return lit, torch.nn.functional.pad(counts.cumsum(0), (1, 0))

    @torch.no_grad()
    def draw(
        self,
        rays: Rays,
        blend: Float[Tensor, "B K"],
        bend: Tensor | None = None,
        tables: Tensor | None = None,
        occupied: Bool[Tensor, "X Y Z"] | None = None,
    ) -> Progress:
        """The same without gradients, in rounds: rays behind which no light is left stop early."""
        walked, count = self.samples(rays, occupied=occupied), len(rays.origins)
        zero = rays.origins.new_zeros(count)
        values = rays.origins.new_zeros(count, 3)
        lengths = walked.offsets.diff()
        alive = lengths > 0
        state = Progress(values, zero, zero.clone(), alive)
        step = 0
        while bool((live := (state.alive & (lengths > step)).nonzero()[:, 0]).numel()):
            state = self._round(rays, blend, bend, tables, walked, live, step, state)
            step += _ROUND
        return state

    def _round(
        self,
        rays: Rays,
        blend: Tensor,
        bend: Tensor | None,
        tables: Tensor | None,
        walked: Samples,
        live: Tensor,
        first: int,
        so_far: Progress,
    ) -> Progress:
        """The next few samples of the rays `live`."""
        slots = first + torch.arange(_ROUND, device=live.device)
        index = walked.offsets[live][:, None] + slots
        used = slots < walked.offsets.diff()[live][:, None]
        row, column = used.nonzero(as_tuple=True)
        sample = index[row, column]
        ray = live[row]
        direction = rays.directions[ray]
        places = rays.origins[ray] + walked.t[sample, None] * direction
        density, colour = self.field(
            self.asked(places, bend, rays.head[ray]), direction, blend, rays.head[ray], tables
        )

        def padded(x: Tensor) -> Tensor:
            empty = x.new_zeros(len(live), _ROUND, *x.shape[1:])
            return empty.index_put((row, column), x)

        part = Progress(
            so_far.values[live], so_far.opacity[live], so_far.depth[live], so_far.alive[live]
        )
        t, step = walked.t[sample], walked.step[sample]
        part = composite_round(
            part, padded(density), padded(step), padded(colour), padded(t + step), self.walk.stop
        )
        return Progress(
            so_far.values.index_copy(0, live, part.values),
            so_far.opacity.index_copy(0, live, part.opacity),
            so_far.depth.index_copy(0, live, part.depth),
            so_far.alive.index_copy(0, live, part.alive),
        )

    @torch.no_grad()
    def render(self, camera: Camera, expression: Expression) -> Picture:
        """What the camera sees. A batch of cameras and expressions gives a batch of pictures."""
        if expression.coefficients.dim() > 1:
            single = camera.intrinsics.dim() == 2
            views = [
                self.render(camera if single else take(camera, i), take(expression, i))
                for i in range(len(expression.coefficients))
            ]
            parts = {n: [getattr(v, n) for v in views] for n in Picture.BATCHED}
            return Picture(**{n: torch.stack(p) for n, p in parts.items()})
        blend, bend = self.blend(expression)[None], self.bend(expression)
        rows, tables, occupied = [], self.field.tables.mix(blend), self.occupied()
        if bend is not None:
            occupied = swung(occupied, lambda at: HALF * (2 * self.asked(at, bend, None) - 1), HALF)
        pixels = pixel_grid(camera)
        for block in pixels.split(_BLOCK):
            rays = self.rays(camera, expression, block)
            seen = self.draw(rays, blend, bend, tables, occupied)
            far = seen.depth / seen.opacity.clamp(min=1e-6) / self.scale
            rows.append(torch.cat([seen.values, seen.opacity[:, None], far[:, None]], -1))
        picture = torch.cat(rows).view(camera.height, camera.width, 5)
        alpha = picture[..., 3].clamp(0, 1)
        slant = self._slant(camera, pixels).view(camera.height, camera.width)
        depth = torch.where(alpha > 0.5, picture[..., 4] / slant, 0)
        return Picture(picture[..., :3], alpha, depth, depth_normals(camera, depth))

    @staticmethod
    def _slant(camera: Camera, pixels: Tensor) -> Tensor:
        """Distance along each ray for one metre of depth."""
        return pixel_rays(camera, pixels)[1].norm(dim=-1)

    @torch.no_grad()
    def density(
        self, points: Float[Tensor, "N 3"], expression: Expression
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"]]:
        """Density per metre and colour as seen from the front, at world points."""
        head = transform(invert_rigid(expression.world_from_head), points)
        turn = self.box_from_head[:, :3]
        within_cube = head @ turn.mT + self.box_from_head[:, 3]
        places = unit(within_cube, self.box)
        front = torch.nn.functional.normalize(-turn[:, 2], dim=0).expand_as(places)
        known = self.asked(within_cube, self.bend(expression), None)
        density, colour = self.field(known, front, self.blend(expression)[None])
        inside = ((places >= 0) & (places <= 1)).all(-1)
        last = torch.tensor(self.grid.shape, device=places.device) - 1
        vertex = (places * last + 0.5).long().clamp(min=0)
        inside &= self.occupied()[tuple(torch.minimum(vertex, last).unbind(-1))]
        return torch.where(inside, density * self.scale, 0), colour

    def bounds(self, expression: Expression) -> Float[Tensor, "2 3"]:
        """A world box around the cube."""
        turn, shift = self.box_from_head[:, :3], self.box_from_head[:, 3]
        signs = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        corners = (HALF * signs.to(shift) - shift) @ torch.linalg.inv(turn).mT
        world = transform(expression.world_from_head, corners)
        return torch.stack([world.amin(0), world.amax(0)])
