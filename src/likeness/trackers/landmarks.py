"""The landmark tracker: face mesh points, bundle adjustment, mattes, shoulders."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from likeness.core.camera import Camera, pinhole
from likeness.core.capture import Capture, parted
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import invert_rigid, rigid
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.core.track_files import MapFolder
from likeness.trackers.camera_motion import camera_motion, moving_cameras, steadied_points
from likeness.trackers.check import check_capture
from likeness.trackers.detection import Landmarks2D, found_points
from likeness.trackers.eyes import EyePatches, eye_coefficients
from likeness.trackers.focal import seen_focal
from likeness.trackers.gaze_alignment import with_gaze
from likeness.trackers.habits import with_habits
from likeness.trackers.head_points import HeadPoints
from likeness.trackers.matting import estimate_backdrop
from likeness.trackers.networks import labels_of, matting_of
from likeness.trackers.personal import Personal, adapt
from likeness.trackers.point_model import PointModel, point_model
from likeness.trackers.solve import Evidence, Solution, solve, start
from likeness.trackers.steady import steadied, steadied_rotations
from likeness.trackers.together import together
from likeness.trackers.torso import shoulder_depth, shoulder_motion, world_from_torso
from likeness.trackers.torso_mask import torso_mask
from likeness.trackers.witnesses import (
    as_one_witness,
    as_rigged,
    chosen,
    chosen_frames,
    default_priors,
    evidence_of,
    own_directions,
    spread,
    with_eyes,
)

_log = logging.getLogger(__name__)
_WHO = 24  # frames that say who someone is
_ASSUMED = "assumed: the head turns too little to show it"
_FOCAL = 1.25  # of the longer side of the original picture, when nobody knows


@dataclass(frozen=True, eq=False)
class Sight:
    """What was seen in a capture: landmarks as they are and without the camera's sway, the camera
    and where its focal length is from, maps, eyes, the sway, what is behind, training frames."""

    found: Landmarks2D
    still: Landmarks2D
    camera: Camera
    told: str
    maps: MapFolder
    patches: EyePatches
    swaying: np.ndarray
    backdrop: np.ndarray
    train: list[int]


@dataclass(frozen=True, eq=False)
class Fit:
    """A track that knows nothing of shoulders yet, its camera at rest, and how it was solved: from
    what landmarks, by what model of them."""

    track: Track
    camera: Camera
    solution: Solution
    evidence: Evidence
    model: PointModel


@dataclass(frozen=True)
class Landmarks:
    """Fits the rig to MediaPipe's 478 points over the whole clip."""

    focal: float | None = None
    """Focal length in pixels of the capture's pictures; else the capture's own, else a guess."""
    person: int | None = None
    """Which person, counted from the left, when there are several."""
    modes: int = 12
    """Personal modes: motions of this person that no named shape can say."""
    smooth: float = 1.0
    """How strongly neighbouring frames hold together; 0 lets each stand alone."""
    points: Path | None = None
    """Landmarks of your own (.npz, .json), or a face_landmarker.task to find them with."""
    matte: Path | None = None
    """Robust Video Matting's weights (TorchScript or ONNX), in place of the bundled matting."""
    parser: Path | None = None
    """A face parser with CelebAMask-HQ's 19 classes, in place of regions from landmarks."""
    habits: bool = True
    """Take into account how the face mesh errs on synthetic people (see `habits`): poses and
    coefficients come nearer to the truth."""

    def track(self, capture: Capture, rig: Rig, folder: Path) -> Track:
        """Track a capture; mattes and regions go into `folder` as they are drawn."""
        sight = self.look(capture, rig, folder)
        fit = self.fitted(capture, rig, sight)
        head = HeadPoints.spread(rig, fit.track.identity, Generator().manual_seed(0))
        work = (
            lambda: finished(capture, rig, sight, fit),
            lambda: with_gaze(capture, fit.track, rig, head, sight.train),
        )
        track, gazed = together(lambda do: do(), work, "following shoulders and gaze")
        placed = track.expressions.world_from_torso
        expressions = replace(gazed.expressions, world_from_torso=placed)
        return replace(track, expressions=expressions)

    def look(self, capture: Capture, rig: Rig, folder: Path) -> Sight:
        """What the pictures show, before the rig is fitted to it."""
        found = found_points(capture, self.person, self.points)
        if not (found.confidence > 0).any():
            raise BadInput(
                f"No face was found in any of the {len(capture)} frames of {capture.name!r}. "
                "Check that a face is in the picture, upright and lit."
            )
        maps = MapFolder(Path(folder))
        patches = EyePatches.empty(len(capture))
        alphas = self._maps(capture, found, maps, patches)
        alphas = {i: alpha for i, alpha in alphas.items() if not found.aside[i]}
        swaying = camera_motion(capture, maps, found.confidence)
        backdrop = self._backdrop(capture, alphas, swaying)
        seen = np.flatnonzero(found.confidence > 0).tolist()
        train = [i for i in parted(capture, seen).train if found.confidence[i] > 0] or seen
        still = replace(found, points=steadied_points(found.points, swaying, capture.size))
        camera, told = self._with_focal(capture, self._camera(capture), rig, still, train)
        return Sight(found, still, camera, told, maps, patches, swaying, backdrop, train)

    def fitted(self, capture: Capture, rig: Rig, sight: Sight) -> Fit:
        """The rig in every frame, with the mesh's habits or without."""
        found, camera = sight.found, sight.camera
        model = point_model(rig)
        model = with_habits(model, rig) if self.habits else model
        evidence = evidence_of(sight.still, camera, model.worth)
        look = partial(eye_coefficients, rig, sight.patches, found.points, camera.intrinsics[:2, 2])
        solution, personal = self._fit(model, evidence, camera, sight.train, capture.fps, look)
        head = filled(rigid(solution.rotation, solution.translation), found.confidence)
        camera, world_from_head = into_world(camera, head, found.confidence)
        expressions = expressions_of(rig, solution, personal, world_from_head, found.confidence)
        track = Track(
            moving_cameras(camera, sight.swaying),
            expressions,
            personal.identity(rig, own_directions(model, solution)),
            torch.from_numpy(found.confidence),
            torch.from_numpy(found.points[..., :2]),
            sight.maps,
            sight.backdrop,
        )
        return Fit(track, camera, solution, evidence, model)

    def _camera(self, capture: Capture) -> Camera:
        """A camera at the origin; the principal point is the middle of the original picture."""
        width, height = capture.size
        focal = self.focal
        if focal is None and capture.focal is not None:
            focal = float(np.median(np.atleast_1d(np.asarray(capture.focal))))
        centre, longest = (width / 2, height / 2), float(max(width, height))
        window = capture.notes.get("window")
        if isinstance(window, dict):
            scale = window["size"] / window["side"]
            centre = (
                (window["width"] / 2 - window["left"]) * scale,
                (window["height"] / 2 - window["top"]) * scale,
            )
            longest = max(window["width"], window["height"]) * scale
        return pinhole(focal or _FOCAL * longest, width, height, torch.eye(4), centre)

    def _with_focal(
        self, capture: Capture, camera: Camera, rig: Rig, found: Landmarks2D, train: list[int]
    ) -> tuple[Camera, str]:
        """The camera with the focal length that turns of the head tell when nobody knows it, and
        where it is from."""
        if self.focal is not None or capture.focal is not None:
            return camera, "given"
        model, guess = with_habits(point_model(rig), rig), float(camera.intrinsics[0, 0])
        if not model.strange_shapes:
            return camera, _ASSUMED
        evidence = chosen(
            evidence_of(found, camera, model.worth), spread(torch.tensor(train), _WHO)
        )
        priors = as_one_witness(model, default_priors(model, 0.0), len(evidence.points))
        seen = seen_focal(model, evidence, priors, guess)
        if seen is None:
            return camera, _ASSUMED
        scale = torch.diag(torch.tensor([seen.pixels / guess, seen.pixels / guess, 1.0]))
        lens = camera.intrinsics @ scale
        lens[:2, 2] = camera.intrinsics[:2, 2]
        return replace(camera, intrinsics=lens), (
            f"seen from turns of the head: {seen.pixels:.0f} pixels, {100 * seen.doubt:.0f} %"
        )

    def _fit(
        self,
        model: PointModel,
        evidence: Evidence,
        camera: Camera,
        train: list[int],
        fps: float | None,
        look: Callable[[Solution], Float[Tensor, "T E"]],
    ) -> tuple[Solution, Personal]:
        """Who from the training frames; how every frame is posed; then, with eyes as `look` sees
        them from there, what is left for personal modes; then everything again."""
        focal = float(camera.intrinsics[0, 0])
        smooth = self.smooth if fps else 0.0
        priors = default_priors(model, smooth)
        use = torch.tensor(train)
        seen = chosen(evidence, spread(use, _WHO))
        once = as_one_witness(model, priors, len(seen.points))
        solution = solve(model, seen, once, start(model, seen, focal), rounds=12)
        begin = replace(start(model, evidence, focal), identity=solution.identity)
        whole = solve(model, evidence, priors, begin, rounds=5, learn_identity=False)
        evidence = with_eyes(evidence, look(whole))
        whole = solve(model, evidence, priors, whole, rounds=4, learn_identity=False)
        model, whole = as_rigged(model, evidence, whole)
        personal = adapt(model, chosen(evidence, use), chosen_frames(whole, use), self.modes)
        model = personal.model
        priors = default_priors(model, smooth)
        more = whole.coefficients.new_zeros(len(whole.coefficients), personal.count)
        begin = replace(whole, coefficients=torch.cat([whole.coefficients, more], -1))
        whole = solve(model, evidence, priors, begin, rounds=8, learn_identity=False)
        if smooth > 0:
            whole = still_poses(whole, evidence.joined)
            whole = solve(model, evidence, priors, whole, 3, learn_identity=False, learn_pose=False)
        return whole, personal

    def _maps(
        self, capture: Capture, found: Landmarks2D, maps: MapFolder, patches: EyePatches
    ) -> dict[int, np.ndarray]:
        """Draw every frame's matte and regions, and cut its eyes out; some mattes are handed
        back."""
        alphas: dict[int, np.ndarray] = {}
        keep, labels = max(1, len(capture) // 60), labels_of(self.parser)
        with matting_of(self.matte) as matting:

            def looked() -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
                for frame in capture:
                    own = capture.pictures.alpha(frame.index) is not None
                    yield frame.index, frame.rgb8, None if own else matting.mask(frame.rgb8)

            def drawn(seen: tuple[int, np.ndarray, np.ndarray | None]) -> np.ndarray:
                index, picture, mask = seen
                alpha = capture.pictures.alpha(index)
                if mask is not None:
                    alpha = (255 * matting.alpha(picture, mask) + 0.5).astype(np.uint8)
                assert alpha is not None  # else there is a mask
                points = found.points[index] if found.confidence[index] > 0 else None
                if points is not None:
                    patches.look(index, picture, points)
                regions = capture.pictures.regions(index)
                if regions is None:
                    regions = labels(picture, alpha, points)
                maps.write("alpha", index, alpha)
                maps.write("regions", index, regions)
                return alpha

            every = together(drawn, looked(), "drawing mattes", len(capture))
            for index, alpha in enumerate(every):
                if index % keep == 0:
                    alphas[index] = alpha
        return alphas

    def _backdrop(
        self, capture: Capture, alphas: dict[int, np.ndarray], swaying: np.ndarray
    ) -> np.ndarray:
        """The clean background as the first frame's camera sees it."""
        if capture.background is not None:
            return capture.background
        return estimate_backdrop(capture, alphas, swaying)[0]


def finished(capture: Capture, rig: Rig, sight: Sight, fit: Fit) -> Track:
    """The track with the shoulders' motion and the capture's report."""
    track, camera, found = fit.track, fit.camera, sight.found
    poses = track.expressions.world_from_head
    middle = int(rest_frame(poses, sight.train))
    alpha = sight.maps.alpha(middle)
    assert alpha is not None  # `look` drew it
    torso, _ = torso_mask(capture[middle].rgb8, alpha >= 128, found.points[middle, :, :2])
    motion = shoulder_motion(capture, torso, middle, found.confidence, sight.swaying)
    depth = shoulder_depth(rig, track.identity, camera, poses[middle])
    placed = world_from_torso(motion, camera, poses[middle], depth)
    expressions = replace(track.expressions, world_from_torso=placed)
    splits = parted(capture, np.flatnonzero(found.confidence > 0).tolist())
    report = check_capture(capture, found, poses, expressions, fit.solution, splits)
    return replace(track, expressions=expressions, report=report | {"focal": sight.told})


def still_poses(solution: Solution, joined: Float[Tensor, " T"]) -> Solution:
    return replace(
        solution,
        rotation=steadied_rotations(solution.rotation, joined),
        translation=steadied(solution.translation, joined),
    )


def filled(head: Tensor, confidence: np.ndarray) -> Tensor:
    """Frames without a face take the nearest tracked pose."""
    seen = np.flatnonzero(confidence > 0)
    every = np.arange(len(confidence))
    after = np.searchsorted(seen, every).clip(max=len(seen) - 1)
    before = (after - 1).clip(min=0)
    nearer = np.abs(every - seen[before]) <= np.abs(seen[after] - every)
    return head[torch.from_numpy(seen[np.where(nearer, before, after)])]


def into_world(
    camera: Camera, camera_from_head: Tensor, confidence: np.ndarray
) -> tuple[Camera, Tensor]:
    """Our world: y up, the still camera looking along -z, the head's middle place at the origin."""
    seen = torch.from_numpy(confidence > 0)
    middle = camera_from_head[seen][:, :3, 3].median(0).values
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    camera_from_world = rigid(turn, middle)
    camera = replace(camera, camera_from_world=camera_from_world)
    return camera, invert_rigid(camera_from_world) @ camera_from_head


def rest_frame(world_from_head: Tensor, train: list[int]) -> int:
    """The training frame whose pose is nearest to the middle of all."""
    poses = world_from_head[train][:, :3].flatten(1)
    return train[int((poses - poses.median(0).values).square().sum(-1).argmin())]


def expressions_of(
    rig: Rig,
    solution: Solution,
    personal: Personal,
    world_from_head: Tensor,
    confidence: np.ndarray,
) -> Expression:
    names = len(rig.shape_names)
    values = filled(solution.coefficients, confidence)
    return Expression(
        rig.name,
        values[:, :names],
        torch.zeros(len(values), len(rig.joint_names), 3),
        world_from_head,
        personal=values[:, names:] if personal.count else None,
    )
