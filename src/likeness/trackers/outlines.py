"""Who somebody is beyond their face, and how their head leans, from the outlines of mattes.

Landmarks end at the cheeks: ears, cranium and neck are where a usual head has them, and a lean of
all landmarks is taken for a lean of the head. Where a matte ends tells more. In some frames points
of the rig's own outline look for the matte's edge along their normals; identity and one constant
lean of all poses are moved until they meet, held by what landmarks know of both. An edge of hair
only says that the head ends before it; an edge of clothes says nothing.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from likeness.core.batching import take
from likeness.core.camera import Camera, project
from likeness.core.geometry import axis_angle_to_matrix, hat, invert_rigid, rigid
from likeness.core.regions import REGION
from likeness.core.rig import Identity, Rig
from likeness.core.track import Track
from likeness.ops.mesh import rasterise
from likeness.ops.mesh_edges import edges
from likeness.trackers.align import nearest, some
from likeness.trackers.landmarks import Fit
from likeness.trackers.point_model import PointModel
from likeness.trackers.solve import Evidence, Solution, pixel_slopes
from likeness.trackers.together import together

_FRAMES = 24  # that are looked at
_REACH = (24.0, 18.0, 18.0, 18.0, 18.0)  # millimetres at a usual face, round by round
_STEP = 0.5  # pixels between looks along a normal
_EVERY = 6.0  # millimetres of an outline say as much as a landmark that is good to one
_DOUBTED = 2.5  # millimetres from the outline beyond which an edge may be another thing's
_USUAL = 1.5  # how strongly directions of identity are held, as `default_priors` count
_MOST_LEAN, _MOST_SHIFT = 0.08, 0.03  # radians, metres: more is a failure, not a correction
_INSIDE = 2.0  # pixels from an edge to what ends there
_SILENT = ("clothes", "background")


@dataclass(frozen=True, eq=False)
class Outline:
    """Edges of a mesh between what faces the camera and what does not, before nothing else of it:
    their two vertices, middles in pixels, normals away from the mesh, lengths in pixels."""

    ends: Int[Tensor, "N 2"]
    pixels: Float[np.ndarray, "N 2"]
    outward: Float[np.ndarray, "N 2"]
    length: Float[np.ndarray, " N"]


def outlined(rig: Rig, fit: Fit, train: list[int]) -> Track:
    """The track of a fit with identity and all poses moved to the outlines of its mattes."""
    track, evidence = fit.track, fit.evidence
    if track.maps is None or not rig.identity_names:
        return track
    frames = some(train, _FRAMES)
    own, held = len(rig.identity_names), _held(fit.model, evidence, fit.solution, frames)
    known = edges(rig.triangles)
    basis = _moved_by_directions(rig, track.identity)
    change, now = torch.zeros(len(held), dtype=torch.float64), track
    for reach in _REACH:

        def said(index: int, now: Track = now, reach: float = reach) -> tuple[Tensor, Tensor]:
            return _said(rig, now, basis, known, index, reach * evidence.wide, evidence.wide)

        system, right = held.clone(), -(held @ change)
        free = [*range(own), *range(len(held) - 6, len(held))]
        for more, pull in together(said, frames, "looking at outlines"):
            system[np.ix_(free, free)] += more / len(frames)
            right[free] += pull / len(frames)
        change = change + torch.linalg.solve(system, right)
        if change[-6:-3].abs().max() > _MOST_LEAN or change[-3:].abs().max() > _MOST_SHIFT:
            return track
        now = _changed(track, change[:own].float(), change[-6:].float())
    return now


def outline_of(
    camera: Camera,
    vertices: Float[Tensor, "V 3"],
    triangles: Int[Tensor, "F 3"],
    known: Int[Tensor, "N 4"],
) -> Outline:
    """The outline of a mesh in a picture, where it borders on what is not the mesh."""
    mask = rasterise(camera, vertices, triangles).mask.numpy()
    eye = invert_rigid(camera.camera_from_world)[:3, 3]
    corners = vertices[triangles]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    front = ((eye - corners.mean(1)) * normals).sum(-1) > 0
    ends = known[(known[:, 3] >= 0) & (front[known[:, 2]] != front[known[:, 3]]), :2]
    line = project(camera, vertices)[ends].numpy()
    middle, along = line.mean(1), line[:, 1] - line[:, 0]
    length = np.linalg.norm(along, axis=-1)
    outward = np.stack([along[:, 1], -along[:, 0]], -1) / np.maximum(length, 1e-6)[:, None]
    here, there = (nearest(mask, middle + side * outward) for side in (3, -3))
    outward = np.where((here > there)[:, None], -outward, outward)
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    size = np.array([camera.width, camera.height])
    within = ((middle >= 2) & (middle < size - 2)).all(-1)
    kept = within & (here != there) & (length > 1e-3) & (nearest(depth, middle) < 2)
    return Outline(ends[torch.from_numpy(kept)], middle[kept], outward[kept], length[kept])


def edge_along(
    alpha: UInt8[np.ndarray, "H W"], outline: Outline, reach: float
) -> Float[np.ndarray, " N"]:
    """How far outwards of each point the matte ends, in pixels; NaN where it does not nearby."""
    steps = np.arange(-reach, reach + 0.01, _STEP)
    at = outline.pixels[:, None] + steps[:, None] * outline.outward[:, None] - 0.5
    x, y = (np.ascontiguousarray(at[..., k], np.float32) for k in (0, 1))
    seen = cv2.remap(alpha, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / 255.0
    before, after = seen[:, :-1], seen[:, 1:]
    ends = (before >= 0.5) & (after < 0.5)
    place = steps[:-1] + _STEP * (before - 0.5) / np.maximum(before - after, 1e-6)
    nearest = np.where(ends, np.abs(place), np.inf).argmin(1)[:, None]
    found = np.take_along_axis(place, nearest, 1)[:, 0]
    return np.where(ends.any(1), found, np.nan)


def _said(
    rig: Rig,
    track: Track,
    basis: Float[Tensor, "D V 3"],
    known: Int[Tensor, "N 4"],
    index: int,
    reach: float,
    wide: float,
) -> tuple[Tensor, Tensor]:
    """Normal equations of directions and lean from one frame's outline, and what they pull at."""
    assert track.maps is not None  # else there are no outlines
    camera, now = take(track.cameras, index), take(track.expressions, index)
    vertices = rig.pose(track.identity, now).vertices
    outline = outline_of(camera, vertices, rig.triangles, known)
    alpha, regions = track.maps.alpha(index), track.maps.regions(index)
    count = len(basis) + 6
    if alpha is None or not len(outline.pixels):
        return torch.zeros(count, count).double(), torch.zeros(count).double()
    away = edge_along(alpha, outline, reach)
    missed, worth = torch.from_numpy(np.nan_to_num(away)), _worth(away, outline, regions, wide)
    camera_from_head = camera.camera_from_world @ now.world_from_head
    turn = camera_from_head[:3, :3]
    places = (vertices @ now.world_from_head[:3, :3])[outline.ends].mean(1)
    places = places - now.world_from_head[:3, 3] @ now.world_from_head[:3, :3]
    seen = places @ turn.T + camera_from_head[:3, 3]
    on_screen = pixel_slopes(seen, float(camera.intrinsics[0, 0])) @ turn
    by_place = torch.einsum("ki,kij->kj", torch.from_numpy(outline.outward).float(), on_screen)
    by_direction = torch.einsum("kj,dkj->kd", by_place, basis[:, outline.ends].mean(2))
    by_lean = -torch.einsum("ki,kij->kj", by_place, hat(places))
    slopes = torch.cat([by_direction, by_lean, by_place], -1).double() / wide
    weighted = slopes.T * worth
    return weighted @ slopes, weighted @ (missed / wide)


