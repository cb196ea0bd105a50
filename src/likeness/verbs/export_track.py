"""A track in the layouts that other people's code trains on, or as motion alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from likeness.captures import open_capture
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, Unsupported, unknown
from likeness.core.files import only_one
from likeness.core.track import Track
from likeness.core.track_files import read_track
from likeness.exporters.bvh import write_bvh
from likeness.exporters.motion import Motion
from likeness.exporters.motion_csv import write_motion_csv
from likeness.exporters.motion_json import write_motion_json
from likeness.exporters.motion_npz import write_motion_npz

_RATE = 25.0  # frames a second of a track whose recording does not say


def _nerface(capture: Capture, track: Track, out: Path) -> None:
    from likeness.captures.nerface import write_nerface

    write_nerface(capture, track, out)


def _vhap(capture: Capture, track: Track, out: Path) -> None:
    from likeness.captures.vhap import write_vhap

    write_vhap(capture, track, out)


def _nerfstudio(capture: Capture, track: Track, out: Path) -> None:
    from likeness.captures.nerfstudio import write_nerfstudio

    write_nerfstudio(capture, track, out)


LAYOUTS: dict[str, tuple[Callable[[Capture, Track, Path], None], str]] = {
    "nerface": (_nerface, "transforms_*.json with poses and coefficients, frames, backdrop"),
    "nerfstudio": (_nerfstudio, "transforms.json: the camera moves around a head that is still"),
    "vhap": (_vhap, "FLAME parameters, mattes and cameras (tracks of the rig flame only)"),
}
"""Folders, with the recording's pictures in them."""

MOTIONS = (".json", ".csv", ".npz", ".bvh")


def export_track(folder: Path, to: str, out: Path | None, capture: Path | None) -> str:
    """Write a track folder in the layout `to`; without one, list them."""
    names = (*LAYOUTS, *(suffix[1:] for suffix in MOTIONS))
    if not to:
        lines = [f"ok  {name:<10}  a folder: {told}" for name, (_, told) in LAYOUTS.items()]
        return "\n".join([*lines, *(f"ok  {s[1:]:<10}  the motion, one file" for s in MOTIONS)])
    if to not in names:
        raise unknown("layout of a track", to, names)
    track = read_track(folder)
    near = capture if capture is not None else capture_near(folder)
    if to not in LAYOUTS:
        return _motion(track, to, out or folder / f"motion.{to}", near)
    if near is None:
        raise BadInput(
            f"--to {to} needs the pictures as well: give --capture, the folder that "
            f"{folder} was tracked from."
        )
    target = Path(out) if out is not None else folder.parent / to
    if (target / "capture.json").exists() or (target / "track.json").exists():
        raise BadInput(f"{target} holds a capture or a track of ours. Choose another --out.")
    recording = open_capture(near)
    with only_one(target):
        LAYOUTS[to][0](recording, track, target)
    return f"{target}  {len(track)} frames as {to}"


def _motion(track: Track, to: str, out: Path, near: Path | None) -> str:
    if out.suffix.lower() != f".{to}":
        raise BadInput(f"--out {out} should end in .{to} for --to {to}.")
    fps = _RATE if near is None else open_capture(near).fps or _RATE
    motion = Motion(track.expressions, fps)
    if to == "bvh":
        write_bvh(out, track.expressions.world_from_head, fps)
    else:
        writers: dict[str, Any] = {
            "json": write_motion_json,
            "csv": write_motion_csv,
            "npz": write_motion_npz,
        }
        writers[to](out, motion)
    return f"{out}  {len(track)} frames, {fps:g} a second"


def is_track(folder: str | Path) -> bool:
    return (Path(folder) / "track.json").is_file()


def capture_near(track: Path) -> Path | None:
    """The folder of the capture beside or around a track."""
    for folder in (track.parent, track.parent / "capture"):
        if (folder / "capture.json").is_file():
            return folder
    return None


def refuse(motion: Any, expression: tuple[str, ...], options: tuple[str, ...]) -> None:
    """Raise for what only avatars understand."""
    if motion is not None or expression or options:
        raise Unsupported("A track takes neither --motion nor --expression nor --options.")
