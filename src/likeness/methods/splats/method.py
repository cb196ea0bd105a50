"""`splats`: our own head, Gaussians carried by the rig. The default of `likeness build`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.optim import Optimizer

from likeness.core.batching import take
from likeness.core.camera import Camera, resized, to_camera
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import transform
from likeness.core.regions import REGION
from likeness.core.track import Track
from likeness.methods.splats.avatar import SplatAvatar
from likeness.methods.splats.code import (
    BEND,
    RestPose,
    affordable_numbers,
    features,
    learn_code,
    torso_in_head,
)
from likeness.methods.splats.growth import recycle
from likeness.methods.splats.held import LARGER, OPAQUE, how_held, keep
from likeness.methods.splats.lining import FLAT, is_lining
from likeness.methods.splats.looks import look_at_frames, needed_matte
from likeness.methods.splats.placed import Placed, at_rest
from likeness.methods.splats.placement import place
from likeness.methods.splats.surface import Surface, bake
from likeness.ops.apart import apart
from likeness.ops.backdrop import widened
from likeness.rigs import RIGS
from likeness.training.adam import Adam
from likeness.training.frames import clean_backdrop, trainable_frames

_FILL = 0.6  # of the distance to its neighbours, a splat's deviation at the start
_SURE = 0.002  # how nearly, at the start, faces go with the head and clothes do not
_FLATTER = 1.3  # logarithm of how flat hair and neck are that no look faces: they have an outline
_CLOSE = 0.3  # logarithm of how much larger splats are while sides are remembered: no holes
_SIDE_EVERY = 4  # steps between looks from a side
_HOLD_EVERY = 10  # steps between looks at splats that stray
_FAINT_PULL = {  # gradients so small move a splat, of 30,000, at half the rate only
    "offset": 3e-5,
    "rotation": 3e-9,
    "log_scale": 7e-8,
    "opacity": 2e-8,
    "colour": 1e-6,
    "follow": 1e-8,
    "gleam": 1e-6,
}
_NOBODY = 0.01  # of the matte: surely not the person
_FLOATS = 5.0  # times the weight of the matte, on what is drawn there in the second half


@dataclass(frozen=True, eq=False)
class View:
    """A training frame, at the size it is trained on."""

    index: int
    camera: Camera
    expression: Expression
    rgb: Float[Tensor, "H W 3"]
    alpha: Float[Tensor, "H W"]
    weight: Float[Tensor, "H W"]


@dataclass(frozen=True)
class RiggedSplats:
    """Gaussian splats carried by the head rig. Learns on a laptop in minutes."""

    splats: int = 30_000
    """How many Gaussians; memory and speed do not change during training."""
    steps: int = 12_000
    """Optimiser steps, one frame each."""
    code: int = 8
    """Numbers that appearance may depend on, from expression, head turn and torso; fewer for
    a short clip: a number that few frames taught misleads on all others."""
    atlas: int = 64
    """Cells along a side of the code-driven atlas."""
    harmonics: int = 1
    """Degree of the harmonics by which colours change with where they are seen from, 0 to 3."""
    structure: float = 0.2
    """Weight of the structural term (D-SSIM) against L1."""
    focus: float = 3.0
    """How much more eyes and mouth count than the rest of the picture."""
    matte: float = 0.1
    """Weight of the matte during the first half."""
    warm_up: float = 0.12
    """Share of the steps at half size."""
    sides: float = 0.2
    """Weight of looking, from sides that no frame shows, much as at the start."""
    recycle_every: int = 250
    """Steps between moving idle splats to where the picture asks for more."""
    seed: int = 0
    """Of the start and of the order of frames."""

    NAME: ClassVar[str] = "splats"

    def __post_init__(self) -> None:
        if self.splats < 100:
            raise BadInput(f"A head needs at least 100 splats, not {self.splats}.")
        if self.steps < 1:
            raise BadInput(f"Training takes at least one step, not {self.steps}.")
        if not 0 <= self.harmonics <= 3:
            raise BadInput(f"Harmonics have a degree of 0 to 3, not {self.harmonics}.")

    def build(self, capture: Capture, track: Track) -> SplatAvatar:
        frames = trainable_frames(capture, track)
        generator = Generator().manual_seed(self.seed)
        surface = bake(RIGS.load(track.rig)(), track.identity)
        chosen = take(track.expressions, torch.tensor(frames))
        rest = rest_pose(chosen)
        torso = track.expressions.torso
        bends = 0 if torso is None else torso.shape[-1]
        seen = features(track.expressions, rest, surface.personal, bends)
        numbers = affordable_numbers(len(frames), self.code)
        code = learn_code(seen[frames], numbers, bends)
        looks = look_at_frames(capture, track, surface, frames)
        camera = take(track.cameras, frames[rest.frame])
        start = place(surface, looks, rest, camera, self.splats, generator)
        taken = take(track.cameras, 0)
        behind, left, top = widened(
            clean_backdrop(capture, track), taken, take(track.cameras, torch.tensor(frames))
        )
        avatar = SplatAvatar(
            surface, code, rest, start.corners, start.weights, start.uv, start.region, seen,
            self.atlas, behind, taken, (left, top), self.harmonics,
        )  # fmt: skip
        with torch.no_grad():
            avatar.offset.copy_(start.offset)
            avatar.anchor.copy_(start.offset)
            avatar.colour.copy_(start.colour)
            avatar.log_scale.copy_(torch.log(_FILL * start.spacing)[:, None].expand(-1, 3))
            avatar.opacity.fill_(OPAQUE)
            avatar.held.copy_(how_held(start.facing, start.region))
            avatar.log_scale.add_(LARGER * avatar.held[:, None])
            flat = torch.tensor([REGION["hair"], REGION["neck"]])
            avatar.log_scale[:, 2] -= _FLATTER * avatar.held * torch.isin(start.region, flat)
            under = is_lining(start.offset, start.region)
            avatar.log_scale[under, 2] = math.log(FLAT)
            avatar.held[under] = 1.0
            avatar.start_size.copy_(avatar.log_scale)
            avatar.start_colour.copy_(start.colour)
            avatar.follow.copy_(torch.logit(start.follow, _SURE))
            if track.bends is not None:
                depth = clothes_depth(start, surface, camera, rest)
                bent = bends_in_head(track.bends, camera, rest, self.atlas, depth)
                half = avatar.motion_atlas.shape[1] // 2
                avatar.motion_atlas[numbers:, half:] = bent.flatten(1) / BEND
            avatar.log_scale.add_(_CLOSE)
            avatar.remember_sides(camera, take(chosen, rest.frame))
            avatar.log_scale.sub_(_CLOSE)
        return avatar

    def batches(self, capture: Capture, track: Track, generator: Generator) -> Iterator[View]:
        """Frames in an order drawn from `generator`, each at the size its step trains on."""
        frames = torch.tensor(trainable_frames(capture, track))
        while True:
            for index in frames[torch.randperm(len(frames), generator=generator)].tolist():
                yield self.view(capture, track, index)

    @property
    def weights(self) -> Tensor:
        """How much a pixel of each region counts."""
        weights = torch.ones(256)
        for name in ("eyes", "irises", "lips", "mouth", "teeth", "tongue"):
            weights[REGION[name]] = self.focus
        return weights

    def view(self, capture: Capture, track: Track, index: int) -> View:
        """One frame with its matte and with how much each pixel counts."""
        rgb = capture[index].rgb
        alpha = needed_matte(capture, track, index)
        regions = track.maps.regions(index) if track.maps is not None else None
        weight = torch.ones_like(alpha)
        if regions is not None:
            labels = torch.from_numpy(regions).int().flatten()
            weight = self.weights.index_select(0, labels).view_as(alpha)
        camera, expression = take(track.cameras, index), take(track.expressions, index)
        return View(index, camera, expression, rgb, alpha, weight)

    def optimizer(self, avatar: SplatAvatar) -> Optimizer:
        """Adam. Without a floor under its gradients, splats, and places of the backdrop, that
        pictures hardly show would take full steps in any direction."""
        rates = {
            "offset": 1e-4,
            "rotation": 2e-3,
            "log_scale": 6e-3,
            "opacity": 3e-2,
            "colour": 3e-3,
            "follow": 5e-3,
            "gleam": 3e-3,
            "motion_atlas": 2e-5,
            "shade_atlas": 4e-4,
            "backdrop": 1e-3,
            "corrections": 0.1,
        }
        faint = {**_FAINT_PULL, "backdrop": avatar.count / 30_000 / avatar.backdrop.numel()}
        groups = [
            {
                "params": [getattr(avatar, name)],
                "lr": rate,
                "name": name,
                "rate": rate,
                "eps": faint.get(name, 0.0) * 30_000 / avatar.count + 1e-15,
            }
            for name, rate in rates.items()
        ]
        atlases = (avatar.motion_atlas, avatar.shade_atlas)
        return Adam(groups, betas=(0.9, 0.99), mixed=atlases)

    def losses(self, avatar: SplatAvatar, view: View, step: int) -> dict[str, Tensor]:
        progress = step / self.steps
        if progress < self.warm_up:
            view = halved(view)
        seen, correction = avatar.seen_features[view.index], avatar.correction(view.index)
        person, alpha = avatar.study(view.camera, view.expression, seen, correction, avatar.pull)
        behind = avatar.behind(view.camera)
        away = apart(
            person, alpha, behind, view.rgb, view.alpha, view.weight, self.structure, _NOBODY
        )
        losses = {
            "picture": away.picture,
            "behind": away.behind,
            "small": 1e-6 * avatar.corrections[view.index].square().sum(),
        }
        if progress < 0.5:
            losses["matte"] = self.matte * away.matte
        else:  # nothing floats beside the person, whatever colour it hides in
            losses["matte"] = _FLOATS * self.matte * away.floating
        if self.sides > 0 and avatar.sides is not None and step % _SIDE_EVERY == 0:
            losses["sides"] = self.sides * self.seen_from_side(avatar, step)
        return losses

    def seen_from_side(self, avatar: SplatAvatar, step: int) -> Tensor:
        """How far one of the sides, in turn, has gone from what is remembered."""
        assert avatar.sides is not None
        which = step // _SIDE_EVERY % len(avatar.sides)
        picture, alpha = avatar.studied_from_side(which)
        return avatar.sides.unlike(which, picture, alpha)

    def after_step(self, avatar: SplatAvatar, optimizer: Optimizer, step: int) -> None:
        """Collect where the picture pulls, move idle splats there, and lower the rates."""
        progress = step / self.steps
        avatar.collect()
        if step % _HOLD_EVERY == 0:
            avatar.hold()
            keep(avatar)
        if step % self.recycle_every == self.recycle_every - 1 and 0.02 < progress < 0.7:
            recycle(avatar, optimizer, avatar.pull, 0.05, avatar.shine)
            avatar.pull.zero_()
            avatar.shine.zero_()
        decay = 0.05 ** max(0.0, (progress - 0.3) / 0.7)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * decay
        if step % 500 == 499 or step + 1 == self.steps:
            self.teach(avatar)

    def teach(self, avatar: SplatAvatar) -> None:
        """Let the regression predict, from tracked features, what refinement found."""
        seen = avatar.corrections.detach().abs().sum(-1) > 0
        if int(seen.sum()) >= 8:
            found = avatar.correction(slice(None)).detach()
            avatar.regression.fit(avatar.seen_features[seen], found[seen])

    def restore(self, state: dict[str, Tensor]) -> SplatAvatar:
        """The avatar out of its own tensors alone."""
        return SplatAvatar.from_state(state)


def laptop() -> RiggedSplats:
    """Ten minutes on two CPU cores."""
    return RiggedSplats()


def gpu() -> RiggedSplats:
    """More splats and steps, for a CUDA device."""
    return RiggedSplats(splats=100_000, steps=30_000, atlas=128)


def rest_pose(expressions: Expression) -> RestPose:
    """The frame nearest to the middle of all head poses."""
    at = expressions.world_from_head[:, :3, :].flatten(1)
    middle = int((at - at.median(0).values).square().sum(-1).argmin())
    return RestPose(
        expressions.world_from_head[middle].clone(),
        torso_in_head(expressions)[middle].clone(),
        middle,
    )


def clothes_depth(start: Placed, surface: Surface, camera: Camera, rest: RestPose) -> Tensor:
    """Metres along the view to the middle of the clothes; of everything where there are none."""
    at = to_camera(camera, transform(rest.world_from_head, at_rest(start, surface)))[:, 2]
    clothes = start.region == REGION["clothes"]
    return at[clothes if bool(clothes.any()) else slice(None)].median()


def bends_in_head(
    bends: Float[Tensor, "M h w 2"], camera: Camera, rest: RestPose, size: int, depth: Tensor
) -> Float[Tensor, "M s s 3"]:
    """What modes of the clothes do on screen as motions in the frame of the head at rest, in
    metres at the clothes' depth, for the cells of the atlas."""
    planes = torch.nn.functional.interpolate(
        bends.permute(0, 3, 1, 2), (size, size), mode="bilinear", align_corners=False
    ).permute(0, 2, 3, 1)
    camera_from_head = camera.camera_from_world @ rest.world_from_head
    metres = planes * camera.width * depth / camera.intrinsics[0, 0]
    across = torch.cat([metres, torch.zeros_like(metres[..., :1])], -1)
    return across @ camera_from_head[:3, :3]


def halved(view: View) -> View:
    """The same view at half size, by averaging."""
    planes = torch.cat([view.rgb, view.alpha[..., None], view.weight[..., None]], -1)
    small = torch.nn.functional.avg_pool2d(planes.permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
    small = small.contiguous()
    height, width = small.shape[:2]
    return replace(
        view,
        camera=resized(view.camera, width, height),
        rgb=small[..., :3].contiguous(),
        alpha=small[..., 3].contiguous(),
        weight=small[..., 4].contiguous(),
    )
