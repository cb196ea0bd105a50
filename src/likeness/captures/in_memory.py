"""Captures of pictures that are in memory already."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from likeness.core.capture import Capture


class InMemory:
    """Pictures as they are, without mattes or regions."""

    def __init__(self, pictures: Sequence[UInt8[np.ndarray, "H W 3"]]) -> None:
        self.pictures = pictures

    def rgb(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return self.pictures[index]

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


def in_memory(
    pictures: Sequence[UInt8[np.ndarray, "H W 3"]], fps: float | None = 25.0, name: str = "clip"
) -> Capture:
    """A clip of pictures, or photos where there is no `fps`."""
    height, width = pictures[0].shape[:2]
    times = tuple(i / (fps or 1) for i in range(len(pictures)))
    return Capture(name, InMemory(pictures), times, (width, height), fps=fps)
