"""A capture of pictures that are in memory."""

import numpy as np

from likeness.core.capture import Capture


class Held:
    """Pictures in memory, without mattes or labels."""

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures

    def rgb(self, index: int) -> np.ndarray:
        return self.pictures[index]

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


def held(pictures: list[np.ndarray], fps: float | None = 25.0) -> Capture:
    """A clip, or photos where there is no `fps`."""
    height, width = pictures[0].shape[:2]
    times = tuple(i / (fps or 1) for i in range(len(pictures)))
    return Capture("clip", Held(pictures), times, (width, height), fps=fps)
