"""The avatar: two fields in the frame of the head, a code per training frame, and a backdrop."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from likeness.core.avatar import Picture, Reach
from likeness.core.batching import take
from likeness.core.camera import Camera, pixel_grid, pixel_rays
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, transform
from likeness.core.rig import Identity
from likeness.methods.nerface.network import Field, Shape
from likeness.methods.nerface.rendering import HALF, Asked, Rays, look_twice, narrowed
from likeness.methods.nerface.walking import Told, density_of, walk
from likeness.nn.subject import Subject
from likeness.ops.bend import BORDER, straightened, torso_bend
from likeness.ops.depth import depth_normals
from likeness.training.hull import swung, within

_BLOCK = 4096  # rays drawn at a time
_LEAST = 1.0  # density, in the field's units, from which walks stop to look
_MOST = 64  # places that drawing asks on a walk


@dataclass(frozen=True)
class Drawing:
    """How rays are drawn; the same in training and afterwards."""

    coarse: int = 64
    """Samples of the first pass."""
    fine: int = 64
    """More samples of the second; 0 leaves the second pass out."""
    near: float | None = None
    """Nearest distance along the view axis, in metres; None takes it from where the head is."""
    far: float | None = None
    reach: float = 0.25
    """Metres before and behind the head's middle that are looked through."""
    direction: str = "unit"
    """`unit`, or `released`: what the authors' program hands the colour layers instead."""
    inverse: bool = False
    """Whether first samples are even in 1 / distance."""
    expression_scale: float = 1 / 3
    """What conditions are multiplied by."""
    clamp: bool = True
    """Keep conditions within the range of training."""
    bend: bool = True
    """Take the torso back to where it was at rest before the fields are asked."""
    cells: int = 0
    """Cells along a side of a grid that knows where something is: one field is asked there, along
    walks. 0 asks two at evenly spread places."""
    most: int = 20
    """Places on a ray that training asks on such a walk."""
    latent: str = "mean"
    """Code of frames that were not trained on: mean, zero, or the number of a training frame."""

    def __post_init__(self) -> None:
        if self.direction not in ("unit", "released"):
            raise BadInput(f"direction={self.direction!r} is neither unit nor released.")
        if self.coarse < 2 or self.fine < 0:
            raise BadInput(f"{self.coarse} and {self.fine} samples are too few for a ray.")
        if (self.near is None) != (self.far is None):
            raise BadInput("near and far come together, or neither.")
        if self.latent not in ("mean", "zero") and not self.latent.isdigit():
            raise BadInput(f"latent={self.latent!r} is none of mean, zero, or a frame's number.")


