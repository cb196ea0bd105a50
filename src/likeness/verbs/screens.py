"""Where live pictures go: a window, or a virtual camera that other programs look through."""

import os
import sys
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from likeness.core.errors import Missing

SCREENS = ("window", "virtual", "none")
_QUIT = (27, ord("q"))


class Screen(Protocol):
    def show(self, picture: UInt8[np.ndarray, "H W 3"]) -> bool:
        """False when whoever watches asked to stop."""
        ...

    def close(self) -> None: ...


class Nowhere:
    """For films without a watcher."""

    def show(self, picture: UInt8[np.ndarray, "H W 3"]) -> bool:
        return True

    def close(self) -> None:
        pass


class Window:
    """An OpenCV window. q, Esc or its close button end the show."""

    def __init__(self, title: str) -> None:
        # Qt ends the whole process where there is no display, so that is asked first
        known = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if sys.platform.startswith("linux") and not known:
            raise Missing(
                "--show window: there is no display here (DISPLAY is not set). Use --show none "
                "--out FILM.mp4, or --show virtual."
            )
        import cv2

        self.title, self._cv2 = title, cv2
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise Missing(
                "--show window: this OpenCV was built without windows (opencv-python-headless). "
                "Install opencv-contrib-python in its place, or use --show virtual or none."
            ) from error

    def show(self, picture: UInt8[np.ndarray, "H W 3"]) -> bool:
        cv2 = self._cv2
        cv2.imshow(self.title, np.ascontiguousarray(picture[..., ::-1]))
        if cv2.waitKey(1) & 0xFF in _QUIT:
            return False
        return cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        self._cv2.destroyWindow(self.title)


class VirtualCamera:
    """A camera that video calls can choose, by `pyvirtualcam`; opened with the first picture."""

    def __init__(self, fps: float) -> None:
        try:
            import pyvirtualcam  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise Missing(
                "--show virtual needs pyvirtualcam, which is yours to install (it is GPL): "
                "pip install pyvirtualcam, and v4l2loopback (Linux) or OBS (Windows, macOS)."
            ) from error
        self.fps, self._library = fps, pyvirtualcam
        self._camera: Any = None

    def show(self, picture: UInt8[np.ndarray, "H W 3"]) -> bool:
        if self._camera is None:
            height, width = picture.shape[:2]
            try:
                self._camera = self._library.Camera(width, height, self.fps)
            except (RuntimeError, OSError) as error:
                raise Missing(
                    f"--show virtual: no virtual camera opens ({' '.join(str(error).split())}). "
                    "Linux: modprobe v4l2loopback. Windows and macOS: install OBS and start its "
                    "virtual camera once."
                ) from error
        self._camera.send(np.ascontiguousarray(picture))
        return True

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()


def open_screen(kind: str, title: str, fps: float) -> Screen:
    """One of `SCREENS`."""
    if kind == "window":
        return Window(title)
    return VirtualCamera(fps) if kind == "virtual" else Nowhere()
