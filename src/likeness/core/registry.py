"""Names to things, loaded when asked for. Built-in rows and other packages' rows look the same."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from likeness.core.errors import LikenessError, unknown


class Registry:
    """Rows of `name: "module:attribute"`. Entry points of group `likeness.<kind>` join the lookup.

    >>> Registry("number", {"pi": "math:pi"}).load("pi")
    3.141592653589793
    """

    def __init__(self, kind: str, rows: Mapping[str, str]) -> None:
        self.kind = kind
        self._rows = dict(rows)
        self._all: dict[str, str] | None = None

    def rows(self) -> dict[str, str]:
        """Every row, ours and the entry points'. A guest cannot replace a built-in name."""
        if self._all is None:
            guests = {e.name: e.value for e in entry_points(group=f"likeness.{self.kind}")}
            self._all = {**guests, **self._rows}
        return self._all

    def add(self, name: str, row: str) -> None:
        """A row for as long as this process lives, as a script's own plug-in needs it. Adding the
        same row again is fine; a name that is taken is refused."""
        taken = self.rows().get(name, row)
        if taken != row:
            raise LikenessError(
                f"The {self.kind} {name!r} is already {taken}. Choose another name for {row}."
            )
        self.rows()[name] = row

    def names(self) -> list[str]:
        return list(self.rows())

    def __contains__(self, name: object) -> bool:
        return name in self.rows()

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows())

    def load(self, name: str) -> Any:
        """The thing itself. An unknown name raises with the nearest known one."""
        rows = self.rows()
        if name not in rows:
            raise unknown(self.kind, name, rows)
        module, _, attribute = rows[name].partition(":")
        try:
            loaded = import_module(module)
        except ModuleNotFoundError as error:
            if error.name and (module == error.name or module.startswith(error.name + ".")):
                raise LikenessError(
                    f"The {self.kind} {name!r} is registered as {rows[name]!r}, "
                    f"but there is no module {error.name!r}. Reinstall the package that adds it."
                ) from error
            raise LikenessError(
                f"The {self.kind} {name!r} needs the Python module {error.name!r}. "
                f"Install it, or run `likeness doctor` to see which extra brings it."
            ) from error
        return getattr(loaded, attribute) if attribute else loaded
