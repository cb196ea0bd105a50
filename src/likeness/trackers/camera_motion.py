"""How the camera itself moves: hands shake, lenses breathe, and what is behind the person tells."""

import logging
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from likeness.core.camera import Camera
from likeness.core.capture import Capture
from likeness.core.geometry import axis_angle_to_matrix, rigid
from likeness.core.track import Maps
from likeness.trackers.align import Brightness, align, typical
from likeness.trackers.together import together

_log = logging.getLogger(__name__)
_POINTS = 3000
_LOOKS = 40  # frames that the typical background is taken from
_FIRST, _FINE = 3.2, 0.8  # pixels at 256 that pictures are blurred by: motion found, corrected
_LEAST = 0.05  # share of the picture that must be background to say anything
_STILL = 0.12  # pixels at 256 that measured motion may reach without the camera having moved
_BETTER = 0.8  # of the difference left after alignment, where the camera has really moved


def camera_motion(
    capture: Capture, maps: Maps, seen: Float[np.ndarray, " T"]
) -> Float[np.ndarray, "T 4"]:
    """Per frame zoom (0: none), roll (radians, clockwise on screen) and shift (x, y, in picture
    widths) of the background since the first frame, about the middle of the picture.

    All zero where the camera stands still, or too little background is seen to tell.
    """
    still = np.zeros((len(capture), 4))
    usable = np.flatnonzero(seen > 0)
    if len(usable) < 8:
        return still
    chosen = usable[np.linspace(0, len(usable) - 1, _LOOKS).round().astype(int)]
    looks = together(partial(_behind, maps), list(dict.fromkeys(chosen.tolist())), "looking around")
    background = np.mean(list(looks), 0)
    points = background_points(background)
    if len(points) < 200:
        return still
    first, fine = int(usable[0]), _FINE * capture.size[0] / 256
    colours, _, inside = Brightness(capture[first].rgb8, fine).at(points)
    motion, clear = followed(capture, maps, points, colours, inside, seen)
    colours, worth = _typical(capture, points, motion, clear, chosen)
    motion = _corrected(capture, points, colours, worth * clear, motion)
    motion = relative_to(motion, motion[first])
    if not _moved(capture, maps, points, colours, worth, motion, usable):
        return still
    reach = np.abs(motion[usable]).max(0)
    _log.info("The camera moves: up to %.1f px sideways.", reach[2:].max() * capture.size[0])
    return motion


