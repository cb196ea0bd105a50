"""SPZ, versions 2 to 4: quantised splats, gzipped (2, 3) or as Zstandard streams (4).

Axes: y up, z towards the viewer.
"""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from likeness.core.avatar import HasSplats, Splats
from likeness.core.errors import BadInput, Unsupported
from likeness.core.files import write_bytes
from likeness.exporters.motion import Motion
from likeness.exporters.notes import KEY, Note, write_beside
from likeness.exporters.splat_data import degree_of, finite, posed
from likeness.exporters.spz_streams import MAGIC, packed_streams, read_header, unpacked_streams

_MAGIC = 0x5053474E
_HEADER = struct.Struct("<IIIBBBB")
_COLOUR = 0.15  # one step of the constant harmonic is 1 / (255 * 0.15)
_ROOT_HALF = 0.5**0.5
_MOST = 10_000_000
_STEPS = 511  # of a component of a rotation, between 0 and sqrt(1/2)


@dataclass(frozen=True)
class Spz:
    """One moment as SPZ; about a tenth of the PLY."""

    version: int = 3
    """2: eight bits a component of rotation, read by the oldest programs. 3: ten bits. 4: as 3,
    in Zstandard streams (needs `likeness[spz]`; its note lies in a file beside it)."""

    needs = HasSplats
    suffix = ".spz"

    def export(self, avatar: HasSplats, path: Path, motion: Motion, note: Note) -> Path:
        if len(motion) > 1:
            raise Unsupported("SPZ holds one moment. Use --to ply for a sequence.")
        write_bytes(path, spz_bytes(posed(avatar, motion[0]), note, self.version))
        if self.version == 4:
            write_beside(path, note)
        return path


def spz_bytes(splats: Splats, note: Note | None = None, version: int = 3) -> bytes:
    """The whole file. Positions keep as many fractional bits as 24 allow, 12 at most useful."""
    if version not in (2, 3, 4):
        raise Unsupported(f"SPZ version {version} is not written here; 2, 3 and 4 are.")
    splats = finite(splats)
    count, degree = len(splats.means), degree_of(splats)
    furthest = max(float(splats.means.abs().max()), 1e-6)
    bits = int(np.clip(np.floor(np.log2((2**23 - 1) / furthest)), 0, 20))
    place = (splats.means.double() * 2**bits).round().to(torch.int32).numpy().astype("<i4")
    opacity = _bytes(splats.opacity * 255)
    colour = _bytes(splats.harmonics[:, 0] * (_COLOUR * 255) + 127.5)
    scale = _bytes((splats.scale.clamp(min=1e-9).log() + 10) * 16)
    turn = torch.nn.functional.normalize(splats.rotation, dim=-1)[:, [1, 2, 3, 0]]
    streams = [
        place.view(np.uint8).reshape(count, 3, 4)[..., :3].tobytes(),
        opacity.tobytes(),
        colour.tobytes(),
        scale.tobytes(),
        (_turn_bytes(turn) if version == 2 else _smallest_three(turn)).tobytes(),
        _harmonic_bytes(splats.harmonics[:, 1:]).tobytes(),
    ]
    if version == 4:
        return packed_streams(count, degree, bits, streams)
    body = b"".join([_HEADER.pack(_MAGIC, version, count, degree, bits, 0, 0), *streams])
    return _gzip(body, f"{KEY} {note.line()}" if note else "")


