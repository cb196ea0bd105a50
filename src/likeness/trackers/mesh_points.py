"""Face meshes in pictures: 478 points where MediaPipe finds a face, nothing where it does not."""

import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

POINTS = 478
_FACE_WIDTH = (234, 454)
_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """MediaPipe's native code writes to standard error whatever one asks of it: not here."""
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)
        return
    yield


@dataclass(frozen=True)
class Found:
    """One face in one picture: points in pixels (x, y, and a depth in the same unit)."""

    points: Float[np.ndarray, "478 3"]

    @property
    def width(self) -> float:
        return float(np.ptp(self.points[:468, 0]))

    @property
    def centre(self) -> Float[np.ndarray, " 2"]:
        return 0.5 * (self.points[:468, :2].min(0) + self.points[:468, :2].max(0))


class FaceMesh:
    """MediaPipe's face mesh as a function of one picture.

    With `video` it follows a face from picture to picture (faster, steadier, a little late);
    without, each picture stands alone. Use in a `with` block: it holds native memory.
    """

    def __init__(self, video: bool = False, faces: int = 1, confidence: float = 0.5) -> None:
        import mediapipe as mp

        with quietly():
            self._mesh: Any = mp.solutions.face_mesh.FaceMesh(  # type: ignore[attr-defined]
                static_image_mode=not video,
                max_num_faces=faces,
                refine_landmarks=True,
                min_detection_confidence=confidence,
                min_tracking_confidence=confidence,
            )

    def __enter__(self) -> "FaceMesh":
        return self

    def __exit__(self, *_: object) -> None:
        with quietly():
            self._mesh.close()

    def find(self, picture: UInt8[np.ndarray, "H W 3"]) -> list[Found]:
        """All faces, largest first."""
        with quietly():
            answer = self._mesh.process(np.ascontiguousarray(picture)).multi_face_landmarks
        height, width = picture.shape[:2]
        size = np.array([width, height, width], np.float32)
        faces = []
        for face in answer or ():
            points = np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32) * size
            if np.isfinite(points).all():
                faces.append(Found(points))
        return sorted(faces, key=lambda f: -f.width)

    def find_in(
        self, picture: UInt8[np.ndarray, "H W 3"], centre: np.ndarray, side: float, size: int = 384
    ) -> Found | None:
        """The largest face in a square of the picture, looked at enlarged or reduced."""
        return close_look(self.find, picture, centre, side, size)


def close_look(
    find: Callable[[np.ndarray], list[Found]],
    picture: UInt8[np.ndarray, "H W 3"],
    centre: np.ndarray,
    side: float,
    size: int,
) -> Found | None:
    """The largest face that `find` sees in a square of the picture, shown to it `size` wide."""
    left, top = centre[0] - side / 2, centre[1] - side / 2
    box = (left, top, left + side, top + side)
    image = Image.fromarray(picture)
    crop = image.transform((size, size), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    found = find(np.asarray(crop))
    if not found:
        return None
    points = found[0].points * (side / size)
    return Found(points + np.array([left, top, 0], np.float32))


class FaceBoxes:
    """MediaPipe's face detector for faces of any size: rough boxes (x, y, side), best first."""

    def __init__(self, confidence: float = 0.4) -> None:
        import mediapipe as mp

        with quietly():
            self._near, self._far = (
                mp.solutions.face_detection.FaceDetection(  # type: ignore[attr-defined]
                    model_selection=which, min_detection_confidence=confidence
                )
                for which in (0, 1)
            )

    def __enter__(self) -> "FaceBoxes":
        return self

    def __exit__(self, *_: object) -> None:
        with quietly():
            self._near.close()
            self._far.close()

    def find(self, picture: UInt8[np.ndarray, "H W 3"]) -> list[tuple[float, float, float]]:
        """Centres and sides of faces; a picture without any is searched in overlapping tiles."""
        found = self._look(picture, 0, 0)
        height, width = picture.shape[:2]
        if not found:
            side = max(64, min(height, width) // 2)
            for top in _starts(height, side):
                for left in _starts(width, side):
                    found += self._look(picture[top : top + side, left : left + side], left, top)
        return sorted(_distinct(found), key=lambda f: -f[2])

    def _look(
        self, picture: UInt8[np.ndarray, "H W 3"], left: int, top: int
    ) -> list[tuple[float, float, float]]:
        height, width = picture.shape[:2]
        boxes = []
        for detector in (self._near, self._far):
            with quietly():
                answer = detector.process(np.ascontiguousarray(picture)).detections
            for one in answer or ():
                box = one.location_data.relative_bounding_box
                side = max(box.width * width, box.height * height)
                x = left + (box.xmin + box.width / 2) * width
                y = top + (box.ymin + box.height / 2) * height
                boxes.append((x, y, side))
        return boxes


def _starts(length: int, side: int) -> list[int]:
    return list(range(0, max(1, length - side + 1), max(1, side // 2)))


def _distinct(boxes: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    kept: list[tuple[float, float, float]] = []
    for x, y, side in sorted(boxes, key=lambda b: -b[2]):
        if all(max(abs(x - a), abs(y - b)) > 0.5 * s for a, b, s in kept):
            kept.append((x, y, side))
    return kept
