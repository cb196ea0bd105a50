"""Our account of a Capture."""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from likeness.core.camera import Camera
from likeness.core.expression import Expression
from likeness.core.rig import Identity


@runtime_checkable
class Maps(Protocol):
    """Per-pixel findings of a tracker, one frame at a time, the size of the capture's pictures."""

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None: ...

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"] | None: ...


@dataclass(frozen=True, eq=False)
class Track:
    """Cameras, expressions and identity behind each frame of a capture.

    Row `i` of every batch is frame `i`. `confidence` is 0 where no face was found: such rows hold
    the nearest tracked pose so that nothing is undefined, and must not be trained on. `landmarks`
    are pixels, NaN where there is none. `backdrop` is the clean background as the first frame's
    camera sees it; `maps` the mattes and semantic regions. `bends` is how far, in picture widths,
    each mode of `expressions.torso` moves what is seen at a place of the picture, on an even grid
    over all of it. `report` is the capture check and other plain figures.
    """

    BATCHED: ClassVar[tuple[str, ...]] = ("cameras", "expressions", "confidence", "landmarks")

    cameras: Camera
    expressions: Expression
    identity: Identity
    confidence: Float[Tensor, " T"]
    landmarks: Float[Tensor, "T K 2"] | None = None
    maps: Maps | None = None
    backdrop: UInt8[np.ndarray, "H W 3"] | None = None
    report: dict[str, object] = field(default_factory=dict)
    bends: Float[Tensor, "M h w 2"] | None = None

    @property
    def rig(self) -> str:
        return self.identity.rig

    def __len__(self) -> int:
        return self.confidence.shape[0]
