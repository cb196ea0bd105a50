"""Collections of many people as "Neural Character Generation" keeps them: three layouts.

raw/<person>/*.jpg        with masks/, poses/, metadata/ and embeddings/ beside
data/dataset/<person>/poses/<pose>/*.jpg        what its web page records
LLFF/<person>/images/     with poses_bounds.npy: see `llff`
"""

from dataclasses import replace
from pathlib import Path

from likeness.captures import llff, photos
from likeness.captures.fields import load_array, number, reading
from likeness.captures.picture_files import picture_paths
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, did_you_mean
from likeness.core.files import read_any_json

POSES = ("front", "left", "right", "up", "down")


def recognises(path: Path) -> bool:
    return path.is_dir() and bool(_people(path))


def _people(path: Path) -> dict[str, Path]:
    """Folder of each person, for whichever layout is here."""
    found: dict[str, Path] = {}
    if (path / "raw").is_dir() and ((path / "poses").is_dir() or (path / "metadata").is_dir()):
        found = {p.name: p for p in photos.people(path / "raw")}
    for base in (path / "data" / "dataset", path / "dataset"):
        if not found and base.is_dir():
            found = {p.name: p for p in sorted(base.iterdir()) if (p / "poses").is_dir()}
    if not found and (path / "LLFF").is_dir():
        found = {p.name: p for p in sorted((path / "LLFF").iterdir()) if llff.recognises(p)}
    return found


def read(path: Path, person: str | None = None) -> Capture:
    """The photos of one person; `person` is needed where there are several."""
    path = Path(path)
    people = _people(path)
    if person is None and len(people) == 1:
        person = next(iter(people))
    if person is None:
        raise BadInput(
            f"{path} holds {len(people)} people: {', '.join(map(repr, people))}. "
            "Say which with person=..., or give that person's folder."
        )
    if person not in people:
        raise BadInput(f"{path} has nobody called {person!r}. {did_you_mean(person, people)}")
    folder = people[person]
    if folder.parent.name == "LLFF":
        return llff.read(folder)
    if folder.parent.name == "raw":
        return _training_root(path, folder)
    return _recorded(folder)


def _training_root(root: Path, folder: Path) -> Capture:
    """Photos with masks; notes carry the stored pose (x y z, quaternion x y z w) of each."""
    files = tuple(picture_paths(folder))
    masks = tuple(root / "masks" / folder.name / f"{p.stem}.png" for p in files)
    capture = photos.of_files(files, folder.name, str(folder), masks)
    poses = [root / "poses" / folder.name / f"{p.stem}.npy" for p in files]
    if all(p.is_file() for p in poses):
        capture.notes["poses"] = [load_array(p, (7,)).tolist() for p in poses]
    about = root / "metadata" / folder.name / "exif.json"
    if about.is_file():
        data = read_any_json(about)
        with reading(about):
            millimetres = [number(data[p.name], "focal", about, None) for p in files]
        capture.notes["focal_millimetres"] = millimetres
    capture.notes["layout"] = "ncg"
    return capture


def _recorded(folder: Path) -> Capture:
    """Photos of the asked-for poses, frontal ones first; names say the pose."""
    found = [
        (pose.name, picture)
        for pose in sorted(
            (p for p in (folder / "poses").iterdir() if p.is_dir()),
            key=lambda p: (POSES.index(p.name) if p.name in POSES else len(POSES), p.name),
        )
        for picture in picture_paths(pose)
    ]
    if not found:
        raise BadInput(f"{folder / 'poses'} holds no photos. Record the person again.")
    files = tuple(p for _, p in found)
    names = tuple(f"{pose}_{p.stem}" for pose, p in found)
    capture = photos.of_files(files, folder.name, str(folder))
    return replace(capture, names=names, notes={"layout": "ncg"})
