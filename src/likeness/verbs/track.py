"""`likeness track`: cameras, pose, identity, expression, mattes and regions of a capture."""

from pathlib import Path

from likeness.captures import open_capture
from likeness.core.errors import BadInput
from likeness.core.files import only_one
from likeness.core.track_files import read_track, write_track
from likeness.rigs import RIGS
from likeness.trackers import TRACKERS


def track(
    capture: Path,
    out: Path,
    rig: str = "clay",
    using: str = "photometric",
    focal: float | None = None,
    person: int | None = None,
) -> None:
    """Track a capture: camera, head pose, identity, expression, mattes, regions, backdrop.

    Args:
        capture: A capture folder that `likeness ingest` wrote, or anything it could read.
        out: The track folder to write.
        rig: The head model to fit.
        using: The tracker; or a track folder of ours to use as it is.
        focal: Focal length in pixels of the capture's pictures, when you know it.
        person: Which person, counted from the left, when there are several.
    """
    model = RIGS.load(rig)
    recording = open_capture(capture)
    out = Path(out)
    with only_one(out):
        if using not in TRACKERS and Path(using).is_dir():
            found = read_track(using)
            if len(found) != len(recording):
                raise BadInput(
                    f"{using} tracks {len(found)} frames; {capture} has {len(recording)}."
                )
        else:
            settings = TRACKERS.load(using)(focal=focal, person=person)
            found = settings.track(recording, model(), out)
        write_track(out, found)
