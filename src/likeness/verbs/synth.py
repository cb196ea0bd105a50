"""`likeness synth`: people who do not exist, to try everything on, with the truth beside them."""

from pathlib import Path

import torch

from likeness.captures.native import write_native
from likeness.captures.synthetic import film
from likeness.captures.synthetic.film import Film
from likeness.core.capture import Capture
from likeness.core.errors import BadInput
from likeness.core.media import VideoWriter, save_png
from likeness.core.progress import counted
from likeness.core.track import Track
from likeness.core.track_files import write_track


def synth(
    out: Path,
    seed: int = 0,
    subjects: int = 1,
    frames: int = 150,
    size: int = 256,
    fps: float = 25.0,
    views: int = 1,
    photos: int = 0,
) -> None:
    """Film a synthetic person: video with sound, capture, and the truth behind it.

    Writes subject.mp4, capture/ (read by `likeness track`) and truth/ (a track: cameras,
    expressions, identity, mattes, regions; normals and albedo of every tenth frame).

    Args:
        out: The folder to write; several subjects or views get folders of their own in it.
        seed: Of the first person; the next ones follow.
        subjects: How many people.
        frames: How many frames.
        size: Pixels along a side.
        fps: Frames a second.
        views: Cameras around the person, up to five.
        photos: Stills instead of a video: so many frames far apart, each on its own.
    """
    if not 32 <= size <= 2048:
        raise BadInput(f"--size {size} is outside 32 to 2048 pixels.")
    if frames < 1 or subjects < 1 or not 1 <= views <= 5 or not 0 < fps <= 240 or photos < 0:
        raise BadInput(
            f"Cannot film {subjects} subject(s), {frames} frames, {views} view(s) at {fps} fps: "
            "take at least one of each, at most five views, and 0 to 240 frames a second."
        )
    for person in range(subjects):
        for view in range(views):
            name = "" if subjects == 1 else f"subject_{person:03d}"
            name += "" if views == 1 else f"{'_' if name else ''}view_{view}"
            capture, truth = film(seed + person, photos * 37 or frames, size, fps, view)
            if photos:
                _write_photos(capture, Path(out) / name, photos)
            else:
                _write(capture, truth, Path(out) / name, fps)


def _write(capture: Capture, truth: Track, folder: Path, fps: float) -> None:
    """Draw each frame once; the capture and the truth are read from what is kept of it."""
    drawn = capture.pictures
    assert isinstance(drawn, Film)
    with VideoWriter(folder / "subject.mp4", fps, capture.sound, quality=14) as video:
        for frame in counted(capture, "filming", len(capture)):
            video.write(frame.rgb8)
            if frame.index % 10 == 0:
                shot = drawn.shot(frame.index)
                normal, colour = torch.from_numpy(0.5 + 0.5 * shot.normal), shot.albedo
                save_png(folder / "truth" / "normals" / f"{frame.name}.png", normal)
                colour = torch.from_numpy(colour)
                save_png(folder / "truth" / "albedo" / f"{frame.name}.png", colour)
    write_native(capture, folder / "capture")
    write_track(folder / "truth", truth)


def _write_photos(capture: Capture, folder: Path, photos: int) -> None:
    for k in counted(range(photos), "taking photos", photos):
        save_png(folder / "photos" / f"{k:03d}.png", capture[k * 37].rgb8)
