"""`likeness render`: an avatar seen anew, as a video or as pictures."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.core.avatar import Picture
from likeness.core.batching import move, take
from likeness.core.camera import Camera
from likeness.core.capture import Sound
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.media import VideoWriter, save_png
from likeness.core.orbit import orbited
from likeness.core.progress import counted
from likeness.exporters.notes import Note
from likeness.verbs.export import note_of
from likeness.verbs.loading import (
    Behind,
    device_of,
    held_out,
    known_backdrop,
    open_avatar,
    open_pair,
)
from likeness.verbs.moments import at_rest, cameras_from, portrait, shape_names, with_settings
from likeness.verbs.preview import GREY, sound_of

VIEWS = ("orbit", "spiral", "sweep", "recording")
_COLOURS = {"grey": GREY, "white": 1.0, "black": 0.0}
Moment = tuple[Camera, Expression]


def render(
    avatar: Path,
    out: Path,
    view: str = "orbit",
    capture: Path | None = None,
    track: Path | None = None,
    split: str = "test",
    size: int = 512,
    seconds: float = 6.0,
    fps: float = 25.0,
    expression: tuple[str, ...] = (),
    background: str = "grey",
    device: str = "auto",
) -> None:
    """Draw an avatar from new views, in new expressions, or as in held-out frames.

    Args:
        avatar: The avatar folder.
        out: A .mp4, .mov or .webm video, or a folder for PNG pictures.
        view: orbit, spiral, sweep (one coefficient after another), recording (held-out frames
            with their own camera and expression; needs --capture and --track), or a camera path
            file (.json).
        capture: The capture folder, for `recording`.
        track: Its track folder.
        split: Which frames of the recording: test, validation or train.
        size: Pixels along a side, where no recording decides it.
        seconds: How long, where no recording decides it.
        fps: Frames a second, where no recording decides it.
        expression: Coefficients by name, such as jawOpen=0.4 mouthSmileLeft=0.7.
        background: grey, white, black, own (the avatar's learned backdrop, for `recording`), or
            none: transparent in .webm and PNG.
        device: "cpu", "cuda", or "auto".
    """
    if not 16 <= size <= 4096:
        raise BadInput(f"--size {size} is outside 16 to 4096 pixels.")
    if not (0 < seconds <= 3600 and 0 < fps <= 240):
        raise BadInput(f"--seconds {seconds} at --fps {fps} is not a length of video.")
    if background not in (*_COLOURS, "own", "none"):
        raise BadInput(f"--background {background!r} is none of grey, white, black, own, none.")
    where = device_of(device)
    head = open_avatar(avatar, where)
    behind: Behind | float | None = _COLOURS.get(background)
    sound: Sound | None = None
    count = max(1, round(seconds * fps))
    if view == "recording":
        if capture is None or track is None:
            raise BadInput("--view recording needs --capture and --track.")
        recording, found = open_pair(capture, track)
        frames = held_out(recording, found, split)
        fps = recording.fps or fps
        sound = sound_of(recording, frames, fps)
        moments = [(take(found.cameras, i), take(found.expressions, i)) for i in frames]
        if background == "own":
            behind = known_backdrop(head, recording, found)
    else:
        if background == "own":
            raise BadInput("--background own fits only --view recording.")
        rest = at_rest(head)
        names = shape_names(rest.rig, len(rest.coefficients))
        moments = planned(view, with_settings(rest, expression, names), size, count)
        if view.endswith(".json"):
            fps = cameras_from(Path(view))[1]
    pictures = _drawn(head, moments, where, behind)
    write_pictures(out, counted(pictures, "rendering", len(moments)), fps, sound, note_of(avatar))


def planned(view: str, expression: Expression, size: int, count: int) -> list[Moment]:
    """Cameras and expressions of a view that needs no recording."""
    if view.endswith(".json"):
        return [(camera, expression) for camera in cameras_from(Path(view))[0]]
    camera = portrait(expression, size, size)
    turns = [2 * math.pi * i / count for i in range(count)]
    if view == "orbit":
        yaw = math.radians(35)
        return [(orbited(camera, expression, yaw * math.sin(a)), expression) for a in turns]
    if view == "spiral":
        yaw, pitch = math.radians(25), math.radians(12)
        return [
            (orbited(camera, expression, yaw * math.sin(a), pitch * math.cos(a)), expression)
            for a in turns
        ]
    if view == "sweep":
        return [(camera, swept) for swept in one_by_one(expression, count)]
    raise BadInput(f"--view {view!r} is none of {', '.join(VIEWS)}, or a .json file.")


def one_by_one(expression: Expression, count: int) -> Iterator[Expression]:
    """Every coefficient rising to 1 and falling again, one after another."""
    width = len(expression.coefficients)
    for i in range(count):
        place = i * width / count
        which = min(int(place), width - 1)
        coefficients = expression.coefficients.clone()
        coefficients[which] = math.sin(math.pi * (place - which))
        yield replace(expression, coefficients=coefficients)


@torch.no_grad()
def _drawn(
    avatar: Any, moments: list[Moment], device: str, behind: Behind | float | None
) -> Iterator[Tensor]:
    for camera, expression in moments:
        picture: Picture = avatar.render(move(camera, device), move(expression, device))
        picture = move(picture, "cpu")
        if behind is not None:
            yield picture.over(behind.at(camera) if isinstance(behind, Behind) else behind)
            continue
        straight = picture.rgb / picture.alpha[..., None].clamp(min=1e-4)
        yield torch.cat([straight.clamp(0, 1), picture.alpha[..., None]], -1)


def write_pictures(
    out: str | Path,
    pictures: Iterator[Tensor],
    fps: float,
    sound: Sound | None,
    note: Note,
) -> None:
    """A video by its suffix, else a folder of PNG pictures; with the note in each."""
    out = Path(out)
    if not out.suffix:
        for number, picture in enumerate(pictures):
            save_png(out / f"{number:06d}.png", picture, note.line())
        return
    with VideoWriter(out, fps, sound, note=note.line()) as video:
        for picture in pictures:
            if picture.shape[-1] == 4 and out.suffix.lower() != ".webm":
                raise BadInput(f"{out} cannot be transparent. Write .webm, or a folder of PNGs.")
            video.write(picture)
