"""The numbers a page needs, quantised into one compressed blob that `codec.js` opens."""

import gzip
import json
import struct
from typing import Any

import numpy as np
from torch import Tensor

_STEPS = 65535
_FEW = 8  # arrays of up to this many columns have a range per column


class Payload:
    """Named arrays and plain values. Arrays are stored as float32, 16-bit steps, or indices."""

    def __init__(self, **about: Any) -> None:
        self.about = about
        self.arrays: dict[str, dict[str, Any]] = {}
        self.blob = bytearray()

    def exact(self, name: str, values: Tensor) -> None:
        """As float32."""
        self._keep(name, values, "f4", values.detach().cpu().numpy().astype("<f4"))

    def whole(self, name: str, values: Tensor) -> None:
        """Numbers that count something: two bytes each where that is enough."""
        plain = values.detach().cpu().numpy()
        kind = "u2" if not plain.size or plain.max() < 65536 else "u4"
        self._keep(name, values, kind, plain.astype("<" + kind))

    def stepped(self, name: str, values: Tensor) -> None:
        """65,536 even steps over the range of the array, or of each of its few columns. Zero is on
        a step, so that it stays zero."""
        plain = values.detach().cpu().double().numpy()
        columns = plain.shape[-1] if plain.ndim > 1 and plain.shape[-1] <= _FEW else 1
        table = plain.reshape(-1, columns)
        low, high = table.min(0), table.max(0)
        step = np.maximum(high - low, 1e-12) / (_STEPS - 1)
        low = np.floor(low / step) * step
        steps = np.round((table - low) / step).astype("<u2")
        self._keep(name, values, "q2", steps, low=low.tolist(), step=step.tolist())

    def _keep(self, name: str, values: Tensor, kind: str, data: np.ndarray, **more: Any) -> None:
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        start = len(self.blob)
        self.blob.extend(data.tobytes())
        self.arrays[name] = {"kind": kind, "shape": list(values.shape), "start": start, **more}

    def packed(self) -> bytes:
        """gzip of: length of the header (u32, little-endian), JSON header, arrays."""
        head = json.dumps({**self.about, "arrays": self.arrays}, allow_nan=False).encode()
        head += b" " * (-(len(head) + 4) % 4)
        return gzip.compress(struct.pack("<I", len(head)) + head + bytes(self.blob), 9, mtime=0)
