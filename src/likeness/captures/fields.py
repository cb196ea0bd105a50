"""Fields of other people's files, with their type, size and finiteness checked as they are read."""

import contextlib
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float64, Shaped

from likeness.core.errors import BadInput, did_you_mean

T = TypeVar("T")
REQUIRED: Any = object()
_NOT_THERE = object()
_LARGEST = (
    1e30  # what float32 holds with room for arithmetic; no recording measures anything so big
)


def _shown(value: Any) -> str:
    shown = " ".join(repr(value).split())  # arrays are shown in several lines
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _field(data: Any, key: str, where: Path | str, default: Any) -> Any:
    if not isinstance(data, Mapping):
        raise BadInput(f"{where} holds {_shown(data)} where an object with {key!r} belongs.")
    value = data.get(key, _NOT_THERE)
    if value is not _NOT_THERE and not (value is None and default is not REQUIRED):
        return value
    if default is REQUIRED:
        hint = did_you_mean(key, [k for k in data if isinstance(k, str)][:12])
        raise BadInput(f"{where} has no {key!r}. {hint} Export it again, or add the field.")
    return _NOT_THERE


def number(data: Any, key: str, where: Path | str, default: T = REQUIRED) -> float | T:
    """One finite number."""
    value = _field(data, key, where, default)
    if value is _NOT_THERE:
        return default
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not (plain and abs(value) < _LARGEST):
        raise BadInput(f"{where} has {key!r} = {_shown(value)}; it must be a finite number.")
    return float(value)


def text(data: Any, key: str, where: Path | str, default: T = REQUIRED) -> str | T:
    value = _field(data, key, where, default)
    if value is _NOT_THERE:
        return default
    if not isinstance(value, str):
        raise BadInput(f"{where} has {key!r} = {_shown(value)}; it must be text.")
    return value


def flag(data: Any, key: str, where: Path | str) -> bool:
    """True or false; false when absent."""
    value = _field(data, key, where, False)
    if value is _NOT_THERE:
        return False
    if not isinstance(value, bool):
        raise BadInput(f"{where} has {key!r} = {_shown(value)}; it must be true or false.")
    return value


def file_name(data: Any, key: str, where: Path | str, default: T = REQUIRED) -> str | T:
    """Text that can be the path of a file."""
    value = text(data, key, where, default)
    return possible_path(value, where, repr(key)) if isinstance(value, str) else value


def possible_path(value: str, where: Path | str, what: str) -> str:
    """Refuses what no file system takes, at which looking for the file would raise."""
    strange = any(letter < " " or "\ud800" <= letter <= "\udfff" for letter in value)
    if strange or any(len(part.encode()) > 255 for part in value.split("/")) or len(value) > 4000:
        raise BadInput(f"{where} has {what} = {_shown(value)}; it must be the path of a file.")
    return value


def numbers(
    data: Any,
    key: str,
    where: Path | str,
    default: tuple[float, ...] = REQUIRED,
    length: int | None = None,
) -> tuple[float, ...]:
    """A list of finite numbers."""
    value = _field(data, key, where, default)
    if value is _NOT_THERE:
        return default
    found = array(value, where, f"{key!r}", (length,))
    return tuple(found.tolist())


def items(data: Any, key: str, where: Path | str) -> list[Any]:
    """A list that is not empty."""
    value = _field(data, key, where, REQUIRED)
    if not isinstance(value, list) or not value:
        raise BadInput(f"{where} has {key!r} = {_shown(value)}; it must be a list with entries.")
    return value


def matrix(
    data: Any, key: str, where: Path | str, shape: tuple[int | None, ...] = (4, 4)
) -> Float64[np.ndarray, "..."]:
    """Nested lists as an array of that shape; None in `shape` allows any length."""
    return array(_field(data, key, where, REQUIRED), where, f"{key!r}", shape)


def array(
    value: Any, where: Path | str, what: str, shape: tuple[int | None, ...]
) -> Float64[np.ndarray, "..."]:
    """Finite float64 numbers of that shape, out of whatever holds them."""
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"{where} has {what} = {_shown(value)}; it must hold numbers.") from error
    fits = found.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, found.shape, strict=True)
    )
    if not fits:
        wanted = "x".join("any" if s is None else str(s) for s in shape)
        got = "x".join(map(str, found.shape)) or "a single number"
        raise BadInput(f"{where} has {what} of size {got}; it must be {wanted}.")
    bad = np.argwhere(~(np.abs(found) < _LARGEST))
    if len(bad):
        raise BadInput(
            f"{where} has {what} with {found[tuple(bad[0])]} at {tuple(map(int, bad[0]))}. "
            "Take the frame out, or track it again."
        )
    return found


def pose(value: Any, where: Path | str, what: str) -> Float64[np.ndarray, "4 4"]:
    """A rigid motion: 3x4, or 4x4 with 0 0 0 1 below; its rotation true to 1 %, unmirrored."""
    try:
        rows = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        rows = np.zeros(())
    shape = (3, 4) if rows.shape == (3, 4) else (4, 4)
    whole = np.eye(4)
    whole[: shape[0]] = array(value, where, what, shape)
    if np.abs(whole[3] - [0, 0, 0, 1]).max() > 1e-3:
        raise BadInput(f"{where} has {what} whose last row is {whole[3].tolist()}, not 0 0 0 1.")
    turn = whole[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 0.02 or np.linalg.det(turn) < 0:
        raise BadInput(
            f"{where} has {what} whose rotation is no rotation (determinant "
            f"{np.linalg.det(turn):.3g}; it must be 1). Export it again."
        )
    return whole


def load_array(path: Path, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """A .npy file; pickled objects are refused."""
    with reading(path), path.open("rb") as stream:
        found = np.load(stream, allow_pickle=False)
    if not isinstance(found, np.ndarray):
        raise BadInput(f"{path} is an archive of arrays, not one array. Save it with numpy.save.")
    return found if shape is None else array(found, path, "an array", shape)


def load_arrays(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """All of a .npz file; entries that are pickled objects are left out."""
    found = {}
    with reading(path), path.open("rb") as stream:  # numpy leaves damaged files open otherwise
        archive = np.load(stream, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise BadInput(f"{path} is one array, not an archive (.npz) of named arrays.")
        for key in archive.files:
            with contextlib.suppress(ValueError):  # "Object arrays cannot be loaded"
                found[key] = archive[key]
    return found


def load_torch(path: Path) -> Any:
    """What torch.save wrote, as long as it is tensors and plain containers."""
    import pickle

    import torch

    if not path.is_file():
        raise BadInput(f"There is no file {path}.")
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old pickle protocols
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise BadInput(
                f"{path} is damaged or holds objects that are not safe to load. "
                "Save plain tensors with torch.save."
            ) from error


def one_line(error: BaseException) -> str:
    words = str(error).split()
    shown = " ".join(words)
    return shown if len(shown) <= 120 else shown[:117] + "..."


@contextlib.contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Whatever a damaged file makes a parser raise becomes one line that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {error.filename or path}.") from error
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        EOFError,
        OverflowError,
        MemoryError,
        RuntimeError,
        struct.error,
        SyntaxError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise BadInput(
            f"{path} is damaged or not what its name says ({type(error).__name__}: "
            f"{one_line(error)}). Copy or export it again."
        ) from error
