"""How long work tells whoever waits for it. The library calls; a door decides how it looks."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Listener(Protocol):
    """What a door shows. `begin` opens a bar (nested bars are fine), `end` closes the last one."""

    def begin(self, what: str, total: int | None) -> None: ...

    def advance(self, by: int = 1, note: str = "") -> None: ...

    def end(self) -> None: ...


class _Nobody:
    def begin(self, what: str, total: int | None) -> None:
        pass

    def advance(self, by: int = 1, note: str = "") -> None:
        pass

    def end(self) -> None:
        pass


_NOBODY = _Nobody()
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within this block, long work reports to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def stage(what: str, total: int | None = None) -> Iterator[Listener]:
    """A piece of work with a name; call `advance` on what this yields."""
    listener = _listener.get() or _NOBODY
    listener.begin(what, total)
    try:
        yield listener
    finally:
        listener.end()


def counted(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """`items`, reporting each one when it is done with."""
    size = total if total is not None else (len(items) if hasattr(items, "__len__") else None)  # type: ignore[arg-type]
    with stage(what, size) as listener:
        for item in items:
            yield item
            listener.advance()
