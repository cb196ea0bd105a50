"""`likeness verify`: what a file says about how it was made."""

import json
import re
import struct
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from likeness.core.credentials import read_manifest
from likeness.core.errors import BadInput
from likeness.core.files import load_tensors_and_notes, read_any_json
from likeness.core.media import SYNTHETIC
from likeness.core.watermark import payload_of, read
from likeness.core.xmp import read_packet
from likeness.exporters.notes import KEY

_HEAD = 1 << 16  # bytes at the start of a file in which its comments are
_VIDEO = (".mp4", ".mov", ".webm", ".mkv")
_PICTURE = (".png", ".webp", ".gif", ".jpg", ".jpeg")
_LOOKED_AT = 50  # frames of a video in which a watermark is looked for


def verify(file: Path) -> str:
    """Read the mark of synthetic media back from a picture, video, mesh, splat file or page.

    Pictures and videos are also searched for the invisible watermark, which stays when a site
    strips what is written in a file.

    Args:
        file: Any exported file. Formats without room for words keep the mark in FILE.json.
    """
    file = Path(file)
    if not file.is_file():
        raise BadInput(f"There is no file {file}.")
    return "\n".join([*_written(file, mark(file)), *_credentials(file), *_hidden(file)])


def _credentials(file: Path) -> list[str]:
    """A line on the signed manifest of a picture or video that has one."""
    found = read_manifest(file)
    if found is None:
        return []
    if found["wrong"]:
        why = f"does not fit ({', '.join(found['wrong'])}): the file was changed after signing"
        return [f"  C2PA: the manifest by {found['generator']} {why}"]
    source = "synthetic media" if found["source"] == SYNTHETIC else found["source"] or "?"
    who = "" if found["state"] == "Trusted" else ", by a key that no authority vouches for"
    return [f"  C2PA: signed as {source} by {found['generator']}, unchanged since{who}"]


