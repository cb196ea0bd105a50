"""A track in the layouts that other people's code trains on: folders with the pictures in them."""

from collections.abc import Callable
from pathlib import Path

from likeness.captures import open_capture
from likeness.captures.nerface import write_nerface
from likeness.captures.nerfstudio import write_nerfstudio
from likeness.captures.vhap import write_vhap
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.files import only_one
from likeness.core.track import Track
from likeness.core.track_files import read_track
from likeness.verbs.motions import capture_near

LAYOUTS: dict[str, tuple[Callable[[Capture, Track, Path], None], str]] = {
    "nerface": (write_nerface, "poses and coefficients in transforms_*.json, frames, backdrop"),
    "nerfstudio": (write_nerfstudio, "transforms.json: the camera moves around a still head"),
    "vhap": (write_vhap, "FLAME parameters, mattes, cameras (tracks of the rig flame only)"),
}


def layouts() -> list[str]:
    """A line for every layout."""
    return [f"ok  {name:<11}  a folder: {told}" for name, (_, told) in LAYOUTS.items()]


def export_track(folder: Path, to: str, out: Path | None, capture: Path | None) -> str:
    """Write a track folder and its recording in the layout `to`."""
    if not is_track(folder):
        raise BadInput(f"--to {to} is for tracks, and {folder} holds none. Name a track folder.")
    near = capture if capture is not None else capture_near(folder)
    if near is None:
        raise BadInput(
            f"--to {to} needs the pictures as well: give --capture, the folder that "
            f"{folder} was tracked from."
        )
    target = Path(out) if out is not None else folder.parent / to
    if (target / "capture.json").exists() or (target / "track.json").exists():
        raise BadInput(f"{target} holds a capture or a track of ours. Choose another --out.")
    track, recording = read_track(folder), open_capture(near)
    with only_one(target):
        LAYOUTS[to][0](recording, track, target)
    return f"{target}  {len(track)} frames as {to}"


def is_track(folder: str | Path) -> bool:
    return (Path(folder) / "track.json").is_file()
