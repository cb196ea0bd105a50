"""Recordings in all the layouts we read. `open_capture` finds out which one a path holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from likeness.core.errors import BadInput
from likeness.core.registry import Registry

if TYPE_CHECKING:
    from likeness.core.capture import Capture

CAPTURES = Registry(
    "capture",
    {
        "native": "likeness.captures.native",
        "video": "likeness.captures.video",
        "nerfblendshape": "likeness.captures.nerfblendshape",
        "adnerf": "likeness.captures.adnerf",
        "nerface": "likeness.captures.nerface",
        "vhap": "likeness.captures.vhap",
        "insta": "likeness.captures.insta",
        "nha": "likeness.captures.nha",
        "metrical": "likeness.captures.metrical",
        "nerfstudio": "likeness.captures.nerfstudio",
        "llff": "likeness.captures.llff",
        "colmap": "likeness.captures.colmap",
        "ncg": "likeness.captures.ncg",
        "photos": "likeness.captures.photos",
    },
)
"""Modules with `recognises(path) -> bool` and `read(path, **options) -> Capture`, most specific
first: the first that recognises a path reads it."""


def open_capture(path: str | Path, **options: Any) -> "Capture":
    """The capture at `path`, whatever its layout; `options` go to the reader of that layout."""
    path = Path(path).expanduser()
    if not path.exists():
        raise BadInput(f"There is no file or folder {path}. Check the spelling.")
    for name in CAPTURES.names():
        reader = CAPTURES.load(name)
        if reader.recognises(path):
            return reader.read(path, **options)
    raise BadInput(f"{path} is no recording that likeness knows: {_what_is_there(path)}")


def _what_is_there(path: Path) -> str:
    """What was seen, and what would have been recognised."""
    if path.is_file():
        size = path.stat().st_size
        if size == 0:
            return "the file is empty (0 bytes). Copy it again from where it came from."
        return (
            f"a file of {size} bytes that is neither a video nor a picture. "
            "Give a video, a photo, or a folder of photos or of a data set."
        )
    seen = sorted(p.name + "/" * p.is_dir() for p in path.iterdir())
    if not seen:
        return "the folder is empty. Put photos in it, or give a video."
    shown = ", ".join(seen[:6]) + (f" and {len(seen) - 6} more" if len(seen) > 6 else "")
    layouts = ", ".join(CAPTURES.names())
    return f"the folder holds {shown}. Layouts that are recognised: {layouts}."
