"""The avatar: Gaussians that ride on a head's surface, shaded and nudged by a short code."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from likeness.core.avatar import Picture, Reach, Splats
from likeness.core.batching import take
from likeness.core.camera import Camera, cropped, to_camera
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import (
    invert_rigid,
    quaternion_to_matrix,
    se3_exp,
    transform,
)
from likeness.core.regions import REGION
from likeness.core.rig import Identity, Mesh
from likeness.methods.splats.code import (
    Code,
    Regression,
    RestPose,
    features,
    torso_in_head,
    turns_of,
)
from likeness.methods.splats.moment import Standing, moment
from likeness.methods.splats.sides import Sides, fan, remembered
from likeness.methods.splats.stance import stance
from likeness.methods.splats.surface import Surface
from likeness.ops.backdrop import seen_behind
from likeness.ops.harmonics import turned_harmonics
from likeness.ops.portray import Changes, moved, portray
from likeness.ops.ride import Posed, Riders
from likeness.ops.splats import project_splats, rasterise_splats
from likeness.ops.study import study

# Metres a splat may stray from where it began, and its largest deviation, by region.
_LEASH = {"hair": 0.008, "clothes": 0.05, "scalp": 0.008, "neck": 0.01, "ears": 0.006}
_LARGEST = {"hair": 0.012, "clothes": 0.05, "neck": 0.012, "scalp": 0.012}
_FACE_LEASH, _FACE_LARGEST = 0.003, 0.006
# What 1 means in the table of corrections: radians, metres, coefficients. Small, because a frame
# is visited once an epoch and every visit moves its row by about ten learning rates.
_TURN_UNIT, _SHIFT_UNIT, _CODE_UNIT = 2e-4, 1e-4, 4e-3
_ROUND = ("skin", "brows", "lips", "hair", "ears", "neck", "scalp")  # regions of the closed head
_DC = 0.28209479177387814  # the constant spherical harmonic


class SplatAvatar(nn.Module):
    """A head of Gaussian splats.

    Every splat rides on a triangle of the posed rig (or on a fixed one that stands for the space
    of the head, for what no rig has: shoulders). A code of a few numbers, from expression, head
    turn and torso, drives a small atlas over the rig's UV square whose channels are added to
    position, colour, size and opacity, so that nearby splats always change alike. `follow` says
    how much a splat goes with the head rather than the torso.
    """

    corners: Tensor
    weights: Tensor
    uv: Tensor
    region: Tensor
    anchor: Tensor
    rest_head: Tensor
    rest_torso: Tensor
    seen_features: Tensor
    backdrop_lens: Tensor
    backdrop_pose: Tensor
    backdrop_room: Tensor
    cells: Tensor
    cell_weights: Tensor
    closed: Tensor
    pull: Tensor
    shine: Tensor
    held: Tensor
    start_colour: Tensor
    start_size: Tensor
    unit: Tensor

    def __init__(
        self,
        surface: Surface,
        code: Code,
        rest: RestPose,
        corners: Tensor,
        weights: Tensor,
        uv: Tensor,
        region: Tensor,
        seen_features: Tensor,
        atlas: int,
        backdrop: Tensor,
        taken: Camera,
        room: tuple[int, int] = (0, 0),
        degree: int = 0,
    ) -> None:
        """`backdrop` is what the camera `taken` sees behind the person, with `room` beside it: so
        many more pixels at the left and the right, and at the top and the bottom. `degree` is that
        of the harmonics by which colours change with where they are seen from."""
        super().__init__()
        count, frames = len(corners), len(seen_features)
        self.surface, self.code, self.atlas = surface, code, atlas
        for name, value in (
            ("corners", corners), ("weights", weights), ("uv", uv), ("region", region),
            ("rest_head", rest.world_from_head), ("rest_torso", rest.head_from_torso),
            ("seen_features", seen_features), ("backdrop_lens", taken.intrinsics),
            ("backdrop_pose", taken.camera_from_world), ("backdrop_room", torch.tensor(room)),
        ):  # fmt: skip
            self.register_buffer(name, value.clone().contiguous())
        self.register_buffer("anchor", torch.zeros(count, 3))
        self.register_buffer("held", torch.zeros(count))
        self.register_buffer("start_colour", torch.full((count, 3), 0.5))
        self.register_buffer("start_size", torch.zeros(count, 3))
        self.offset = nn.Parameter(torch.zeros(count, 3))
        self.rotation = nn.Parameter(torch.tensor([1.0, 0, 0, 0]).repeat(count, 1))
        self.log_scale = nn.Parameter(torch.zeros(count, 3))
        self.opacity = nn.Parameter(torch.zeros(count))
        self.colour = nn.Parameter(torch.full((count, 3), 0.5))
        self.follow = nn.Parameter(torch.zeros(count))
        self.gleam = nn.Parameter(torch.zeros(count, (degree + 1) ** 2 - 1, 3))
        directions = code.directions.shape[1]
        self.motion_atlas = nn.Parameter(torch.zeros(directions, 2 * atlas * atlas * 3))
        self.shade_atlas = nn.Parameter(torch.zeros(directions, 2 * atlas * atlas * 5))
        self.backdrop = nn.Parameter(backdrop.clone())
        corrections = 6 + surface.coefficients + surface.personal + 6
        self.corrections = nn.Parameter(torch.zeros(frames, corrections))
        unit = torch.full((corrections,), _CODE_UNIT)
        for motion in (unit[:6], unit[-6:]):
            motion[:3], motion[3:] = _TURN_UNIT, _SHIFT_UNIT
        self.register_buffer("unit", unit, persistent=False)
        self.regression = Regression(code.mean.shape[0], corrections)
        for name in ("pull", "shine"):  # of the pictures since the last recycling: place, colour
            self.register_buffer(name, torch.zeros(count), persistent=True)
        self.sides: Sides | None = None
        self.side_moment: Standing | None = None
        self.deal()

    def deal(self) -> None:
        """Look up each splat's atlas cells anew, after its uv changed."""
        cells, weights = bilinear_cells(self.uv, self.atlas)
        self.register_buffer("cells", cells, persistent=False)
        self.register_buffer("cell_weights", weights, persistent=False)
        closed = torch.tensor([REGION[name] for name in _ROUND], device=self.region.device)
        self.register_buffer("closed", torch.isin(self.region, closed), persistent=False)

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> "SplatAvatar":
        """The avatar out of its own tensors alone."""
        prefix = "surface."
        surface = Surface.from_state(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        code = Code(*(state[f"code.{name}"] for name in ("mean", "directions", "low", "high")))
        directions = code.directions.shape[1]
        atlas = round((state["motion_atlas"].numel() / (6 * max(directions, 1))) ** 0.5)
        high, wide = state["backdrop"].shape[:2]
        state.setdefault("backdrop_room", torch.zeros(2, dtype=torch.long))
        state.setdefault("gleam", torch.zeros(len(state["corners"]), 0, 3))
        left, top = state["backdrop_room"].tolist()
        avatar = cls(
            surface,
            code,
            RestPose(state["rest_head"], state["rest_torso"]),
            state["corners"],
            state["weights"],
            state["uv"],
            state["region"],
            state["seen_features"],
            atlas,
            state["backdrop"],
            Camera(state["backdrop_lens"], state["backdrop_pose"], wide - 2 * left, high - 2 * top),
            (left, top),
            round((state["gleam"].shape[1] + 1) ** 0.5) - 1,
        )
        sides = {k.removeprefix("sides."): v for k, v in state.items() if k.startswith("sides.")}
        if sides:
            avatar.sides = Sides(avatar.rig, **sides)
        if state["corrections"].shape != avatar.corrections.shape:
            raise BadInput(
                f"The table of corrections has {state['corrections'].shape[1]} columns, not "
                f"{avatar.corrections.shape[1]}: an earlier version wrote this avatar. Train it "
                "again with `likeness fit`."
            )
        avatar.load_state_dict(state)
        return avatar

    @torch.no_grad()
    def remember_sides(self, camera: Camera, moment: Expression) -> None:
        """Keep how the head looks now from sides that training may not see (see `sides`)."""
        cameras = fan(camera, moment)
        seen = self.features(moment)
        pictures = [self.study(c, moment, seen) for c in cameras]
        self.sides, self.side_moment = remembered(cameras, moment, pictures), None

    @property
    def rig(self) -> str:
        return self.surface.rig

    @property
    def identity(self) -> Identity:
        return self.surface.identity

    @property
    def bends(self) -> int:
        """How many modes the clothes have: what the features hold beyond those of the head."""
        surface = self.surface
        joints = 3 * surface.joints.shape[0]
        head = surface.coefficients + surface.personal + joints + 9
        return self.seen_features.shape[1] - head

    @property
    def count(self) -> int:
        return self.corners.shape[0]

    def features(self, expression: Expression) -> Tensor:
        rest = RestPose(self.rest_head, self.rest_torso)  # type: ignore[arg-type]
        return features(expression, rest, self.surface.personal, self.bends)

    def correction(self, index: int | slice) -> Tensor:
        """What refinement found for a training frame, in radians, metres and coefficients."""
        return self.corrections[index] * self.unit

    def corrected(self, expression: Expression, correction: Tensor) -> Expression:
        """The expression with pose and coefficients nudged: 6 of a motion in the head's frame,
        then coefficients and personal modes, then 6 of a motion in the torso's frame."""
        codes = self.surface.coefficients
        ends = torch.stack([correction[..., :6], correction[..., -6:]])
        turned, leaned = se3_exp(ends)
        torso = expression.world_from_torso
        if torso is None:
            torso = expression.world_from_head
        personal = expression.personal
        if personal is not None and personal.shape[-1] == self.surface.personal:
            personal = personal + correction[..., 6 + codes : -6]
        return replace(
            expression,
            world_from_head=expression.world_from_head @ turned,
            world_from_torso=torso @ leaned,
            coefficients=expression.coefficients + correction[..., 6 : 6 + codes],
            personal=personal,
        )

    def pose(self, expression: Expression, seen: Tensor, eye: Tensor | None = None) -> Posed:
        """Every splat in the world, for one moment; with an `eye`, those it can see (see
        `ops.ride`). What is `seen` there follows the features of the moment as it was tracked;
        corrections of the expression are for what moves, and the caller's business."""
        return moved(self.riders, self.changes, self.code(seen), *self.standing(expression), eye)

    def standing(self, expression: Expression) -> tuple[Tensor, Tensor, Tensor]:
        """Vertices in the frame of the head; what carries it, and what goes with the torso, into
        the world."""
        vertices = self.surface.with_free(self.surface.head_vertices(expression))
        head = expression.world_from_head
        return vertices, head, head @ (torso_in_head(expression) @ invert_rigid(self.rest_torso))

    @property
    def riders(self) -> Riders:
        return Riders(
            self.corners, self.weights, self.closed, self.offset, self.rotation, self.log_scale,
            self.opacity, self.colour, self.follow,
        )  # fmt: skip

    @property
    def changes(self) -> Changes:
        """How clothes bend is no business of the head's tile, the first half of the atlas."""
        own = self.motion_atlas.shape[0] - self.bends
        return Changes(
            self.motion_atlas, self.shade_atlas, self.cells, self.cell_weights, own, self.gleam
        )

    def study(
        self,
        camera: Camera,
        expression: Expression,
        seen: Tensor,
        correction: Tensor | None = None,
        pull: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Colour and alpha of a moment, with gradients; `pull` gains how hard its splats are pulled
        at. What is `seen` there, and what is corrected: see `pose`."""
        if correction is None:
            correction = self.corrections.new_zeros(self.corrections.shape[1])
        stands = stance(self, expression, correction)
        return study(self.riders, self.changes, self.code(seen), *stands, camera, pull)

    def studied_from_side(self, index: int) -> tuple[Tensor, Tensor]:
        """The moment that sides are remembered of, as one of them sees it now, with gradients. How
        the head stands in it is worked out once: nothing about that is learned."""
        assert self.sides is not None
        if self.side_moment is None or self.side_moment[0].device != self.corners.device:
            with torch.no_grad():
                moment = self.sides.moment
                code, none = self.code(self.features(moment)), torch.zeros_like(self.corrections[0])
                self.side_moment = (code, *stance(self, moment, none))
        return study(self.riders, self.changes, *self.side_moment, self.sides.camera(index))

    def draw(self, camera: Camera, posed: Posed) -> tuple[Tensor, Tensor]:
        """Colour and alpha of splats that were posed."""
        projected = project_splats(posed.means, posed.rotation, posed.scale, camera)
        return rasterise_splats(projected, posed.colour, posed.opacity, camera.width, camera.height)

    @property
    def taken(self) -> Camera:
        """The camera of the recording that the backdrop is kept for."""
        left, top = self.backdrop_room.tolist()
        height, width = self.backdrop.shape[:2]
        size = (width - 2 * left, height - 2 * top)
        return Camera(self.backdrop_lens, self.backdrop_pose, *size)

    @property
    def backdrop_camera(self) -> Camera:
        """The camera that sees the backdrop just as it is kept, with the room around it."""
        left, top = self.backdrop_room.tolist()
        if not (left or top):
            return self.taken
        height, width = self.backdrop.shape[:2]
        return cropped(self.taken, -left, -top, width, height)

    def behind(self, camera: Camera) -> Tensor:
        """The learned backdrop as a camera sees it; it counts as infinitely far."""
        return seen_behind(self.backdrop, self.backdrop_camera, camera)

    def axes(self, which: Tensor) -> Tensor:
        """The splats' own axes in the frame their offsets are in, as columns."""
        return quaternion_to_matrix(self.rotation[which])

    def collect(self) -> None:
        """Add up how hard the last pictures pulled each splat's colour; places are added up on the
        way back (see `study`)."""
        if self.colour.grad is not None:
            red, green, blue = self.colour.grad.abs().unbind(-1)
            self.shine += red + green + blue

    @torch.no_grad()
    def hold(self) -> None:
        """Bring splats back that strayed beyond their leash or grew too large."""
        away = self.offset - self.anchor
        length = away.norm(dim=-1, keepdim=True).clamp(min=1e-9)
        leash = _table(_LEASH, self.region)[:, None]
        self.offset.copy_(self.anchor + away * (leash / length).clamp(max=1))
        largest = _table(_LARGEST, self.region).log()[:, None]
        self.log_scale.copy_(torch.minimum(self.log_scale, largest))

    def reach(self, neutral: float) -> Reach:
        """Of the middle 99 % of the training frames; of turns 98 %, as some are of lost faces."""
        width, joints = self.surface.coefficients, 3 * self.surface.joints.shape[0]
        codes = self.seen_features[:, :width]
        turns = turns_of(self.seen_features, width + self.surface.personal + joints)
        bounds = (codes.quantile(q, dim=0) for q in (neutral, 0.005, 0.995))
        return Reach(*bounds, turn=float(turns.norm(dim=-1).quantile(0.98)))

    @torch.no_grad()
    def render(self, camera: Camera, expression: Expression) -> Picture:
        """What the camera sees. A batch of cameras and expressions gives a batch of pictures."""
        if expression.coefficients.dim() > 1:
            return self._render_batch(camera, expression)
        return Picture(*portray(self.riders, self.changes, *moment(self, expression), camera))

    def drawn(self, camera: Camera, expression: Expression) -> Picture:
        """The same for one view, with gradients."""
        seen = self.features(expression)
        picture, alpha = self.study(camera, expression, seen, self.regression(seen))
        return Picture(picture.clamp(0, 1), alpha)

    @torch.no_grad()
    def depth(self, camera: Camera, expression: Expression) -> Float[Tensor, "H W"]:
        """Metres along the view axis, blended as colours are; 0 where nothing is."""
        posed = self._seen(expression, eye_of(camera))
        along = to_camera(camera, posed.means)[:, 2:].expand(-1, 3)
        return self.draw(camera, replace(posed, colour=along))[0][..., 0]

    def _seen(self, expression: Expression, eye: Tensor | None = None) -> Posed:
        """Posed for a moment that was not refined: with the correction that features predict."""
        seen = self.features(expression)
        return self.pose(self.corrected(expression, self.regression(seen)), seen, eye)

    def _render_batch(self, camera: Camera, expression: Expression) -> Picture:
        count = expression.coefficients.shape[0]
        single = camera.intrinsics.dim() == 2
        views = [
            self.render(camera if single else take(camera, i), take(expression, i))
            for i in range(count)
        ]
        return Picture(torch.stack([v.rgb for v in views]), torch.stack([v.alpha for v in views]))

    @torch.no_grad()
    def splats(self, expression: Expression) -> Splats:
        """The posed Gaussians, for exporters and other renderers."""
        posed = self._seen(expression)
        harmonics = torch.cat([(posed.colour - 0.5)[:, None] / _DC, self.gleam], 1)
        head = expression.world_from_head
        torso = head @ (torso_in_head(expression) @ invert_rigid(self.rest_torso))
        axes = torch.stack([torso, head])[(self.follow > 0).long(), :3, :3]
        harmonics = turned_harmonics(harmonics, axes)
        return Splats(
            posed.means,
            F.normalize(posed.rotation, dim=-1),
            posed.scale,
            posed.opacity,
            harmonics,
        )

    @torch.no_grad()
    def mesh(self, expression: Expression) -> Mesh:
        """The surface under the splats, in the world."""
        head = expression.world_from_head
        vertices = self.surface.head_vertices(expression)
        return Mesh(transform(head, vertices), self.surface.triangles)


def eye_of(camera: Camera) -> Float[Tensor, " 3"]:
    """Where a camera stands in the world."""
    return invert_rigid(camera.camera_from_world)[:3, 3]


def _table(values: dict[str, float], region: Tensor) -> Tensor:
    default = _FACE_LEASH if values is _LEASH else _FACE_LARGEST
    row = torch.tensor([values.get(name, default) for name in REGION], device=region.device)
    return row[region]


def bilinear_cells(uv: Float[Tensor, "N 2"], size: int) -> tuple[Tensor, Tensor]:
    """The four atlas cells around each uv and their weights.

    The atlas is two square tiles of `size` cells stacked: u in [0, 1] with v in [0, 1] lies in the
    first (the rig's UV square), v in [1, 2] in the second (the shoulders' own plane).
    """
    tile = (uv[:, 1] >= 1).long()
    u = uv[:, 0].clamp(0, 1) * (size - 1)
    v = (uv[:, 1] - tile).clamp(0, 1) * (size - 1)
    left, top = u.floor().clamp(max=size - 2), v.floor().clamp(max=size - 2)
    fu, fv = u - left, v - top
    first = (tile * size + top.long()) * size + left.long()
    cells = torch.stack([first, first + 1, first + size, first + size + 1], -1)
    weights = torch.stack([(1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv], -1)
    return cells, weights
