"""What was recorded: read-only, and loaded picture by picture."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from likeness.core.errors import BadInput

if TYPE_CHECKING:
    from likeness.core.track import Track


@runtime_checkable
class Pictures(Protocol):
    """Where pictures come from. One at a time; implementations keep memory flat in clip length."""

    def rgb(self, index: int) -> UInt8[np.ndarray, "H W 3"]: ...

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        """How much of each pixel is the person, 0-255, when the recording says so."""
        ...

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        """`core.regions` labels, when the recording brings them."""
        ...


@dataclass(frozen=True, eq=False)
class Sound:
    """Mono samples in [-1, 1]."""

    samples: Float[Tensor, " S"]
    rate: int


@dataclass(frozen=True)
class Splits:
    """Which frames train and which are held out; indices into the capture."""

    train: tuple[int, ...]
    validation: tuple[int, ...] = ()
    test: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """A moment as recorded. Pictures load when touched."""

    index: int
    time: float
    name: str
    pictures: Pictures

    @property
    def rgb8(self) -> UInt8[np.ndarray, "H W 3"]:
        return self.pictures.rgb(self.index)

    @property
    def rgb(self) -> Float[Tensor, "H W 3"]:
        return torch.from_numpy(self.rgb8).float() / 255

    @property
    def alpha(self) -> Float[Tensor, "H W"] | None:
        alpha = self.pictures.alpha(self.index)
        return None if alpha is None else torch.from_numpy(alpha).float() / 255

    @property
    def regions(self) -> Int[Tensor, "H W"] | None:
        regions = self.pictures.regions(self.index)
        return None if regions is None else torch.from_numpy(regions).long()


@dataclass(frozen=True, eq=False)
class Capture:
    """All moments of one recording.

    `times` are seconds (photos: 0, 1, 2, ... and `fps` is None). `size` is (width, height) of the
    first picture; photos may differ. `focal` is in pixels where the file tells (EXIF, a data set).
    `background` is the clean backdrop when the recording brings one. `track` is what the authors
    of the data set inferred, when the layout brings that. `consent` says who agreed to what.
    """

    name: str
    pictures: Pictures
    times: tuple[float, ...]
    size: tuple[int, int]
    fps: float | None = None
    names: tuple[str, ...] = ()
    splits: Splits | None = None
    sound: Sound | None = None
    focal: tuple[float, ...] | float | None = None
    background: UInt8[np.ndarray, "H W 3"] | None = None
    track: "Track | None" = None
    consent: str | None = None
    source: str = ""
    notes: dict[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, index: int) -> Frame:
        if not -len(self) <= index < len(self):
            raise BadInput(f"{self.name!r} has {len(self)} frames; there is no frame {index}.")
        index %= len(self)
        name = self.names[index] if self.names else f"{index:06d}"
        return Frame(index, self.times[index], name, self.pictures)

    def __iter__(self) -> Iterator[Frame]:
        return (self[i] for i in range(len(self)))


def last_fifth(count: int) -> Splits:
    """Our usual protocol: the last 20 % of the frames are held out."""
    cut = count - count // 5
    return Splits(train=tuple(range(cut)), test=tuple(range(cut, count)))


def parted(capture: Capture, seen: Collection[int]) -> Splits:
    """The capture's own splits, or the usual protocol; where all that is `seen` lies on one side of
    it (the rest shows nobody, or another scene), the usual protocol among the frames seen."""
    splits, among = capture.splits or last_fifth(len(capture)), set(seen)
    if not among or (among.intersection(splits.train) and among.intersection(splits.test)):
        return splits
    if not splits.test and among.intersection(splits.train):
        return splits  # a data set that holds nothing out
    frames = sorted(among)
    inner = last_fifth(len(frames))
    return Splits(tuple(frames[i] for i in inner.train), (), tuple(frames[i] for i in inner.test))


def interleaved(splits: Splits) -> Splits:
    """The same with blocks held out of training: 4 frames in the middle of every 40 (a tenth, when
    there are fewer). They become the validation split; the test split stays."""
    count = len(splits.train)
    period = min(40, max(count, 1))
    size = max(1, period // 10)
    first = (period - size) // 2
    out = [first <= i % period < first + size for i in range(count)]
    return Splits(
        train=tuple(f for f, held in zip(splits.train, out) if not held),
        validation=tuple(f for f, held in zip(splits.train, out) if held),
        test=splits.test,
    )
