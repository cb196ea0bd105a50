"""What several verbs open: avatars, devices, and a capture with its track."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.captures import open_capture
from likeness.core.capture import Capture, last_fifth
from likeness.core.errors import BadInput, Missing
from likeness.core.track import Track
from likeness.core.track_files import read_track
from likeness.methods import METHODS
from likeness.training.checkpoints import load_avatar
from likeness.training.frames import Kept

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


def open_avatar(folder: str | Path, device: str = "cpu") -> Any:
    """The avatar that `fit` or `build` left in `folder` (a build's own folder is fine too)."""
    folder = Path(folder)
    if not (folder / "avatar.json").exists() and (folder / "avatar" / "avatar.json").exists():
        folder = folder / "avatar"
    return load_avatar(folder, METHODS.load, device)


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
    if limit is not None:
        recording = replace(recording, pictures=Kept(recording.pictures, limit * 3 // 5))
        if found.maps is not None:
            found = replace(found, maps=Kept(found.maps, limit * 2 // 5))  # type: ignore[arg-type]
    return recording, found


def held_out(capture: Capture, track: Track, split: str = "test") -> list[int]:
    """Frames of a split in which a face was tracked."""
    splits = capture.splits or last_fifth(len(capture))
    if split not in ("train", "validation", "test"):
        raise BadInput(f"--split {split!r} is none of train, validation, test.")
    frames = [i for i in getattr(splits, split) if float(track.confidence[i]) > 0]
    if not frames:
        raise BadInput(
            f"The {split} split of {capture.name!r} has no tracked frame. Choose another --split."
        )
    return frames


def known_backdrop(
    avatar: Any, capture: Capture, track: Track, width: int, height: int
) -> tuple[Tensor, str]:
    """What an avatar stands before, `[H, W, 3]`, and where that is from."""
    learned = getattr(avatar, "backdrop", None)
    if isinstance(learned, Tensor) and learned.numel():
        picture = learned.detach().cpu().float()
        origin = "the avatar's own learned backdrop"
    elif track.backdrop is not None:
        picture, origin = torch.from_numpy(track.backdrop).float() / 255, "the track's backdrop"
    elif capture.background is not None:
        picture = torch.from_numpy(capture.background).float() / 255
        origin = "the capture's background"
    else:
        return torch.ones(height, width, 3), "white (no backdrop is known)"
    if picture.shape[:2] != (height, width):
        planes = picture.permute(2, 0, 1)[None]
        picture = torch.nn.functional.interpolate(planes, (height, width), mode="area")[0]
        picture = picture.permute(1, 2, 0)
    return picture, origin
