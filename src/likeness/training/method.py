"""What the training loop and the loader know of a method, and nothing else."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from likeness.core.capture import Capture
from likeness.core.track import Track


@runtime_checkable
class Method(Protocol):
    """Settings that are a method: five functions and `steps`, and `restore` for the loader."""

    steps: int

    def build(self, capture: Capture, track: Track) -> nn.Module: ...

    def batches(self, capture: Capture, track: Track, generator: Generator) -> Iterator[Any]: ...

    def optimizer(self, avatar: Any) -> Optimizer: ...

    def losses(self, avatar: Any, view: Any, step: int) -> dict[str, Tensor]: ...

    def after_step(self, avatar: Any, optimizer: Optimizer, step: int) -> None: ...

    def restore(self, state: dict[str, Tensor]) -> nn.Module: ...