def background_points(share: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "N 2"]:
    """Pixels that are mostly background, evenly thinned; none when there are too few."""
    rows, columns = np.nonzero(share > 0.6)
    if len(rows) < _LEAST * share.size:
        return np.zeros((0, 2))
    step = max(1, len(rows) // _POINTS)
    return np.stack([columns[::step], rows[::step]], -1) + 0.5


def _behind(maps: Maps, index: int) -> Bool[np.ndarray, "H W"]:
    """Where surely nothing of the person is."""
    alpha = maps.alpha(index)
    assert alpha is not None
    reach = max(3, alpha.shape[1] // 40) | 1
    return cv2.dilate(alpha, np.ones((reach, reach), np.uint8)) < 13


def followed(
    capture: Capture,
    maps: Maps,
    points: np.ndarray,
    colours: np.ndarray,
    worth: np.ndarray,
    seen: Float[np.ndarray, " T"],
) -> tuple[Float[np.ndarray, "T 4"], Bool[np.ndarray, "T N"]]:
    """Each frame's motion of background points of known colour, and which of them are clear of the
    person there. Begun at that of the last frame in which the person is `seen`: others may show
    another scene."""
    size = np.array(capture.size, float)
    motion, clear = np.zeros((len(capture), 4)), np.zeros((len(capture), len(points)), bool)

    def look(index: int) -> tuple[np.ndarray, Brightness]:
        return _behind(maps, index), Brightness(capture[index].rgb8, _FIRST * size[0] / 256)

    last = np.zeros(4)
    ahead = together(look, range(len(capture)), "watching the camera")
    for index, (behind, picture) in enumerate(ahead):
        free = worth * looked_up(behind, moved_points(points, last, size)[0])
        found = _aligned(picture, points, colours, free, last, size)
        motion[index] = found if _likely(found) else last
        last = motion[index] if seen[index] > 0 else last
        clear[index] = looked_up(behind, moved_points(points, motion[index], size)[0])
    return motion, clear


def _corrected(
    capture: Capture, points: np.ndarray, colours: np.ndarray, worth: np.ndarray, motion: np.ndarray
) -> Float[np.ndarray, "T 4"]:
    """The same with better known colours, by what each point is `worth` in each frame."""
    size = np.array(capture.size, float)

    def corrected(index: int) -> np.ndarray:
        picture = Brightness(capture[index].rgb8, _FINE * size[0] / 256)
        found = _aligned(picture, points, colours, worth[index], motion[index], size)
        return found if _likely(found) else motion[index]

    return np.stack(list(together(corrected, range(len(capture)), "watching the camera again")))


def _aligned(
    picture: Brightness,
    points: np.ndarray,
    colours: np.ndarray,
    worth: np.ndarray,
    begin: np.ndarray,
    size: np.ndarray,
) -> Float[np.ndarray, " 4"]:
    """A frame's motion near one; that, where too little of what is behind is seen."""
    if worth.sum() < 100:
        return begin
    place = partial(moved_points, points, size=size)
    return align(picture, colours, worth, begin, place, np.full(4, 1e-2), 8)


def _likely(motion: np.ndarray) -> bool:
    return bool(np.abs(motion[:2]).max() < 0.3 and np.abs(motion[2:]).max() < 0.5)


def looked_up(plane: np.ndarray, pixels: Float[np.ndarray, "N 2"]) -> np.ndarray:
    """The plane's nearest value at each pixel; 0 outside."""
    at = np.floor(pixels).astype(int)
    height, width = plane.shape
    inside = (at >= 0).all(-1) & (at[:, 0] < width) & (at[:, 1] < height)
    at = np.clip(at, 0, [width - 1, height - 1])
    return plane[at[:, 1], at[:, 0]] * inside


def moved_points(
    points: Float[np.ndarray, "N 2"], motion: Float[np.ndarray, " 4"], size: Float[np.ndarray, " 2"]
) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, "N 2 4"]]:
    """Points zoomed, rolled and shifted about the middle of the picture, and derivatives."""
    middle, zoom = 0.5 * size, 1 + motion[0]
    c, s = np.cos(motion[1]), np.sin(motion[1])
    rolled = (points - middle) @ np.array([[c, s], [-s, c]])
    grown = zoom * rolled
    slopes = np.zeros((len(points), 2, 4))
    slopes[:, :, 0] = rolled
    slopes[:, 0, 1] = -grown[:, 1]
    slopes[:, 1, 1] = grown[:, 0]
    slopes[:, 0, 2] = slopes[:, 1, 3] = size[0]
    return grown + middle + motion[2:] * size[0], slopes


