"""Eyelids and a first account of the gaze, measured in the pictures.

A face mesh's lids close less than the person's do, most of all on faces unlike those it was
trained on. Here each clip is its own teacher: where the mesh says "between the lids" most of the
time are this person's eye colours, around it are their skin's, and how much of an eye shows is
read from every picture. The mesh's own gap counts by how clearly it tells blinks from noise. The
gaze is read from the iris (see `iris`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage
from torch import Tensor

from likeness.core.rig import Identity, Rig
from likeness.rigs.linear import LinearRig
from likeness.trackers.eyeballs import SIDES, eyeballs, gaze_curves, turns_eyes
from likeness.trackers.iris import EyePixels, between_lids, looks
from likeness.trackers.saccades import calmed, straight
from likeness.trackers.solve import Solution

_WIDE, _HIGH = 64, 40  # pixels of a patch
_SPAN = 1.6  # eye widths across a patch
_EYE = _WIDE / _SPAN  # pixels of a patch between the corners
_FRAMES = 256  # whose pixels are told apart at a time
_BINS = 14
_CLOSED = 0.12  # of the open gap: the lashes of a closed eye, when no blink is seen
_BLINKED = 0.4  # of the gap: whose witnesses together fall so low has closed the eye once
_SLACK = 0.08  # of the gap; smaller narrowings are not blinks
_OPEN = 0.5  # of an eye: those closed further are not looked into

# Right eye, then left: the loop around the opening, first corner towards the picture's left.
RIMS = np.array([
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382),
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class EyePatches:
    """Both eyes of every frame, upright, a fixed number of pixels wide.

    `places` is (origin, step right, step down) in pixels of the picture; NaN without a face.
    """

    pictures: UInt8[np.ndarray, "T 2 40 64 3"]
    places: Float[np.ndarray, "T 2 3 2"]

    @staticmethod
    def empty(count: int) -> "EyePatches":
        return EyePatches(
            np.zeros((count, 2, _HIGH, _WIDE, 3), np.uint8),
            np.full((count, 2, 3, 2), np.nan, np.float32),
        )

    def look(self, index: int, picture: np.ndarray, points: np.ndarray) -> None:
        """Cut one frame's eyes out."""
        image = Image.fromarray(picture)
        for eye, rim in enumerate(RIMS):
            first, last = points[rim[0], :2], points[rim[8], :2]
            right = (last - first) * _SPAN / _WIDE
            down = np.array([-right[1], right[0]])
            origin = 0.5 * (first + last) - right * _WIDE / 2 - down * _HIGH / 2
            affine = (right[0], down[0], origin[0], right[1], down[1], origin[1])
            self.places[index, eye] = origin, right, down
            self.pictures[index, eye] = np.asarray(
                image.transform(
                    (_WIDE, _HIGH),
                    Image.Transform.AFFINE,
                    tuple(float(v) for v in affine),
                    Image.Resampling.BILINEAR,
                )
            )


@dataclass(frozen=True, eq=False)
class Seen:
    """What one eye shows: its rim in pixels of its patch, and heights there."""

    rim: Float[np.ndarray, "T 16 2"]
    gap: Float[np.ndarray, " T"]
    mesh_gap: Float[np.ndarray, " T"]


def eye_coefficients(
    rig: Rig,
    patches: EyePatches,
    points: Float[np.ndarray, "T 478 3"],
    centre: Float[Tensor, " 2"],
    solution: Solution,
) -> Float[Tensor, "T E"]:
    """The rig's blink and eyeLook coefficients, from pictures and a first account of the pose.

    The others are NaN, and all of them where the rig has no such eyes. Frames without a face
    take values between their neighbours'. `centre` is the camera's principal point.
    """
    values = torch.full((len(points), len(rig.shape_names)), torch.nan)
    if not isinstance(rig, LinearRig) or not turns_eyes(rig):
        return values
    for name, curve in _curves(rig, patches, points, centre.numpy(), solution).items():
        values[:, rig.shape_names.index(name)] = torch.from_numpy(curve).float()
    return values