def read_spz(path: str | Path) -> Splats:
    """Splats of an SPZ file of version 2, 3 or 4."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}).") from error
    if data[:4] == MAGIC:
        count, degree, bits = read_header(path, data)
        widths = _widths(4, degree)
        streams = unpacked_streams(path, data, [count * width for width in widths])
        return _unpacked(_tables(streams, widths), 4, bits, (degree + 1) ** 2 - 1)
    try:
        body = zlib.decompressobj(31).decompress(data, _HEADER.size + _MOST * 64)
        magic, version, count, degree, bits, _, _ = _HEADER.unpack_from(body)
    except (zlib.error, struct.error) as error:
        raise BadInput(f"{path} is not a whole SPZ file ({error}).") from error
    if magic != _MAGIC or version not in (2, 3) or degree > 3 or count > _MOST:
        raise BadInput(f"{path} is no SPZ of version 2 to 4 (it says version {version}).")
    widths = _widths(version, degree)
    if len(body) < _HEADER.size + count * sum(widths):
        raise BadInput(
            f"{path} is truncated: {count} splats need {count * sum(widths)} bytes, "
            f"{len(body) - _HEADER.size} are there. Copy or export it again."
        )
    streams, start = [], _HEADER.size
    for width in widths:
        streams.append(body[start : start + count * width])
        start += count * width
    return _unpacked(_tables(streams, widths), version, bits, (degree + 1) ** 2 - 1)


def _widths(version: int, degree: int) -> list[int]:
    """Bytes a splat in each stream."""
    return [9, 1, 3, 3, 3 if version == 2 else 4, 3 * (degree + 1) ** 2 - 3]


def _tables(streams: list[bytes], widths: list[int]) -> list[np.ndarray]:
    count = len(streams[0]) // widths[0]
    return [np.frombuffer(s, np.uint8).reshape(count, w) for s, w in zip(streams, widths)]


def _unpacked(parts: list[np.ndarray], version: int, bits: int, rest: int) -> Splats:
    count = len(parts[0])
    place = np.zeros((count, 3, 4), np.uint8)
    place[..., 1:] = parts[0].reshape(count, 3, 3)  # the high three bytes keep the sign
    means = torch.from_numpy((place.view("<i4")[..., 0] >> 8).astype(np.float64) / 2**bits)
    opacity, colour, scale = (torch.from_numpy(p.astype(np.float32)) for p in parts[1:4])
    if version == 2:
        xyz = torch.from_numpy(parts[4].astype(np.float32)) / 127.5 - 1
        w = (1 - xyz.square().sum(-1, keepdim=True)).clamp(min=0).sqrt()
        turn = torch.cat([w, xyz], -1)
    else:
        turn = _from_smallest_three(parts[4])
    first = ((colour - 127.5) / (_COLOUR * 255))[:, None]
    more = torch.from_numpy((parts[5].astype(np.float32) - 128) / 128).view(count, rest, 3)
    return Splats(
        means.float(),
        torch.nn.functional.normalize(turn, dim=-1),
        (scale / 16 - 10).exp(),
        opacity[:, 0] / 255,
        torch.cat([first, more], 1),
    )


def _bytes(values: Tensor) -> UInt8[np.ndarray, "..."]:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()


def _turn_bytes(turn: Float[Tensor, "N 4"]) -> UInt8[np.ndarray, "N 3"]:
    signed = torch.where(turn[:, 3:] < 0, -turn, turn)
    return _bytes(signed[:, :3] * 127.5 + 127.5)


def _smallest_three(turn: Float[Tensor, "N 4"]) -> UInt8[np.ndarray, "N 4"]:
    """Which of x, y, z, w is largest in two bits, the others as sign and nine bits each."""
    largest = turn.abs().argmax(-1)
    signed = torch.where(turn.gather(1, largest[:, None]) < 0, -turn, turn)
    packed = largest.to(torch.int64)
    for i in range(4):
        size = (signed[:, i].abs() / _ROOT_HALF * _STEPS + 0.5).long().clamp(max=_STEPS)
        field = (signed[:, i] < 0).long() << 9 | size
        packed = torch.where(largest == i, packed, packed << 10 | field)
    return packed.numpy().astype("<u4").view(np.uint8).reshape(-1, 4)


def _from_smallest_three(packed: UInt8[np.ndarray, "N 4"]) -> Float[Tensor, "N 4"]:
    word = torch.from_numpy(np.ascontiguousarray(packed).view("<u4")[:, 0].astype(np.int64))
    largest = word >> 30
    turn = torch.zeros(len(word), 4)
    for i in (3, 2, 1, 0):
        own = largest == i
        value = (word & _STEPS).float() / _STEPS * _ROOT_HALF
        value = torch.where((word >> 9 & 1).bool(), -value, value)
        turn[:, i] = torch.where(own, turn[:, i], value)
        word = torch.where(own, word, word >> 10)
    missing = (1 - turn.square().sum(-1)).clamp(min=0).sqrt()
    turn.scatter_(1, largest[:, None], missing[:, None])
    return turn[:, [3, 0, 1, 2]]


def _harmonic_bytes(rest: Float[Tensor, "N H 3"]) -> UInt8[np.ndarray, "N H 3"]:
    """Five bits for the first degree, four for the others, as the format's own writer keeps."""
    kept = torch.full((rest.shape[1], 1), 16.0)
    kept[:3] = 8.0
    value = (rest * 128 + 128).round()
    return _bytes(((value + kept / 2) / kept).floor() * kept)


def _gzip(body: bytes, comment: str) -> bytes:
    """A gzip member; the comment lies in its header, where every reader skips it."""
    packed = gzip.compress(body, 9, mtime=0)
    if not comment:
        return packed
    flagged = packed[:3] + bytes([packed[3] | 0x10]) + packed[4:10]
    return flagged + comment.encode("ascii").replace(b"\0", b" ") + b"\0" + packed[10:]