def _typical(
    capture: Capture, points: np.ndarray, motion: np.ndarray, clear: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    size = np.array(capture.size, float)

    def look(index: int) -> tuple[np.ndarray, np.ndarray]:
        pixels, _ = moved_points(points, motion[index], size)
        value, _, inside = Brightness(capture[index].rgb8, _FINE * size[0] / 256).at(pixels)
        return value, inside * clear[index]

    looks = together(look, list(dict.fromkeys(chosen.tolist())), "learning what is behind")
    values, free = zip(*looks, strict=True)
    return typical(np.stack(values), np.stack(free))


def relative_to(motion: Float[np.ndarray, "T 4"], first: Float[np.ndarray, " 4"]) -> np.ndarray:
    """Similarities re-expressed so that `first` is none at all."""
    undo = np.linalg.inv(matrix_of(first))
    return np.stack([motion_of(matrix_of(m) @ undo) for m in motion])


def matrix_of(motion: Float[np.ndarray, " 4"]) -> Float[np.ndarray, "3 3"]:
    """The similarity about the middle, in picture widths."""
    zoom = 1 + motion[0]
    c, s = zoom * np.cos(motion[1]), zoom * np.sin(motion[1])
    return np.array([[c, -s, motion[2]], [s, c, motion[3]], [0, 0, 1]])


def motion_of(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " 4"]:
    zoom = np.hypot(matrix[0, 0], matrix[1, 0])
    return np.array([zoom - 1, np.arctan2(matrix[1, 0], matrix[0, 0]), matrix[0, 2], matrix[1, 2]])


def _moved(
    capture: Capture,
    maps: Maps,
    points: np.ndarray,
    colours: np.ndarray,
    worth: np.ndarray,
    motion: np.ndarray,
    usable: np.ndarray,
) -> bool:
    """Whether motion was more than measuring noise, and following it explains the pictures."""
    size = np.array(capture.size, float)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * size
    reach = np.array(
        [np.abs(moved_points(corners, m, size)[0] - corners).max() for m in motion[usable]]
    )
    if np.quantile(reach, 0.9) * 256 / size[0] < _STILL:
        return False
    far = usable[np.argsort(-reach)[: max(4, len(usable) // 10)]].tolist()
    left = np.zeros(2)
    for index in far:
        picture = Brightness(capture[index].rgb8, _FINE * size[0] / 256)
        behind = _behind(maps, index)
        for which, pixels in enumerate((points, moved_points(points, motion[index], size)[0])):
            value, _, inside = picture.at(pixels)
            free = worth * inside * looked_up(behind, pixels)
            left[which] += ((value - colours) ** 2 * free[:, None]).sum() / max(free.sum(), 1e-6)
    return bool(left[1] < _BETTER * left[0])


def moving_cameras(camera: Camera, motion: Float[np.ndarray, "T 4"]) -> Camera:
    """A camera for every frame out of the first frame's: zoom and shift are of the lens, roll is
    about the way it looks. The camera stays where it is."""
    count = len(motion)
    moves = torch.from_numpy(motion).to(camera.intrinsics)
    turn = torch.zeros(count, 3).to(moves)
    turn[:, 2] = moves[:, 1]
    roll = axis_angle_to_matrix(turn)
    zoom = 1 + moves[:, :1]
    middle = moves.new_tensor([camera.width / 2, camera.height / 2])
    away = camera.intrinsics[:2, 2] - middle
    centre = zoom * (roll[:, :2, :2] @ away) + middle + moves[:, 2:] * camera.width
    intrinsics = camera.intrinsics.repeat(count, 1, 1)
    intrinsics[:, :2, :2] *= zoom[..., None]
    intrinsics[:, :2, 2] = centre
    still = torch.zeros(count, 3).to(moves)
    return replace(
        camera,
        intrinsics=intrinsics,
        camera_from_world=rigid(roll, still) @ camera.camera_from_world,
    )


def steadied_points(
    points: Float[np.ndarray, "T K D"], motion: Float[np.ndarray, "T 4"], size: tuple[int, int]
) -> Float[np.ndarray, "T K D"]:
    """Landmarks where the first frame's camera would have seen them."""
    result = points.copy()
    width = size[0]
    middle = 0.5 * np.array(size, float)
    for index, move in enumerate(motion):
        if move.any():
            undo = np.linalg.inv(matrix_of(move))
            at = (points[index, :, :2] - middle) / width
            result[index, :, :2] = (at @ undo[:2, :2].T + undo[:2, 2]) * width + middle
    return result


def steadied(
    picture: UInt8[np.ndarray, "H W 3"] | UInt8[np.ndarray, "H W"], motion: np.ndarray
) -> np.ndarray:
    """The picture (or matte) as the first frame's camera would have taken it."""
    if not motion.any():
        return picture
    height, width = picture.shape[:2]
    move = matrix_of(motion)
    middle = 0.5 * np.array([width, height], float)
    shift = move[:2, 2] * width + middle - move[:2, :2] @ middle
    # OpenCV counts from the middle of the first pixel
    shift = shift + move[:2, :2] @ np.array([0.5, 0.5]) - 0.5
    forth = np.concatenate([move[:2, :2], shift[:, None]], 1)
    return cv2.warpAffine(
        picture, forth, (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
