"""How clothes bend beyond a rigid motion: smooth modes of one clip, learned on its training frames.

Shoulders rise one at a time, lapels open, a collar is pushed by the neck. Points on the clothes,
of known typical colour, are aligned with each picture through a smooth field of displacements;
the fields of the training frames have a few principal modes; every frame is then aligned again
within those modes alone, so that a frame of the test split cannot say anything new.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.batching import take
from likeness.core.camera import far_away
from likeness.core.capture import Capture
from likeness.core.track import Track
from likeness.trackers.align import Brightness, align, some, typical
from likeness.trackers.camera_motion import looked_up
from likeness.trackers.together import together
from likeness.trackers.torso import carried_along, screen_motion
from likeness.trackers.torso_mask import enough, front_at, torso_at

_log = logging.getLogger(__name__)
_POINTS = 3000
_FIELDS = 150  # training frames that fields are learned from
_SPACING = 1 / 12  # of the picture's width, between the nodes of a field
_SMOOTHEST = 60  # smooth patterns of displacement a field is made of
_STIFF = 0.1  # how unwilling a field is to bend
_HOLD = 0.005  # pull of a frame's weights to what training frames do on average
_LEAST_MOVE = 0.02  # pixels at 256 that a mode must move the clothes by to count
_FARTHEST = 8.0  # standard deviations: modes are smooth, and later frames may go on a long way
_ROW = 16  # frames measured one after another
_GRID = 24  # places along a side of the picture at which modes are handed on


@dataclass(frozen=True, eq=False)
class Clothes:
    """Points on the clothes in the reference frame, and smooth patterns of moving them."""

    points: np.ndarray  # N 2, pixels
    ways: "Patterns"
    patterns: np.ndarray  # N M, picture widths for a weight of 1
    motion: np.ndarray  # T 4, the rigid motion they bend beyond
    swaying: np.ndarray  # T 3 3, the camera's own
    size: int

    def along(self, modes: Float[np.ndarray, "P K"], middle: Float[np.ndarray, " P"]) -> "Bending":
        """The same points bent by weights of `modes` [2M, K] beyond `middle`."""
        first = self.points + self.size * (self.patterns @ middle.reshape(2, -1).T)
        split = modes.reshape(2, -1, modes.shape[1])
        moves = self.size * np.stack([self.patterns @ split[0], self.patterns @ split[1]], 1)
        return Bending(self, first, np.ascontiguousarray(moves))


@dataclass(frozen=True, eq=False)
class Bending:
    """Points on the clothes at rest, and what each of a few modes does to them."""

    clothes: Clothes
    first: np.ndarray  # N 2, pixels
    moves: np.ndarray  # N 2 K, pixels for a weight of 1

    def place(self, index: int) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Where weights put the points in a frame; and derivatives."""
        c = self.clothes
        slopes = (c.swaying[index][:2, :2] @ self.moves).astype(np.float32)

        def bent(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            moved = self.first + self.moves @ weights
            return carried_along(moved, c.motion[index], c.size, c.swaying[index]), slopes

        return bent


def torso_modes(
    capture: Capture, track: Track, train: list[int], reference: int, depth: float, count: int
) -> tuple[Float[Tensor, "T K"], Float[Tensor, "K h w 2"]] | None:
    """Weights of the modes in every frame, in standard deviations over the training frames, and
    what each mode does to the picture (see `Track.bends`); None where clothes cannot be seen or
    bend too little to measure."""
    clothes = clothes_of(capture, track, reference, depth)
    if clothes is None or count < 1 or len(train) < 20:
        return None
    free = np.eye(2 * clothes.patterns.shape[1])
    loose = clothes.along(free, np.zeros(len(free)))
    bends = np.zeros((len(track), len(free)))
    looks = some(train)
    shown = some(train, _FIELDS)
    for blurs in ((2.4, 1.2), (1.2,)):
        colours, worth = colours_of(capture, track, loose, looks, bends)
        fit = _Fit(capture, track, loose, colours, worth, np.full(len(free), _STIFF), blurs, 4)
        begun = [(index, bends[index]) for index in shown]
        bends[shown] = list(together(fit.bent, begun, "learning how clothes bend"))
    middle, modes = principal(clothes, bends[shown], count)
    if modes.shape[1] == 0:
        return None
    bending, stiff = clothes.along(modes, middle), np.full(modes.shape[1], _HOLD)
    fit = _Fit(capture, track, bending, colours, worth, stiff, (1.6, 0.8), 5)

    def measured(first: int) -> list[np.ndarray]:
        """A few frames, each begun on the way to where the one before it ended."""
        weights = [np.zeros(modes.shape[1])]
        for index in range(first, min(first + _ROW, len(track))):
            found = fit.bent((index, 0.5 * weights[-1]))
            weights.append(np.clip(found, -_FARTHEST, _FARTHEST))
        return weights[1:]

    rows = together(measured, range(0, len(track), _ROW), "measuring how clothes bend")
    weights = np.stack([one for row in rows for one in row])
    return torch.from_numpy(weights).float(), fields_of(clothes, modes, track.cameras.height)


@dataclass(frozen=True, eq=False)
class _Fit:
    """What weights of a bending are found by."""

    capture: Capture
    track: Track
    bending: Bending
    colours: np.ndarray
    worth: np.ndarray
    stiff: np.ndarray
    blurs: tuple[float, ...]
    rounds: int

    def bent(self, begun: tuple[int, np.ndarray]) -> np.ndarray:
        """Weights at which the clothes of a frame have their colours, from weights nearby."""
        (index, found), place = begun, self.bending.place(begun[0])
        near = place(found)[0]
        clear = self.worth * uncovered(self.track, index, near)
        for blur in self.blurs:
            scale = self.bending.clothes.size / 256
            picture = Brightness(self.capture[index].rgb8, blur * scale, near)
            found = align(picture, self.colours, clear, found, place, self.stiff, self.rounds)
        return found


def fields_of(
    clothes: Clothes, modes: Float[np.ndarray, "P K"], height: int
) -> Float[Tensor, "K h w 2"]:
    """What each mode does over the whole picture."""
    places = (np.arange(_GRID) + 0.5) / _GRID
    y, x = np.meshgrid(places * height, places * clothes.size, indexing="ij")
    patterns = clothes.ways.at(np.stack([x.ravel(), y.ravel()], -1))
    both = np.einsum("nm,cmk->knc", patterns, modes.reshape(2, -1, modes.shape[1]))
    return torch.from_numpy(both.reshape(-1, _GRID, _GRID, 2)).float()


def clothes_of(capture: Capture, track: Track, reference: int, depth: float) -> Clothes | None:
    torso, shown = track.expressions.world_from_torso, torso_at(capture, track, reference)
    if torso is None or shown is None or not enough(shown[0]):
        return None
    size = track.cameras.width
    reach = max(3, size // 64) | 1
    near = cv2.dilate(shown[0].astype(np.uint8), np.ones((reach, reach)))
    rows, columns = np.nonzero(near)
    step = max(1, len(rows) // _POINTS)
    points = np.stack([columns[::step], rows[::step]], -1) + 0.5
    camera = take(track.cameras, reference)
    motion = screen_motion(torso, camera, reference, depth)
    swaying = far_away(track.cameras, camera).double().numpy()
    ways = Patterns.over(points, size)
    return Clothes(points, ways, ways.at(points), motion, swaying, size)


@dataclass(frozen=True, eq=False)
class Patterns:
    """The smoothest ways to displace some points: bumps on a grid over them, recombined so that
    the stiffness of each is one."""

    nodes: np.ndarray  # G 2
    gap: np.ndarray  # 2
    smooth: np.ndarray  # G M

    @classmethod
    def over(cls, points: Float[np.ndarray, "N 2"], size: int) -> "Patterns":
        low, high = points.min(0), points.max(0)
        steps = np.maximum(2, np.ceil((high - low) / (_SPACING * size)).astype(int) + 1)
        gap = (high - low) / (steps - 1)
        lines = (low[i] + gap[i] * np.arange(steps[i]) for i in (0, 1))
        nodes = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 2)
        grid = np.arange(len(nodes)).reshape(steps)
        pairs = np.concatenate(
            [
                np.stack([grid[1:].ravel(), grid[:-1].ravel()], -1),
                np.stack([grid[:, 1:].ravel(), grid[:, :-1].ravel()], -1),
            ]
        )
        differ = np.zeros((len(pairs), grid.size))
        differ[np.arange(len(pairs)), pairs[:, 0]] = 1
        differ[np.arange(len(pairs)), pairs[:, 1]] = -1
        values, vectors = np.linalg.eigh(differ.T @ differ + 0.05 * np.eye(grid.size))
        smooth = vectors[:, :_SMOOTHEST] / np.sqrt(values[:_SMOOTHEST])
        return cls(nodes, gap, 0.05 * smooth)

    def at(self, points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N M"]:
        """What a weight of one does at each point, in picture widths; level far from the nodes."""
        low, high = self.nodes.min(0), self.nodes.max(0)
        away = (np.clip(points, low, high)[:, None] - self.nodes) / self.gap
        bumps = np.exp(-0.5 * (away**2).sum(-1))
        return bumps / bumps.sum(1, keepdims=True) @ self.smooth


def colours_of(
    capture: Capture, track: Track, loose: Bending, looks: list[int], bends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The points' typical colours over some frames, and how far each can be trusted."""

    def one(index: int) -> tuple[np.ndarray, np.ndarray]:
        at, _ = loose.place(index)(bends[index])
        value, _, inside = Brightness(capture[index].rgb8, 0.8 * loose.clothes.size / 256).at(at)
        return value, inside * uncovered(track, index, at)

    values, seen = zip(*together(one, looks, "learning the clothes' colours"), strict=True)
    return typical(np.stack(values), np.stack(seen))


def uncovered(
    track: Track, index: int, pixels: Float[np.ndarray, "N 2"]
) -> Float[np.ndarray, " N"]:
    """1 for points with nothing before them: a chin or a hand in front says nothing of clothes."""
    front = front_at(track, index)
    if front is None:
        return np.ones(len(pixels))
    return 1.0 - looked_up(cv2.dilate(front.view(np.uint8), np.ones((3, 3), np.uint8)), pixels)


def principal(
    clothes: Clothes, bends: Float[np.ndarray, "T P"], count: int
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, "P K"]]:
    """The mean bend and the leading modes, each of one standard deviation."""
    middle = bends.mean(0)
    gram = clothes.patterns.T @ clothes.patterns / len(clothes.points)
    root = np.linalg.cholesky(gram + 1e-12 * np.eye(len(gram)))
    both = np.kron(np.eye(2), root)  # so that lengths are root-mean-square moves of the points
    moves = (bends - middle) @ both
    _, spreads, directions = np.linalg.svd(moves, full_matrices=False)
    spreads = spreads / np.sqrt(max(len(bends) - 1, 1))
    kept = spreads[:count] * 256 > _LEAST_MOVE
    directions, spreads = directions[:count][kept], spreads[:count][kept]
    modes = np.linalg.solve(both.T, directions.T) * spreads
    _log.info("Clothes bend in %d ways, by %s px at 256.", len(spreads), np.round(256 * spreads, 2))
    return middle, modes