def _written(file: Path, found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return [f"{file}: no mark was found. That does not mean that the file is not synthetic."]
    synthetic = found.get("digitalSourceType") == SYNTHETIC
    lines = [f"{file}: {'marked as synthetic media' if synthetic else 'carries a mark'}."]
    for key in ("generator", "subject", "consent", "comment", "digitalSourceType"):
        if found.get(key):
            lines.append(f"  {key}: {found[key]}")
    return lines


def _hidden(file: Path) -> list[str]:
    """A line on the watermark of a picture or video that has one."""
    payload = watermark(file)
    if payload is None:
        return []
    found = mark(file) or {}
    same = payload == payload_of(json.dumps({k: found.get(k) for k in _NOTE}, ensure_ascii=True))
    told = "; it is that of the note above" if same else ""
    return [f"  watermark: likeness {payload:08x}{told}"]


def watermark(file: Path) -> int | None:
    """The 32 bits hidden in a picture, or in the first frames of a video; None without."""
    suffix = file.suffix.lower()
    if suffix in _VIDEO:
        with av.open(str(file)) as film:
            frames = islice(film.decode(video=0), _LOOKED_AT)
            return read(frame.to_ndarray(format="rgb24") for frame in frames)
    if suffix not in _PICTURE:
        return None
    with Image.open(file) as picture:
        frames = islice(ImageSequence.Iterator(picture), _LOOKED_AT)
        return read(np.asarray(frame.convert("RGB")) for frame in frames)


def mark(file: Path) -> dict[str, Any] | None:
    """The note in a file, from inside it or from the file beside it; None when there is none."""
    suffix = file.suffix.lower()
    reader = _READERS.get(suffix, _comment)
    try:
        found = _video(file) if suffix in _VIDEO else reader(file)
    except (OSError, ValueError, KeyError, struct.error, EOFError) as error:
        raise BadInput(f"{file} is damaged or not what its name says ({error}).") from error
    if found is None and (signed := read_manifest(file)):
        found = _told(signed["note"], signed["source"])
    if found is None and (beside := Path(f"{file}.json")).is_file():
        found = _json(beside)
    return found


def _glb(file: Path) -> dict[str, Any] | None:
    with file.open("rb") as stream:
        magic, _, _, length, kind = struct.unpack("<4sIII4s", stream.read(20))
        if magic != b"glTF" or kind != b"JSON":
            raise ValueError("no glTF header")
        document = json.loads(stream.read(length))
    return document.get("asset", {}).get("extras", {}).get(KEY)


def _page(file: Path) -> dict[str, Any] | None:
    text = file.read_text(encoding="utf-8", errors="replace")[:_HEAD]
    found = re.search(r'<script type="application/ld\+json" id="about">(.*?)</script>', text)
    return json.loads(found[1]) if found else None


def _json(file: Path) -> dict[str, Any] | None:
    data = read_any_json(file)
    return data.get(KEY) if isinstance(data, dict) else None


def _npz(file: Path) -> dict[str, Any] | None:
    with np.load(file, allow_pickle=False) as arrays:
        return json.loads(str(arrays[KEY])) if KEY in arrays.files else None


def _spz(file: Path) -> dict[str, Any] | None:
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if head[:2] != b"\x1f\x8b" or not head[3] & 0x10:
        return None
    return _after_key(head[10 : head.index(b"\0", 10)])


def _usd(file: Path) -> dict[str, Any] | None:
    from likeness.exporters.usd import pxr  # brings the renderers, which other files do not need

    (sdf,) = pxr("Sdf")
    try:
        layer = sdf.Layer.OpenAsAnonymous(str(file))
    except Exception as error:  # the library has an exception of its own for rubbish
        raise ValueError("no USD layer") from error
    kept = layer.customLayerData if layer is not None else {}
    return json.loads(kept[KEY]) if KEY in kept else None


def _tensors(file: Path) -> dict[str, Any] | None:
    notes = load_tensors_and_notes(file)[1]
    return json.loads(notes[KEY]) if KEY in notes else None


def _comment(file: Path) -> dict[str, Any] | None:
    with file.open("rb") as stream:
        return _after_key(stream.read(_HEAD))


def _after_key(data: bytes) -> dict[str, Any] | None:
    found = re.search(rb"\b%s (\{.*?\})\r?(?:\n|$)" % KEY.encode(), data)
    return json.loads(found[1]) if found else None


def _picture(file: Path) -> dict[str, Any] | None:
    try:
        with Image.open(file) as picture:
            picture.load()
            about = {str(k): v for k, v in picture.info.items() if isinstance(v, str)}
    except UnidentifiedImageError as error:
        raise ValueError("no picture") from error
    if "digitalSourceType" not in about:
        return _xmp(file.read_bytes())
    return _told(about.get("Comment", ""), about["digitalSourceType"])


def _xmp(data: bytes) -> dict[str, Any] | None:
    packet = read_packet(data)
    return packet and _told(packet[1], packet[0])


def _told(note: str, source: str) -> dict[str, Any]:
    """A note as JSON or as words, with the kind of source that its file declares."""
    return {
        **(json.loads(note) if note.startswith("{") else {"comment": note}),
        "digitalSourceType": source,
    }


def _video(file: Path) -> dict[str, Any] | None:
    try:
        with av.open(str(file)) as container:
            about = {k.lower(): v for k, v in container.metadata.items()}
    except av.FFmpegError as error:
        raise ValueError(str(error)) from error
    if "digital_source_type" not in about:
        return None
    return _told(about.get("comment", ""), about["digital_source_type"])


_NOTE = ("digitalSourceType", "generator", "subject", "consent")
_READERS = {
    ".glb": _glb,
    ".html": _page,
    ".json": _json,
    ".npz": _npz,
    ".usdc": _usd,
    ".spz": _spz,
    ".safetensors": _tensors,
    ".png": _picture,
    ".webp": _picture,
    ".gif": _picture,
    ".jpg": _picture,
    ".jpeg": _picture,
}
