"""A square window of every picture, at one size: what ingest cuts out around the head."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from likeness.core.camera import Camera
from likeness.core.capture import Capture, Pictures
from likeness.core.errors import BadInput
from likeness.core.track import Maps, Track


@dataclass(frozen=True)
class Window:
    """`side` pixels of the original from (`left`, `top`) on, shown as `size` x `size` pixels.

    It may be fractional and may reach over the edges: colour is continued from the edge there,
    alpha is 0 and regions are background.
    """

    left: float
    top: float
    side: float
    size: int

    def __post_init__(self) -> None:
        if not (self.side > 0 and self.size > 0):
            raise BadInput(
                f"A window of side {self.side} shown at {self.size} pixels holds no picture. "
                "Both must be above 0."
            )

    @property
    def scale(self) -> float:
        """Pixels of the result per pixel of the original."""
        return self.size / self.side


@dataclass(frozen=True)
class CroppedPictures:
    """Pictures seen through a window."""

    pictures: Pictures
    window: Window

    def rgb(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return cut(self.pictures.rgb(index), self.window)

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        alpha = self.pictures.alpha(index)
        return None if alpha is None else cut(alpha, self.window, beyond_edge=0)

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        regions = self.pictures.regions(index)
        return None if regions is None else cut(regions, self.window, beyond_edge=0, labels=True)


@dataclass(frozen=True)
class CroppedMaps:
    """A track's maps seen through a window."""

    maps: Maps
    window: Window

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        alpha = self.maps.alpha(index)
        return None if alpha is None else cut(alpha, self.window, beyond_edge=0)

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        regions = self.maps.regions(index)
        return None if regions is None else cut(regions, self.window, beyond_edge=0, labels=True)


def cut(
    picture: UInt8[np.ndarray, "H W *c"],
    window: Window,
    beyond_edge: int | None = None,
    labels: bool = False,
) -> UInt8[np.ndarray, "S S *c"]:
    """The window of one picture: averaged over areas when shrinking, bicubic when enlarging.

    `beyond_edge` is the value outside the picture; None continues the edge. `labels` are not mixed.
    """
    height, width = picture.shape[:2]
    right, bottom = window.left + window.side, window.top + window.side
    pad = (
        max(0, int(np.ceil(-window.top))),
        max(0, int(np.ceil(bottom - height))),
        max(0, int(np.ceil(-window.left))),
        max(0, int(np.ceil(right - width))),
    )
    left, top = window.left + pad[2], window.top + pad[0]
    if any(pad):
        around = ((pad[0], pad[1]), (pad[2], pad[3])) + ((0, 0),) * (picture.ndim - 2)
        if beyond_edge is None:
            picture = np.pad(picture, around, mode="edge")
        else:
            picture = np.pad(picture, around, constant_values=beyond_edge)
    box = (left, top, left + window.side, top + window.side)
    shrinking = window.side > window.size
    filter = Image.Resampling.BOX if shrinking else Image.Resampling.BICUBIC
    if labels:
        filter = Image.Resampling.NEAREST
    elif window.side == window.size and left == int(left) and top == int(top):
        x, y = int(left), int(top)
        return np.ascontiguousarray(picture[y : y + window.size, x : x + window.size])
    image = Image.fromarray(picture).resize((window.size, window.size), filter, box=box)
    return np.array(image)


def cropped_capture(capture: Capture, left: float, top: float, side: float, size: int) -> Capture:
    """The same capture through a window: pictures, focal length, backdrop and track all follow.

    Where the window lies in the original is kept in `notes["window"]`, through a second crop too.
    """
    window = Window(left, top, side, size)
    focal = capture.focal
    if focal is not None:
        scaled = tuple(f * window.scale for f in np.atleast_1d(np.asarray(focal, float)))
        focal = scaled if isinstance(capture.focal, tuple) else scaled[0]
    background = capture.background
    return replace(
        capture,
        pictures=CroppedPictures(capture.pictures, window),
        size=(size, size),
        focal=focal,
        background=None if background is None else cut(background, window),
        track=None if capture.track is None else cropped_track(capture.track, window),
        notes={**capture.notes, "window": _in_original(window, capture)},
    )


def _in_original(window: Window, capture: Capture) -> dict[str, float]:
    outer = capture.notes.get("window")
    if not isinstance(outer, dict):
        width, height = capture.size
        outer = {"left": 0.0, "top": 0.0, "side": width, "size": width}
        outer.update(width=width, height=height)
    per_pixel = outer["side"] / outer["size"]
    return {
        "left": outer["left"] + window.left * per_pixel,
        "top": outer["top"] + window.top * per_pixel,
        "side": window.side * per_pixel,
        "size": window.size,
        "width": outer["width"],
        "height": outer["height"],
    }


def cropped_track(track: Track, window: Window) -> Track:
    """The track of the pictures seen through `window`."""
    k = track.cameras.intrinsics
    corner = k.new_tensor([[0, 0, window.left], [0, 0, window.top], [0, 0, 0]])
    scale = k.new_tensor([window.scale, window.scale, 1.0])[:, None]
    camera = Camera(scale * (k - corner), track.cameras.camera_from_world, window.size, window.size)
    landmarks = track.landmarks
    if landmarks is not None:
        landmarks = (landmarks - corner[:2, 2].to(landmarks)) * window.scale
    return replace(
        track,
        cameras=camera,
        landmarks=landmarks,
        maps=None if track.maps is None else CroppedMaps(track.maps, window),
        backdrop=None if track.backdrop is None else cut(track.backdrop, window),
    )