def _worth(
    away: Float[np.ndarray, " N"],
    outline: Outline,
    regions: UInt8[np.ndarray, "H W"] | None,
    wide: float,
) -> Float[Tensor, " N"]:
    """How far each edge is believed: not at all where something else ends there."""
    worth = np.minimum(outline.length / wide / _EVERY, 1) * np.isfinite(away)
    missed = np.nan_to_num(away)
    if regions is not None:
        label = nearest(regions, outline.pixels + (missed - _INSIDE)[:, None] * outline.outward)
        worth = worth * ~np.isin(label, [REGION[name] for name in _SILENT])
        worth = worth * ~((label == REGION["hair"]) & (missed > 0))
    return torch.from_numpy(worth / (1 + (missed / wide / _DOUBTED) ** 2) ** 2)


def _held(
    model: PointModel, evidence: Evidence, at: Solution, frames: list[int]
) -> Float[Tensor, "P P"]:
    """How strongly landmarks hold identity, how the mesh errs, and a lean of all frames. Frames
    repeat each other's errors: together they say as much as one."""
    used = model.used()
    weights = evidence.weights if model.use is None else evidence.weights[:, model.use]
    named = at.coefficients[:, : len(model.names)]
    count = len(used.directions)
    held = torch.zeros(count + 6, count + 6, dtype=torch.float64)
    for index in frames:
        turn, shift = at.rotation[index : index + 1], at.translation[index : index + 1]
        shapes = used.shapes[: len(model.names)]
        head = used.rest(at.identity) + torch.einsum("e,ekc->kc", named[index], shapes)
        head = head + used.strayed(turn, shift)[0]
        by_place = pixel_slopes(head @ turn[0].T + shift[0], at.focal) @ turn[0]
        by_identity = torch.einsum("kij,dkj->kid", by_place, used.directions)
        slopes = torch.cat([by_identity, -by_place @ hat(head), by_place], -1).double()
        worth = weights[index].double() * used.known
        held += torch.einsum("kia,k,kib->ab", slopes, worth, slopes) / len(frames)
    prior = torch.full((count,), _USUAL, dtype=torch.float64)
    prior[count - model.strange_directions :] = 1
    held[range(count), range(count)] += prior
    return held


def _moved_by_directions(rig: Rig, identity: Identity) -> Float[Tensor, "D V 3"]:
    """By how much each direction of identity moves the head at rest."""
    still, step = rig.neutral(), 1 / 16
    rest, moved = rig.pose(identity, still).vertices, []
    for k in range(len(identity.directions)):
        one = identity.directions.clone()
        one[k] += step
        moved.append((rig.pose(replace(identity, directions=one), still).vertices - rest) / step)
    return torch.stack(moved)


def _changed(track: Track, directions: Float[Tensor, " D"], lean: Float[Tensor, " 6"]) -> Track:
    """The track with directions added, and its heads turned and shifted in their own frame."""
    identity = replace(track.identity, directions=track.identity.directions + directions)
    further = rigid(axis_angle_to_matrix(lean[:3]), lean[3:])
    poses = track.expressions.world_from_head @ further
    expressions = replace(track.expressions, world_from_head=poses)
    return replace(track, identity=identity, expressions=expressions)
