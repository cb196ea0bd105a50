"""SPZ of version 4: a plain header, a table of contents, and one Zstandard stream an attribute."""

import struct
from typing import Any

from likeness.core.errors import BadInput, need_extra

MAGIC = b"NGSP"
_HEADER = struct.Struct("<4sIIBBBBI12x")
_ENTRY = struct.Struct("<QQ")  # bytes as stored, bytes unpacked
_ANTIALIASED = 0x1


def zstandard() -> Any:
    try:
        import zstandard as found  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise need_extra("zstandard", "spz", "SPZ version 4") from error
    return found


def packed_streams(count: int, degree: int, bits: int, streams: list[bytes]) -> bytes:
    """The whole file. Streams in their order: place, opacity, colour, scale, turn, harmonics."""
    squeeze = zstandard().ZstdCompressor(level=12)
    stored = [squeeze.compress(stream) for stream in streams]
    head = _HEADER.pack(MAGIC, 4, count, degree, bits, 0, len(streams), _HEADER.size)
    table = [_ENTRY.pack(len(a), len(b)) for a, b in zip(stored, streams)]
    return b"".join([head, *table, *stored])


def read_header(path: Any, data: bytes) -> tuple[int, int, int]:
    """Splats, degree of harmonics and fractional bits that a file of version 4 declares."""
    if len(data) < _HEADER.size:
        raise BadInput(f"{path} is not a whole SPZ file: it ends in its header.")
    _, version, count, degree, bits, flags, streams, _ = _HEADER.unpack_from(data)
    if version != 4 or streams != 6 or degree > 3 or flags & ~(_ANTIALIASED | 0x2):
        raise BadInput(
            f"{path} is no SPZ that we read: version {version}, {streams} streams, harmonics of "
            f"degree {degree}, flags {flags:#x}. Version 4, 6 streams and degree 0-3 are read."
        )
    return count, degree, bits


def unpacked_streams(path: Any, data: bytes, sizes: list[int]) -> list[bytes]:
    """The six streams. `sizes` is what each must hold, so that no stream grows without end."""
    start = _HEADER.unpack_from(data)[7]
    body = start + 6 * _ENTRY.size
    if start < _HEADER.size or len(data) < body:
        raise BadInput(f"{path} is truncated: its table of contents is not whole.")
    unsqueeze, found = zstandard(), []
    for i, size in enumerate(sizes):
        stored, whole = _ENTRY.unpack_from(data, start + i * _ENTRY.size)
        if whole != size or body + stored > len(data):
            raise BadInput(
                f"{path} is truncated or damaged: stream {i} should unpack to {size} bytes, it "
                f"says {whole}; {max(len(data) - body, 0)} of its {stored} bytes are there."
            )
        found.append(_unpacked(path, unsqueeze, data[body : body + stored], size))
        body += stored
    return found


def _unpacked(path: Any, unsqueeze: Any, stored: bytes, size: int) -> bytes:
    if not size:
        return b""
    try:
        unpacked = unsqueeze.ZstdDecompressor().decompressobj().decompress(stored)
    except unsqueeze.ZstdError as error:
        raise BadInput(f"{path} is damaged ({error}). Copy or export it again.") from error
    if len(unpacked) != size:
        raise BadInput(f"{path} is damaged: {len(unpacked)} bytes of {size} came out of a stream.")
    return unpacked
