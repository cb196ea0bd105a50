"""Pickles by others, without running what is in them."""

import pickle
from collections.abc import Callable, Iterable, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from likeness.core.errors import BadInput

_NUMPY = {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}
_PLAIN = {
    ("collections", "OrderedDict"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "complex"),
    ("builtins", "slice"),
    ("_codecs", "encode"),
    ("copy_reg", "_reconstructor"),
    ("copyreg", "_reconstructor"),
    ("builtins", "object"),
    ("__builtin__", "object"),
    ("__builtin__", "set"),
}
_SPARSE = {"csc_matrix", "csr_matrix", "coo_matrix"}


class Inert:
    """What stands in for an object of a class we do not run: its state, and nothing else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state
        if isinstance(state, dict):
            self.__dict__.update({k: v for k, v in state.items() if isinstance(k, str)})


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, stream: Any, stand_ins: Mapping[str, Callable[..., Any]], encoding: str
    ) -> None:
        super().__init__(stream, encoding=encoding)
        self._stand_ins = stand_ins

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        top = module.partition(".")[0]
        if top == "numpy" and name in _NUMPY:
            return _numpy(name)
        if top == "scipy" and name in _SPARSE:
            import scipy.sparse

            return getattr(scipy.sparse, name)
        if top in self._stand_ins:
            return self._stand_ins[top]
        raise pickle.UnpicklingError(f"refuses {module}.{name}")


def _numpy(name: str) -> Any:
    core = np.core.multiarray  # type: ignore[attr-defined]
    if name in ("_reconstruct", "scalar"):
        return getattr(core, name)
    if name == "_frombuffer":
        return np.core.numeric._frombuffer  # type: ignore[attr-defined]
    return getattr(np, name)


def restricted_load(
    path: str | Path, stand_ins: Iterable[str] = (), encoding: str = "latin1"
) -> Any:
    """What a pickle holds: numbers, arrays, containers. Anything that could act is refused.

    Objects of the packages in `stand_ins` (such as "chumpy") come back as `Inert`.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            return restricted_read(stream, path, stand_ins, encoding)
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error


def restricted_read(
    stream: BufferedIOBase,
    where: str | Path,
    stand_ins: Iterable[str] = (),
    encoding: str = "latin1",
) -> Any:
    """`restricted_load` of an open stream, such as a member of an archive; `where` names it."""
    try:
        return _Unpickler(stream, dict.fromkeys(stand_ins, Inert), encoding).load()
    except (pickle.UnpicklingError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"{where} cannot be unpickled safely ({error}).") from error
    except (
        ArithmeticError, AttributeError, TypeError, LookupError, ImportError, MemoryError,
    ) as error:  # fmt: skip
        raise BadInput(
            f"{where} is not a whole pickle ({type(error).__name__}: {error})."
        ) from error
