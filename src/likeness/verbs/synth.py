"""`likeness synth`: people who do not exist, to try everything on, with the truth beside them."""

from dataclasses import replace
from pathlib import Path

import torch

from likeness.captures.native import write_native
from likeness.captures.synthetic import film
from likeness.captures.synthetic.film import Film
from likeness.core.capture import Capture, Frame
from likeness.core.errors import BadInput
from likeness.core.files import only_one
from likeness.core.media import VideoWriter, save_png
from likeness.core.progress import counted, stage
from likeness.core.track import Track
from likeness.core.track_files import MapFolder, write_track


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
            capture, truth = film(seed + person, photos * 37 or frames, size, fps, view, keep=0)
            with only_one(Path(out) / name):
                if photos:
                    _write_photos(capture, Path(out) / name, photos)
                else:
                    _write(capture, truth, Path(out) / name, fps)


def _write(capture: Capture, truth: Track, folder: Path, fps: float) -> None:
    """Draw each frame once, write it, and make the rest from what was written: memory does not
    grow with the film, and a run that was stopped goes on where it was."""
    drawn = capture.pictures
    assert isinstance(drawn, Film)
    with stage("filming", len(capture)) as bar:

        def filmed(done: int, _: int) -> None:
            if (done - 1) % 10 == 0:
                _write_surface(drawn, capture[done - 1], folder / "truth")
            bar.advance()

        written = write_native(capture, folder / "capture", progress=filmed)
    maps = MapFolder(folder / "truth")
    with VideoWriter(folder / "subject.mp4", fps, capture.sound, quality=14) as video:
        for frame in counted(written, "writing the video"):
            video.write(frame.rgb8)
            for kind in ("alpha", "regions"):
                maps.write(kind, frame.index, getattr(written.pictures, kind)(frame.index))
    write_track(folder / "truth", replace(truth, maps=maps))


def _write_surface(drawn: Film, frame: Frame, folder: Path) -> None:
    shot = drawn.shot(frame.index)
    save_png(folder / "normals" / f"{frame.name}.png", torch.from_numpy(0.5 + 0.5 * shot.normal))
    save_png(folder / "albedo" / f"{frame.name}.png", torch.from_numpy(shot.albedo))


def _write_photos(capture: Capture, folder: Path, photos: int) -> None:
    for k in counted(range(photos), "taking photos", photos):
        save_png(folder / "photos" / f"{k:03d}.png", capture[k * 37].rgb8)