def _curves(
    rig: LinearRig, patches: EyePatches, points: np.ndarray, centre: np.ndarray, solution: Solution
) -> dict[str, Float[np.ndarray, " T"]]:
    seen = [_read(patches, points, eye) for eye in range(2)]
    depth = solution.translation[:, 2].numpy() / solution.focal
    pitch = np.arctan2(solution.rotation[:, 1, 2].numpy(), -solution.rotation[:, 2, 2].numpy())
    step = np.linalg.norm(patches.places[:, :, 2], axis=-1)
    lids = [
        openness(s.gap * step[:, e] * depth, s.mesh_gap * step[:, e] * depth)
        for e, s in enumerate(seen)
    ]
    look = _gaze(rig, patches, [s.rim for s in seen], np.stack(lids) > _OPEN, centre, solution)
    values = gaze_curves(rig, look)
    for eye, side in enumerate(SIDES):
        lid = _uncoupled(lids[eye], np.stack([look[:, 1], pitch], -1))
        values[f"eyeBlink{side}"] = np.clip((1 - lid - _SLACK) / (1 - _SLACK), 0, 1)
    return {name: _continued(curve) for name, curve in values.items()}


def _read(patches: EyePatches, points: np.ndarray, eye: int) -> Seen:
    pictures, places = patches.pictures[:, eye], patches.places[:, eye]
    rim = points[:, RIMS[eye], :2]
    steps = np.nan_to_num(places[:, 1:], nan=1.0)
    steps[:, 1] += 1e-6
    inverse = np.linalg.pinv(steps.swapaxes(-1, -2))
    poly = (rim - places[:, None, 0]) @ inverse.swapaxes(-1, -2)
    mesh_gap = (poly[:, 10:15, 1] - poly[:, 6:1:-1, 1]).mean(-1)
    gap = _opened(pictures, poly, mesh_gap)
    return Seen(poly, np.where(np.isfinite(mesh_gap), gap, np.nan), mesh_gap)


def _opened(pictures: np.ndarray, poly: np.ndarray, mesh_gap: np.ndarray) -> np.ndarray:
    """How far an eye is open in each frame, by how much of it shows. Frames are looked at some at a
    time, twice: what is told of pixels takes a hundred times the room of what is learned."""
    y, x = np.mgrid[:_HIGH, :_WIDE] + 0.5
    typical = np.nanmedian(poly, 0)
    middle = typical.mean(0)
    inner = _inside(middle + 0.8 * (typical - middle), x, y)
    outer = _inside(middle + 1.6 * (typical - middle), x, y)
    around = ((x - _WIDE / 2) / (0.72 * _EYE)) ** 2 + ((y - _HIGH / 2) / (0.42 * _EYE)) ** 2 < 1
    skin = around & ~outer
    wide, found = mesh_gap > np.nanquantile(mesh_gap, 0.4), np.isfinite(mesh_gap)
    parts = [slice(i, i + _FRAMES) for i in range(0, len(pictures), _FRAMES)]
    of_eye, of_skin = np.zeros(_BINS**3), np.zeros(_BINS**3)
    for part in parts:
        cell = _tones(pictures[part], skin)
        of_eye += np.bincount(cell[wide[part]][:, inner].ravel(), minlength=_BINS**3)
        of_skin += np.bincount(cell[found[part]][:, skin].ravel(), minlength=_BINS**3)
    of_eye, of_skin = _smooth(of_eye), _smooth(of_skin)
    surely = (of_eye / (of_eye + 2 * of_skin + 1e-6)).ravel()
    near = ((x - _WIDE / 2) / (0.62 * _EYE)) ** 2 + ((y - middle[1]) / (0.33 * _EYE)) ** 2 < 1
    shows = [(surely[_tones(pictures[part], skin)] * near).sum((1, 2)) for part in parts]
    return np.concatenate(shows) / _EYE


