"""What several verbs open: avatars, devices, and a capture with its track."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.captures import open_capture
from likeness.core.batching import move, take
from likeness.core.camera import Camera
from likeness.core.capture import Capture, interleaved, last_fifth, parted
from likeness.core.errors import BadInput, Missing
from likeness.core.track import Track
from likeness.core.track_files import read_track
from likeness.methods import METHODS
from likeness.ops.backdrop import seen_behind
from likeness.training.checkpoints import load_avatar
from likeness.training.frames import Kept, tracked

_log = logging.getLogger(__name__)


def device_of(asked: str) -> str:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = asked.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise BadInput(f'--device {asked!r} is unknown. Use "auto", "cpu" or "cuda".')
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise Missing(
                "--device cuda: this torch sees no CUDA device. Use --device cpu, or install a "
                "CUDA build of torch; `likeness doctor` says more."
            )
        if number and int(number) >= count:
            raise BadInput(f"--device {asked}: there are {count} CUDA devices, counted from 0.")
    return asked


def avatar_folder(folder: str | Path) -> Path:
    """Where an avatar lies: in `folder`, or in `folder`/avatar when a build made it."""
    folder = Path(folder)
    if not (folder / "avatar.json").exists() and (folder / "avatar" / "avatar.json").exists():
        return folder / "avatar"
    return folder


def open_avatar(folder: str | Path, device: str = "cpu") -> Any:
    """The avatar that `fit` or `build` left in `folder` (a build's own folder is fine too)."""
    return load_avatar(avatar_folder(folder), METHODS.load, device)


def open_pair(
    capture: str | Path, track: str | Path, limit: int | None = None
) -> tuple[Capture, Track]:
    """A capture and its track, checked against each other. Within `limit` bytes, pictures stay in
    memory once they are decoded."""
    recording = open_capture(capture)
    if not (Path(track) / "track.json").exists():
        raise BadInput(f"{track} holds no track. Run `likeness track {capture} --out {track}`.")
    found = read_track(track)
    if len(found) != len(recording):
        raise BadInput(
            f"{track} tracks {len(found)} frames; {capture} has {len(recording)}. "
            "Track this capture again."
        )
    size = (found.cameras.width, found.cameras.height)
    if size != tuple(recording.size):
        raise BadInput(
            f"{track} is for pictures of {size[0]}x{size[1]}; those of {capture} are "
            f"{recording.size[0]}x{recording.size[1]}. Track this capture again."
        )
    splits = parted(recording, found.confidence.nonzero()[:, 0].tolist())
    if recording.splits is not None and splits != recording.splits:
        _log.warning(
            "%s: all frames with a face are on one side of the splits; their last fifth is held "
            "out instead.", capture,
        )  # fmt: skip
    recording = replace(recording, splits=splits)
    if limit is not None:
        recording = replace(recording, pictures=Kept(recording.pictures, limit * 3 // 5))
        if found.maps is not None:
            found = replace(found, maps=Kept(found.maps, limit * 2 // 5))  # type: ignore[arg-type]
    return recording, found


def split_of(capture: Capture, split: str) -> tuple[int, ...]:
    """The frames of a split: `last` (or test), `interleaved` (blocks between frames that train),
    validation or train."""
    splits = capture.splits or last_fifth(len(capture))
    if split == "interleaved":
        return interleaved(splits).validation
    name = "test" if split == "last" else split
    if name not in ("train", "validation", "test"):
        raise BadInput(f"--split {split!r} is none of last, interleaved, test, validation, train.")
    return getattr(splits, name)


def held_out(capture: Capture, track: Track, split: str = "test") -> list[int]:
    """Frames of a split in which a face was tracked."""
    frames = tracked(track, split_of(capture, split))
    if not frames:
        raise BadInput(
            f"The {split} split of {capture.name!r} has no tracked frame. Choose another --split."
        )
    return frames


@dataclass(frozen=True, eq=False)
class Behind:
    """What an avatar stands before, and where that is from."""

    picture: Tensor
    taken: Camera | None
    origin: str

    def at(self, camera: Camera) -> Tensor:
        """`[H, W, 3]` as a camera of the same track sees it."""
        if self.taken is None:
            return self.picture.expand(camera.height, camera.width, 3)
        return seen_behind(self.picture, self.taken, move(camera, "cpu"))


def known_backdrop(avatar: Any, capture: Capture, track: Track) -> Behind:
    """The avatar's own backdrop, else the track's, else the capture's, else white."""
    first = take(track.cameras, 0)
    learned = getattr(avatar, "backdrop", None)
    if isinstance(learned, Tensor) and learned.numel():
        taken = getattr(avatar, "backdrop_camera", first)
        picture = learned.detach().cpu().float()
        return Behind(picture, move(taken, "cpu"), "the avatar's own learned backdrop")
    if track.backdrop is not None:
        return Behind(torch.from_numpy(track.backdrop).float() / 255, first, "the track's backdrop")
    if capture.background is not None:
        picture = torch.from_numpy(capture.background).float() / 255
        return Behind(picture, first, "the capture's background")
    return Behind(torch.ones(3), None, "white (no backdrop is known)")