class NerfaceAvatar(nn.Module):
    """A head as a conditional radiance field.

    `centre` and `scale` take the frame of the head to the field's: (p - centre) * scale. Outside
    of `hull` there is nothing; an empty one stands for none. `grid` holds densities at the vertices
    of the cube, as found with the conditions `spread` and the bent torsos `bends` of some training
    frames; `border` is where the torso begins (see ops.bend); `guess` how far inside of the person
    the vertices were thought to be before training.
    """

    centre: Tensor
    scale: Tensor
    hull: Tensor
    grid: Tensor
    spread: Tensor
    bends: Tensor
    border: Tensor
    guess: Tensor

    def __init__(
        self,
        drawing: Drawing,
        subject: Subject,
        coarse: Field,
        fine: Field | None,
        codes: Float[Tensor, "N L"],
        backdrop: Float[Tensor, "H W 3"],
        centre: Float[Tensor, " 3"],
        scale: Float[Tensor, ""],
        hull: Bool[Tensor, "X Y Z"] | None = None,
        grid: Float[Tensor, "X Y Z"] | None = None,
        spread: Float[Tensor, "S C"] | None = None,
        bends: Float[Tensor, "S 4 4"] | None = None,
        border: Float[Tensor, " 3"] | None = None,
        guess: Float[Tensor, "X Y Z"] | None = None,
    ) -> None:
        super().__init__()
        self.drawing, self.subject = drawing, subject
        self.coarse, self.fine = coarse, fine
        self.codes = nn.Parameter(codes.clone())
        self.backdrop = nn.Parameter(backdrop.clone())
        self.register_buffer("centre", centre.clone())
        self.register_buffer("scale", scale.clone())
        everywhere = torch.zeros(0, 0, 0, dtype=torch.bool)
        for name, value, empty in (
            ("hull", hull, everywhere), ("grid", grid, everywhere.float()),
            ("spread", spread, torch.zeros(0, 0)), ("bends", bends, torch.zeros(0, 4, 4)),
            ("border", border, torch.tensor(BORDER)),
            ("guess", guess, everywhere.float()),
        ):  # fmt: skip
            self.register_buffer(name, (empty if value is None else value).clone())

    @classmethod
    def from_state(
        cls, drawing: Drawing, shape: Shape, state: dict[str, Tensor]
    ) -> "NerfaceAvatar":
        prefix = "subject."
        subject = Subject.from_state(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        condition = subject.width + state["codes"].shape[1]
        heard = state.get("coarse.heard", torch.zeros(0, 0, 0, 0))
        parts = (heard.shape[0], heard.shape[1])
        fields = [Field(replace(shape, condition=condition, parts=parts)) for _ in range(2)]
        two = any(k.startswith("fine.") for k in state)
        names = (
            "codes", "backdrop", "centre", "scale", "hull", "grid",
            "spread", "bends", "border", "guess",
        )  # fmt: skip
        whole = [state[n] for n in names]
        made = cls(drawing, subject, fields[0], fields[1] if two else None, *whole)
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

    def condition(self, expression: Expression, code: Tensor | None = None) -> Tensor:
        """What the fields are told: the expression, scaled, and a frame's code."""
        signal = self.subject.condition(expression, self.drawing.clamp)
        return torch.cat([self.drawing.expression_scale * signal, self._code(code)])

    def _code(self, code: Tensor | None) -> Tensor:
        if code is not None:
            return code
        if self.drawing.latent == "zero":
            return torch.zeros_like(self.codes[0])
        if self.drawing.latent == "mean":
            return self.codes.mean(0)
        index = int(self.drawing.latent)
        if index >= len(self.codes):
            raise BadInput(f"latent={index}: there are {len(self.codes)} training frames.")
        return self.codes[index]

    def rays(self, camera: Camera, expression: Expression, pixels: Float[Tensor, "R 2"]) -> Rays:
        """Rays through pixels, in the field's units, between the planes around the head."""
        drawing = self.drawing
        pose = camera.camera_from_world @ expression.world_from_head
        origins, directions = pixel_rays(replace(camera, camera_from_world=pose), pixels)
        middle = (pose[:3, :3] @ self.centre + pose[:3, 3])[2]
        if drawing.near is None or drawing.far is None:
            near, far = (middle - drawing.reach).clamp(min=1e-3), middle + drawing.reach
        else:
            near, far = middle.new_tensor(drawing.near), middle.new_tensor(drawing.far)
        near, far = near.expand(len(pixels)), far.expand(len(pixels))
        if drawing.direction == "unit":
            seen_from = torch.nn.functional.normalize(directions, dim=-1)
        else:
            seen_from = torch.stack([directions[:, 2], near, far], -1)
        start, along = (origins - self.centre) * self.scale, directions * self.scale
        rays = Rays(start, along, seen_from, near, far)
        if self.known is None or drawing.cells:
            return rays
        return narrowed(rays, self.known, self.asked(expression))

    def asked(self, expression: Expression) -> Asked | None:
        """Where the fields are asked, in their own units: where the torso was at rest."""
        if not self.drawing.bend:
            return None
        return self.asked_with(torso_bend(expression, self.subject.rest_torso))

    def asked_with(self, bend: Float[Tensor, "4 4"]) -> Asked:
        """The same for a torso that moved so."""
        edge = self.edge

        def straight(points: Tensor) -> Tensor:
            head = points / self.scale + self.centre
            return (straightened(head, bend, edge) - self.centre) * self.scale

        return straight

    @property
    def edge(self) -> tuple[float, float, float]:
        """Where the torso begins."""
        top, bottom, slope = self.border.tolist()
        return top, bottom, slope

    def told(self, expression: Expression, code: Tensor | None = None) -> Told:
        """All the field hears of a moment."""
        return Told(self.condition(expression, code), self.asked(expression))

    def occupied(self) -> Bool[Tensor, "X Y Z"]:
        """Where walks stop to look."""
        return self.grid > _LEAST

    def probed(self, places: Float[Tensor, "N 3"], probe: int) -> Float[Tensor, " N"]:
        """Densities at places of the cube, as the moment number `probe` of `spread` has them."""
        asked = self.asked_with(self.bends[probe]) if self.drawing.bend else None
        points = places if asked is None else asked(places)
        return density_of(self.coarse.trunk(points, self.spread[probe])[1])

    @property
    def known(self) -> Tensor | None:
        """The hull, if there is one."""
        return self.hull if self.hull.numel() else None

    @torch.no_grad()
    def render(self, camera: Camera, expression: Expression) -> Picture:
        """What the camera sees. A batch of cameras and expressions gives a batch of pictures."""
        if expression.coefficients.dim() > 1:
            single = camera.intrinsics.dim() == 2
            count = len(expression.coefficients)
            views = [
                self.render(camera if single else take(camera, i), take(expression, i))
                for i in range(count)
            ]
            return stacked(views)
        rays = self.rays(camera, expression, pixel_grid(camera))
        if self.drawing.cells:
            told, occupied = self.told(expression), self.occupied()
            if told.asked is not None:
                occupied = swung(occupied, told.asked, HALF)
            walks = [walk(self.coarse, r, told, occupied, _MOST) for r in rays.split(_BLOCK)]
            opacity = torch.cat([w.opacity for w in walks])
            depth = torch.cat([w.depth for w in walks if w.depth is not None])
            parts = [
                torch.cat([w.values for w in walks]), opacity[:, None],
                (depth / opacity.clamp(min=1e-6))[:, None],
            ]  # fmt: skip
            return self._picture(camera, torch.cat(parts, -1))
        condition = self.condition(expression)
        counts = (self.drawing.coarse, self.drawing.fine)
        parts = []
        for block in rays.split(_BLOCK):
            _, seen = look_twice(
                self.coarse, self.fine, block, condition, torch.zeros_like(block.origins), counts,
                inverse=self.drawing.inverse, hull=self.known, asked=self.asked(expression),
            )  # fmt: skip
            weights = seen.composite.weights[:, :-1]
            depth = (weights * seen.z[:, :-1]).sum(-1) / weights.sum(-1).clamp(min=1e-6)
            parts.append(torch.cat([seen.rgb, (1 - seen.behind)[:, None], depth[:, None]], -1))
        return self._picture(camera, torch.cat(parts))

    @staticmethod
    def _picture(camera: Camera, pixels: Float[Tensor, "R 5"]) -> Picture:
        """Colours, opacities and depths of all pixels as a picture."""
        picture = pixels.view(camera.height, camera.width, 5)
        alpha = picture[..., 3].clamp(0, 1)
        depth = torch.where(alpha > 0.5, picture[..., 4], 0)
        return Picture(picture[..., :3], alpha, depth, depth_normals(camera, depth))

    @torch.no_grad()
    def density(
        self, points: Float[Tensor, "N 3"], expression: Expression
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"]]:
        """Density per metre and colour as seen from the front, at world points."""
        field = self.coarse if self.fine is None else self.fine
        head = transform(invert_rigid(expression.world_from_head), points)
        places = (head - self.centre) * self.scale
        asked = self.asked(expression)
        places = places if asked is None else asked(places)
        front = torch.zeros_like(points)
        front[:, 2] = -1
        colour, density = field.at(places, front, self.condition(expression))
        walks = self.drawing.cells > 0
        density = (density_of(density) if walks else torch.relu(density)) * self.scale
        if self.known is not None:
            density = torch.where(within(places, self.known, HALF), density, 0)
        return density, torch.sigmoid(colour)

    def bounds(self, expression: Expression) -> Float[Tensor, "2 3"]:
        """A world box around what is looked through."""
        reach = self.drawing.reach
        if self.drawing.near is not None and self.drawing.far is not None:
            reach = (self.drawing.far - self.drawing.near) / 2
        pose = expression.world_from_head
        middle = pose[:3, :3] @ self.centre + pose[:3, 3]
        return torch.stack([middle - reach, middle + reach])


def stacked(views: list[Picture]) -> Picture:
    """Pictures of one size as a batch; depth and normals must be there."""
    parts = {n: [getattr(v, n) for v in views] for n in Picture.BATCHED}
    return Picture(**{n: torch.stack(p) for n, p in parts.items()})
