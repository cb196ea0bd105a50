"""Where live pictures come from: a camera, a stream, or a video played as if it were one."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from likeness.captures import open_capture
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, Missing

_CAMERA = re.compile(r"(?:camera|webcam)(?::(.+))?$|(\d+)$")
_STREAM = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PATIENCE = 3.0  # seconds without a picture before a camera counts as gone


@dataclass(frozen=True, eq=False)
class Shot:
    """One live picture, and when it was taken (seconds since the first)."""

    rgb8: UInt8[np.ndarray, "H W 3"]
    time: float


def is_camera(source: str) -> bool:
    """`camera`, `camera:1`, `camera:/dev/video2`, `webcam`, a number, or a stream's address."""
    return bool(_CAMERA.match(source) or _STREAM.match(source))


class Webcam:
    """A camera or a stream: always the newest picture, those that nobody had time for are dropped.

    A thread empties the camera's own queue, so that a slow avatar lags one picture, not thirty.
    Use in a `with` block.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        found = _CAMERA.match(source)
        self.what = f"The camera {source!r}" if found else f"The stream {source}"
        name = source if found is None else (found.group(1) or found.group(2) or "0")
        self._device: Any = _opened(int(name) if name.isdigit() else name, self.what)
        rate = float(self._device.get(5))  # CAP_PROP_FPS
        self.fps = rate if 1 <= rate <= 240 else None
        self.dropped = 0
        self.gone = False
        self._newest: Shot | None = None
        self._change = threading.Condition()
        self._stop = False

    def __enter__(self) -> "Webcam":
        self._thread = threading.Thread(target=self._watch, daemon=True, name="camera")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(_PATIENCE)
        self._device.release()

    def __iter__(self) -> Iterator[Shot]:
        """Pictures until the camera goes away; then `gone` is True."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._newest is not None or self.gone, _PATIENCE)
                shot, self._newest = self._newest, None
            if shot is None:
                self.gone = True
                return
            yield shot

    def _watch(self) -> None:
        began = time.monotonic()
        first: float | None = None
        while not self._stop:
            due = time.monotonic()
            whole, picture = self._device.read()
            now = time.monotonic()
            if whole and picture is not None:
                first = now if first is None else first
                shot = Shot(np.ascontiguousarray(picture[..., ::-1]), now - first)
                with self._change:
                    self.dropped += self._newest is not None
                    self._newest = shot
                    self._change.notify_all()
                began = now
                if self.fps is not None:  # files handed in as cameras do not wait by themselves
                    time.sleep(max(0.0, due + 0.9 / self.fps - time.monotonic()))
            elif now - began > 0.5:
                break
            else:
                time.sleep(0.02)
        with self._change:
            self.gone = True
            self._change.notify_all()


class Played:
    """A video as a live source: every picture in turn, however long each takes."""

    dropped = 0
    gone = False

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.fps = capture.fps
        self.what = f"The video {capture.name!r}"

    def __enter__(self) -> "Played":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Shot]:
        for frame in self.capture:
            yield Shot(frame.rgb8, frame.time)


def open_live(source: str) -> Webcam | Played:
    """A live source by its name; what is neither camera nor stream is played as a video."""
    if is_camera(source):
        return Webcam(source)
    path = Path(source)
    if not path.exists():
        raise BadInput(
            f"There is no file {source}. Live sources are `camera`, `camera:1`, the address of a "
            "stream such as rtsp://..., or a video."
        )
    return Played(open_capture(path))


def _opened(name: int | str, what: str) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise Missing("Live cameras need OpenCV, which comes with mediapipe.") from error
    cv2.setLogLevel(0)  # type: ignore[attr-defined]  # one line is ours to say
    device = cv2.VideoCapture(name)
    if not device.isOpened():
        device.release()
        raise BadInput(
            f"{what} does not open. Is it plugged in, allowed, and free of other programs? "
            "`camera:1` is the second one."
        )
    device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return device
