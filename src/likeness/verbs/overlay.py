"""`likeness overlay`: what a tracker found, drawn over the recording; and its curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from likeness.core.batching import take
from likeness.core.camera import Camera, project, resized
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, unknown
from likeness.core.files import write_text
from likeness.core.geometry import transform
from likeness.core.media import VideoWriter, save_png
from likeness.core.progress import counted
from likeness.core.regions import REGIONS
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.ops.mesh import interpolate, rasterise
from likeness.ops.shading import vertex_normals
from likeness.rigs import RIGS
from likeness.verbs.curves import curves
from likeness.verbs.loading import open_pair
from likeness.verbs.preview import labelled

LAYERS = ("mesh", "landmarks", "axes", "regions", "matte")
_FILMS, _STRIPS = (".mp4", ".mov", ".webm"), (".png",)
_AXIS = 0.08  # metres
_AXES = ((230, 70, 60), (80, 190, 90), (70, 120, 240))  # x, y, z
_LINES, _DOTS, _CLAY = (255, 214, 64), (255, 255, 255), np.array([235.0, 190.0, 160.0])
# fmt: off
_TINTS = np.array([
    (0, 0, 0), (236, 170, 140), (120, 70, 40), (245, 245, 245), (60, 110, 220), (214, 60, 84),
    (110, 20, 40), (250, 240, 200), (230, 110, 140), (150, 90, 200), (240, 140, 60), (200, 160, 60),
    (60, 160, 130), (150, 90, 200),
], np.float32)
# fmt: on


def overlay(
    capture: Path,
    track: Path,
    out: Path,
    draw: str = "mesh,axes,landmarks|regions,matte",
    size: int = 480,
    first: int = 0,
    frames: int | None = None,
    columns: int = 5,
) -> str:
    """Draw what was tracked over the recording, or its curves: look before you train.

    A .mp4, .mov or .webm is a film, a .png a strip of a few frames, a .svg the curves of pose and
    expression over time.

    Args:
        capture: The capture folder.
        track: Its track folder.
        out: The film, strip or plot to write.
        draw: Layers of mesh, landmarks, axes, regions and matte; | begins another panel.
        size: Pixels of a panel's height.
        first: The first frame of a film or strip.
        frames: How many frames; to the end unless given.
        columns: How many frames a strip shows, evenly over them.
    """
    out, panels = Path(out), panels_of(draw)
    if not 64 <= size <= 2160:
        raise BadInput(f"--size {size} is outside 64 to 2160 pixels.")
    if out.suffix.lower() not in (*_FILMS, *_STRIPS, ".svg"):
        raise BadInput(f"{out} should end in .mp4, .mov, .webm (film), .png (strip) or .svg.")
    recording, found = open_pair(capture, track)
    last = len(recording) if frames is None else min(len(recording), first + frames)
    if not 0 <= first < last or columns < 1:
        raise BadInput(
            f"--first {first} and --frames {frames} choose none of {len(recording)} frames."
        )
    if out.suffix.lower() == ".svg":
        write_text(out, curves(found, recording.times, names_of(found), recording.name))
        return f"{out}  curves of {len(found)} frames"
    lens = Lens(recording, found, rig_of(found), size)
    if out.suffix.lower() in _STRIPS:
        chosen = np.linspace(first, last - 1, min(columns, last - first)).round().astype(int)
        rows = [
            np.concatenate([lens.panel(int(i), layers) for i in chosen], 1) for layers in panels
        ]
        save_png(out, np.concatenate(rows))
        return f"{out}  {len(chosen)} frames"
    with VideoWriter(out, recording.fps or 12.0) as film:
        for index in counted(range(first, last), "drawing the overlay"):
            parts = [lens.panel(index, layers) for layers in panels]
            film.write(np.concatenate(parts, 1))
    return f"{out}  {last - first} frames"


def panels_of(draw: str) -> list[list[str]]:
    panels = [
        [word for word in part.replace(" ", "").split(",") if word] for part in draw.split("|")
    ]
    for word in (word for panel in panels for word in panel):
        if word not in LAYERS:
            raise unknown("layer", word, LAYERS)
    return panels


def rig_of(track: Track) -> Rig | None:
    """The rig of a track; None for rigs that are not installed (then there is no mesh)."""
    return RIGS.load(track.rig)() if track.rig in RIGS else None


def names_of(track: Track) -> tuple[str, ...]:
    rig, width = rig_of(track), track.expressions.coefficients.shape[-1]
    named = rig is not None and len(rig.shape_names) == width
    return tuple(rig.shape_names) if named else tuple(f"{i}" for i in range(width))  # type: ignore[union-attr]


@dataclass(frozen=True, eq=False)
class Lens:
    """Frames of a recording, enlarged, with layers of its track over them."""

    capture: Capture
    track: Track
    rig: Rig | None
    size: int

    def panel(self, index: int, layers: Sequence[str]) -> UInt8[np.ndarray, "H W 3"]:
        """One frame with some layers."""
        plain = self.capture[index].rgb8
        camera = take(self.track.cameras, index)
        scale = self.size / plain.shape[0]
        width, height = max(2, round(plain.shape[1] * scale) & ~1), self.size & ~1
        picture = np.asarray(
            cv2.resize(plain, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8
        )
        seen = float(self.track.confidence[index]) > 0
        near = resized(camera, width, height)
        # what covers comes before what is drawn thin
        if "regions" in layers:
            picture = self._regions(picture, index)
        if "mesh" in layers and seen:
            picture = self._mesh(picture, near, index)
        if "matte" in layers:
            self._matte(picture, index)
        if "landmarks" in layers and seen and self.track.landmarks is not None:
            points = self.track.landmarks[index].numpy()
            _dots(picture, points * [width / plain.shape[1], height / plain.shape[0]])
        if "axes" in layers and seen:
            self._axes(picture, near, index)
        words = ", ".join(layers) or "recording"
        return labelled(picture, f"{index}  {words}" + ("" if seen else "  (no face)"))

    def _regions(self, picture: np.ndarray, index: int) -> np.ndarray:
        labels = self.track.maps.regions(index) if self.track.maps is not None else None
        if labels is None:
            return picture
        size = (picture.shape[1], picture.shape[0])
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        tint = _TINTS[np.minimum(labels, len(REGIONS) - 1)]
        share = 0.55 * (labels > 0)[..., None]
        return (picture * (1 - share) + tint * share).astype(np.uint8)

    def _mesh(self, picture: np.ndarray, camera: Camera, index: int) -> np.ndarray:
        """The posed surface as half-transparent clay, lit from the camera."""
        if self.rig is None:
            return picture
        moment = take(self.track.expressions, index)
        mesh = self.rig.pose(self.track.identity, moment)
        normals = vertex_normals(mesh.vertices, mesh.triangles)
        raster = rasterise(camera, mesh.vertices, mesh.triangles, cull=True)
        facing = interpolate(raster, normals @ camera.camera_from_world[:3, :3].T)
        light = (0.25 + 0.75 * (-facing[..., 2]).clamp(min=0)).numpy()[..., None]
        share = 0.5 * raster.mask.numpy()[..., None]
        return (picture * (1 - share) + _CLAY * light * share).astype(np.uint8)

    def _matte(self, picture: np.ndarray, index: int) -> None:
        alpha = self.track.maps.alpha(index) if self.track.maps is not None else None
        if alpha is None:
            return
        size = (picture.shape[1], picture.shape[0])
        person = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR) >= 128
        found = cv2.findContours(
            person.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )[0]  # fmt: skip
        cv2.drawContours(picture, found, -1, _LINES, max(1, self.size // 300), cv2.LINE_AA)

    def _axes(self, picture: np.ndarray, camera: Camera, index: int) -> None:
        """Left (red), up (green) and ahead (blue) from between the eyes."""
        ends = torch.cat([torch.zeros(1, 3), _AXIS * torch.eye(3)])
        world = transform(self.track.expressions.world_from_head[index], ends)
        at = project(camera, world).numpy()
        for end, colour in zip(at[1:], _AXES, strict=True):
            cv2.arrowedLine(
                picture, _at(at[0]), _at(end), colour, max(2, self.size // 200),
                cv2.LINE_AA, 4, 0.15,
            )  # fmt: skip


def _dots(picture: np.ndarray, points: Float[np.ndarray, "K 2"]) -> None:
    radius = max(1, picture.shape[0] // 400)
    for point in points[np.isfinite(points).all(-1)]:
        cv2.circle(picture, _at(point), 16 * radius, _DOTS, -1, cv2.LINE_AA, 4)


def _at(point: np.ndarray) -> tuple[int, int]:
    """OpenCV's sixteenths of a pixel, counted from the middle of the first."""
    return int(round(16 * (point[0] - 0.5))), int(round(16 * (point[1] - 0.5)))