def _tones(pictures: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Each pixel's colour against that of the skin around, as the number of a bin."""
    colour = pictures.astype(np.float32) / 255 + 0.03
    base = np.median(colour[:, skin], axis=1)
    ratio = np.log(colour / base[:, None, None])
    cell = np.clip((ratio + 1.6) / 2.6 * _BINS, 0, _BINS - 1).astype(np.int64)
    return (cell[..., 0] * _BINS + cell[..., 1]) * _BINS + cell[..., 2]


def _smooth(counts: np.ndarray) -> np.ndarray:
    """A histogram of colours that knows its bins' neighbours."""
    table = (counts / max(1, counts.sum())).reshape(_BINS, _BINS, _BINS)
    return ndimage.gaussian_filter(table, 1.0)


def _inside(loop: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which points lie in a polygon (even-odd rule)."""
    after = np.roll(loop, -1, 0)
    crossed = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(loop, after, strict=True):
        if ay == by:
            continue
        crossed ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return crossed


def openness(gap: np.ndarray, mesh_gap: np.ndarray) -> np.ndarray:
    """How open an eye is: 1 as usual, 0 closed. Two witnesses, the clearer one heard more; what
    they call a blink between them closes the eye, though each may have its least elsewhere."""
    total, heard = np.zeros(len(gap)), 0.0
    for witness in (gap, mesh_gap):
        if not np.isfinite(witness).any() or np.nanquantile(witness, 0.8) <= 0:
            continue  # behind dark glasses no eye is ever seen
        usual, least = np.nanquantile(witness, 0.8), np.nanmin(witness)
        closed = least if least < 0.55 * usual else _CLOSED * usual
        steps = witness[1:-1] - 0.5 * (witness[:-2] + witness[2:])
        known = np.isfinite(steps)
        noise = 1.2 * np.median(np.abs(steps[known])) if known.sum() > 2 else 0.1 * usual
        clear = float((usual - least) / max(noise, 0.01 * usual)) ** 2
        total += clear * (witness - closed) / (usual - closed)
        heard += clear
    if heard == 0:
        return np.where(np.isfinite(mesh_gap), 1.0, np.nan)
    opening = total / heard
    least = np.nanmin(opening)
    return (opening - least) / (1 - least) if least < _BLINKED else opening


def _uncoupled(lid: np.ndarray, causes: np.ndarray) -> np.ndarray:
    """Lids follow the gaze, and foreshorten as the head nods: that much is not a blink."""
    known = np.isfinite(lid) & np.isfinite(causes).all(-1)
    design = np.concatenate([np.ones((len(lid), 1)), causes - np.nanmedian(causes, 0)], -1)
    keep = known & (lid > 0.6)
    fit = np.array([1.0, 0.0, 0.0])
    for _ in range(3):
        if keep.sum() < 12:
            break
        a = design[keep]
        pull = np.diag([1e-3, 0.02 * keep.sum() * 0.1, 0.02 * keep.sum() * 0.1])
        fit = np.linalg.solve(a.T @ a + pull, a.T @ lid[keep])
        keep = known & (lid > design @ fit - 0.2)
    usual = np.clip(design @ fit, 0.6, 1.5)
    return lid / usual


def _gaze(
    rig: LinearRig,
    patches: EyePatches,
    rims: list[np.ndarray],
    sure: np.ndarray,
    centre: np.ndarray,
    solution: Solution,
) -> Float[np.ndarray, "T 2"]:
    """Angles (left, up) at which both eyes look, in the frame of the head."""
    identity = Identity(rig.name, solution.identity[: len(rig.identity_names)])
    weights = solution.coefficients[:, : len(rig.shape_names)].double().numpy()
    turn = solution.rotation.double().numpy()
    balls = eyeballs(rig, identity)
    middles = [
        np.einsum("tij,tj->ti", turn, ball.at(weights)) + solution.translation.double().numpy()
        for ball in balls
    ]
    camera = np.array([[solution.focal, 0, centre[0]], [0, solution.focal, centre[1]], [0, 0, 1]])
    frames = []
    for t in range(len(turn)):
        parts = []
        for eye in np.flatnonzero(sure[:, t]):
            origin, right, down = patches.places[t, eye].astype(np.float64)
            whole_from_patch = np.eye(3)
            whole_from_patch[:2] = np.stack([right, down, origin], -1)
            lens = np.linalg.inv(whole_from_patch) @ camera
            picture, ball = patches.pictures[t, eye], balls[eye]
            parts.append(
                between_lids(
                    picture, lens, rims[eye][t], middles[eye][t], ball.radius, turn[t], int(eye)
                )
            )
        frames.append(EyePixels.together(parts))
    gaze, certain = looks(frames, np.ones(len(frames)))
    gaze = calmed(gaze, certain)
    return gaze - straight(gaze[[f.enough for f in frames]])


def _continued(curve: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(curve))
    if not len(known):
        return np.zeros(len(curve))
    return np.interp(np.arange(len(curve)), known, curve[known])
