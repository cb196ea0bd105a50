"""A glTF 2.0 document under construction, and the one binary file it becomes."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from likeness.exporters.notes import KEY, Note

_COMPONENT = {"u1": 5121, "u2": 5123, "u4": 5125, "f4": 5126}
_KIND = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
VERTICES, INDICES = 34962, 34963  # what a buffer view is for


@dataclass
class Document:
    """Arrays are added first and named by the number they get; `json` is the rest."""

    note: Note
    json: dict[str, Any] = field(default_factory=dict)
    blob: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.json["asset"] = {
            "version": "2.0",
            "generator": self.note.plain()["generator"],
            "copyright": self.note.sentence(),
            "extras": {KEY: self.note.plain()},
        }

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Append to a top-level list such as "nodes"; its number."""
        items = self.json.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        made = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)}
        if target is not None:
            made["target"] = target
        self.blob.extend(data)
        return self.add("bufferViews", made)

    def array(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """An accessor of [N] or [N, K] values; `bounds` writes min and max, as places need."""
        item = self._accessor(values)
        item["bufferView"] = self.view(np.ascontiguousarray(values).tobytes(), target)
        if bounds:
            item.update(_bounds(values))
        return self.add("accessors", item)

    def sparse(self, values: np.ndarray, least: float = 0.0) -> int:
        """An accessor that stores only rows with an entry beyond `least`; the others are zero."""
        kept = np.flatnonzero((np.abs(values) > least).any(-1))
        dense = np.zeros_like(values)
        dense[kept] = values[kept]
        item = {**self._accessor(dense), **_bounds(dense)}
        if len(kept):
            index = kept.astype("<u2" if len(values) < 65536 else "<u4")
            item["sparse"] = {
                "count": len(kept),
                "indices": {
                    "bufferView": self.view(index.tobytes()),
                    "componentType": _COMPONENT[index.dtype.str[1:]],
                },
                "values": {"bufferView": self.view(np.ascontiguousarray(values[kept]).tobytes())},
            }
        return self.add("accessors", item)

    def _accessor(self, values: np.ndarray) -> dict[str, Any]:
        width = 1 if values.ndim == 1 else int(np.prod(values.shape[1:]))
        return {
            "componentType": _COMPONENT[values.dtype.str[1:]],
            "count": len(values),
            "type": _KIND[width],
        }

    def glb(self) -> bytes:
        """The whole document as one .glb."""
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        whole = {**self.json, "buffers": [{"byteLength": len(self.blob)}]}
        text = json.dumps(whole, ensure_ascii=False, allow_nan=False).encode("utf-8")
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(self.blob)
        return b"".join(
            [
                struct.pack("<4sII", b"glTF", 2, total),
                struct.pack("<I4s", len(text), b"JSON"),
                text,
                struct.pack("<I4s", len(self.blob), b"BIN\0"),
                bytes(self.blob),
            ]
        )


def _bounds(values: np.ndarray) -> dict[str, Any]:
    flat = values.reshape(len(values), -1)
    return {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
