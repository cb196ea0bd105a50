"""Files that are either whole or not there, and that say what they are."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as _tensor_bytes
from torch import Tensor

from likeness.core.errors import BadInput, LikenessError


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`; it takes its place only when the block ends well.

    The suffix is kept, so that writers which look at it still work. A full or read-only disk
    becomes one clear line.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem[:80]}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cannot_write(path: Path, error: OSError) -> LikenessError:
    """The one line for a disk that is full, read-only or not ours."""
    if error.errno == errno.ENOSPC:
        return LikenessError(f"The disk is full: {path} could not be written. Free some space.")
    reason = error.strerror or str(error)
    return LikenessError(f"{path} cannot be written ({reason}). Choose another --out.")


def write_bytes(path: str | Path, data: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, data: Mapping[str, Any], format: int = 1) -> None:
    """JSON with the number of its format first. NaN is refused: JSON has none."""
    whole = {"format": format, **data}
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
    write_text(path, text + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not fit in JSON")


def read_json(path: str | Path, newest: int = 1) -> dict[str, Any]:
    """An object we wrote; a file of a newer format than `newest` is refused by name."""
    data = read_any_json(path)
    if not isinstance(data, dict):
        raise BadInput(f"{path} holds a JSON {type(data).__name__}, not an object.")
    found = data.get("format")
    if not isinstance(found, int) or isinstance(found, bool):
        raise BadInput(f"{path} has no 'format' number, so it was not written by likeness.")
    if found > newest:
        raise BadInput(
            f"{path} is of format {found}; this version reads up to {newest}. Upgrade likeness."
        )
    return data


def read_any_json(path: str | Path) -> Any:
    """JSON from anywhere; what is wrong with it becomes one line."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadInput(
            f"{path} is not readable JSON ({error}); it may be truncated. Copy or export it again."
        ) from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}).") from error


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None
) -> None:
    """A safetensors file. Tensors are stored contiguous, on the CPU, without shared memory."""
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    write_bytes(path, _tensor_bytes(plain, metadata=dict(notes or {})))


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    return load_tensors_and_notes(path)[0]


def load_tensors_and_notes(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    path = Path(path)
    if not path.exists():
        raise BadInput(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{path} is not a whole safetensors file ({error}).") from error


def sha256(path: str | Path) -> str:
    """The hash of a file, or of all files below a folder with their relative names."""
    path = Path(path)
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def only_one(folder: str | Path) -> Iterator[None]:
    """Hold a folder for one run. A second run in it is refused; a dead run's hold is void."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("a+")
    except OSError as error:
        raise cannot_write(folder, error) from error
    with handle:
        if not _try_lock(handle):
            raise LikenessError(
                f"Another run is working in {folder}. Wait for it, or choose another --out."
            )
        yield


def _try_lock(handle: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: msvcrt locks a byte range instead of the file
        import msvcrt

        try:
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
