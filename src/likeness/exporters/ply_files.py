"""PLY itself: elements with columns of numbers; ASCII or binary of either end."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from likeness.core.errors import BadInput

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_NAMES = {"i1": "char", "u1": "uchar", "i4": "int", "f4": "float", "f8": "double"}
_ENDS = {"binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class Element:
    """A named table. `lists` maps names to [N, K] arrays of lists that are all K long."""

    name: str
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    lists: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter([*self.columns.values(), *self.lists.values()]), ()))


def ply_bytes(elements: list[Element], comments: list[str] | None = None) -> bytes:
    """A binary little-endian file. Comments must be ASCII and of one line."""
    head = ["ply", "format binary_little_endian 1.0"]
    head += [f"comment {line}" for line in comments or []]
    bodies = []
    for element in elements:
        head.append(f"element {element.name} {len(element)}")
        layout: list = []
        for name, values in element.columns.items():
            kind = np.asarray(values).dtype.str[1:]
            head.append(f"property {_NAMES[kind]} {name}")
            layout.append((name, "<" + kind))
        for name, values in element.lists.items():
            head.append(f"property list uchar int {name}")
            layout += [(f"{name} count", "u1"), (name, "<i4", values.shape[1])]
        rows = np.zeros(len(element), np.dtype(layout))
        for name, values in element.columns.items():
            rows[name] = values
        for name, values in element.lists.items():
            rows[f"{name} count"], rows[name] = values.shape[1], values
        bodies.append(rows.tobytes())
    head.append("end_header")
    return ("\n".join(head) + "\n").encode("ascii") + b"".join(bodies)


def read_ply(path: str | Path) -> tuple[list[Element], list[str]]:
    """The elements up to and including `vertex`, and the comments. Lists before it are read only
    in ASCII files."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}).") from error
    end = data.find(b"end_header")
    stop = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0 or stop < 0:
        raise BadInput(f"{path} is not a whole PLY file: its header is missing or cut off.")
    form, declared, comments = _header(path, data[:end].decode("latin-1"))
    if form == "ascii":
        return _ascii(path, data[stop + 1 :].decode("latin-1"), declared), comments
    return _binary(path, data, stop + 1, _ENDS[form], declared), comments


def _header(path: Path, text: str) -> tuple[str, list, list[str]]:
    form, declared, comments = "", [], []
    for line in text.splitlines()[1:]:
        words = line.split()
        try:
            if words[:1] == ["format"]:
                form = words[1]
            elif words[:1] == ["comment"]:
                comments.append(line.partition(" ")[2].strip())
            elif words[:1] == ["element"]:
                declared.append((words[1], int(words[2]), []))
            elif words[:2] == ["property", "list"]:
                declared[-1][2].append((words[4], None))
            elif words[:1] == ["property"]:
                declared[-1][2].append((words[2], _TYPES[words[1]]))
        except (IndexError, KeyError, ValueError) as error:
            raise BadInput(f"{path} has a header line we cannot read: {line!r}.") from error
    if form != "ascii" and form not in _ENDS:
        raise BadInput(f"{path} is a PLY of format {form!r}; ascii and binary are read.")
    if any(count < 0 for _, count, _ in declared):
        raise BadInput(f"{path} declares a negative number of rows; it is damaged.")
    return form, declared, comments


def _binary(path: Path, data: bytes, start: int, end: str, declared: list) -> list[Element]:
    elements = []
    for name, count, properties in declared:
        if any(kind is None for _, kind in properties):
            if name == "vertex" or not any(e.name == "vertex" for e in elements):
                raise BadInput(f"{path} keeps lists in or before its vertices: not splats of ours.")
            break
        layout = np.dtype([(n, end + k) for n, k in properties])
        if start + count * layout.itemsize > len(data):
            raise BadInput(
                f"{path} is truncated: {name} should have {count} rows of {layout.itemsize} bytes; "
                f"{max(len(data) - start, 0)} bytes are there. Copy or export it again."
            )
        rows = np.frombuffer(data, layout, count, start)
        start += count * layout.itemsize
        elements.append(Element(name, {n: rows[n] for n, _ in properties}))
    return elements


def _ascii(path: Path, text: str, declared: list) -> list[Element]:
    lines = [line for line in text.splitlines() if line.strip()]
    elements, start = [], 0
    for name, count, properties in declared:
        rows = lines[start : start + count]
        start += count
        if len(rows) < count:
            raise BadInput(f"{path} is truncated: {len(rows)} of {count} rows of {name} are there.")
        if any(kind is None for _, kind in properties):
            continue
        try:
            table = np.array([row.split() for row in rows], np.float64).reshape(count, -1)
        except ValueError as error:
            raise BadInput(f"{path} has a row of {name} that is not numbers ({error}).") from error
        if table.shape[1] != len(properties):
            raise BadInput(f"{path}: rows of {name} hold {table.shape[1]} of {len(properties)}.")
        elements.append(Element(name, {n: table[:, i] for i, (n, _) in enumerate(properties)}))
    return elements
