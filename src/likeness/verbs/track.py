"""`likeness track`: cameras, pose, identity, expression, mattes and regions of a capture."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from likeness.captures import open_capture
from likeness.core.errors import BadInput, Unsupported
from likeness.core.files import only_one
from likeness.core.track import Track
from likeness.core.track_files import read_track, write_track
from likeness.rigs import RIGS
from likeness.trackers import TRACKERS
from likeness.training.frames import Kept, parse_size

POINT_FILES = (".npz", ".json", ".task")


def track(
    capture: Path,
    out: Path,
    rig: str = "clay",
    using: Annotated[str, tyro.conf.arg(aliases=["--with"])] = "photometric",
    focal: float | None = None,
    person: int | None = None,
    matte: Path | None = None,
    parser: Path | None = None,
    memory_limit: str = "500M",
) -> None:
    """Track a capture: camera, head pose, identity, expression, mattes, regions, backdrop.

    Args:
        capture: A capture folder that `likeness ingest` wrote, or anything it could read.
        out: The track folder to write.
        rig: The head model to fit.
        using: photometric or landmarks; or a track of ours or of another tool's folder (VHAP,
            NeRFace, ...) to use as it is; or landmarks of your own (.npz or .json); or MediaPipe's
            face_landmarker.task to find them with.
        focal: Focal length in pixels of the capture's pictures, when you know it.
        person: Which person, counted from the left, when there are several.
        matte: Robust Video Matting's weights, if you have them (TorchScript or .onnx).
        parser: A face parser with CelebAMask-HQ's classes, if you have one (the same kinds).
        memory_limit: How much memory decoded pictures may take; each is looked at many times.
    """
    model = RIGS.load(rig)
    recording = open_capture(capture)
    kept = Kept(recording.pictures, parse_size(memory_limit))
    recording = replace(recording, pictures=kept)
    out = Path(out)
    with only_one(out):
        if using not in TRACKERS and Path(using).is_dir():
            found = known_track(Path(using))
            if len(found) != len(recording):
                raise BadInput(
                    f"{using} tracks {len(found)} frames; {capture} has {len(recording)}."
                )
        else:
            settings = tracker(using, focal=focal, person=person, matte=matte, parser=parser)
            found = settings.track(recording, model(), out)
        write_track(out, found)


def known_track(folder: Path) -> Track:
    """A track folder of ours, or the track that a data set of another tool brings."""
    if (folder / "track.json").is_file():
        return read_track(folder)
    track = open_capture(folder).track
    if track is None:
        raise BadInput(f"{folder} brings no track. Track it first, or leave --with out.")
    return track


def tracker(using: str, **settings: Any) -> Any:
    """A tracker by its name; the default one with landmarks of their own, for a file."""
    if using not in TRACKERS and Path(using).suffix.lower() in POINT_FILES:
        return TRACKERS.load("photometric")(points=Path(using), **settings)
    kind = TRACKERS.load(using)
    known = {field.name for field in fields(kind)}
    for name in [name for name in settings if name not in known]:
        if settings.pop(name) is not None:
            raise Unsupported(f"The tracker {using!r} has no --{name}. Leave it out.")
    return kind(**settings)
