"""`likeness preview`: one video that shows what an avatar can do."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from likeness.core.avatar import Picture
from likeness.core.batching import move, take
from likeness.core.camera import Camera, resized
from likeness.core.capture import Capture, Sound
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.media import VideoWriter, to_bytes
from likeness.core.orbit import orbited
from likeness.core.progress import counted
from likeness.core.track import Track
from likeness.rigs import RIGS
from likeness.verbs.export import note_of
from likeness.verbs.loading import device_of, held_out, known_backdrop, open_avatar, open_pair

GREY = 0.55
LARGEST = 512  # pixels along a side of one panel
_YAW = math.radians(25)
_SMILE = ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight")
_BROWS = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")
_JAW = ("jawOpen",)


def preview(
    avatar: Path,
    capture: Path,
    track: Path,
    out: Path,
    device: str = "auto",
    seconds: float = 8.0,
) -> None:
    """A video of held-out frames: recording, avatar, another view, another expression.

    Args:
        avatar: The avatar folder.
        capture: The capture folder.
        track: Its track folder.
        out: The video to write, .mp4.
        device: "cpu", "cuda", or "auto".
        seconds: How long it may be.
    """
    if not 0 < seconds <= 600:
        raise BadInput(f"--seconds {seconds} is not between 0 and 600.")
    where = device_of(device)
    recording, found = open_pair(capture, track)
    head = open_avatar(avatar, where)
    fps = recording.fps or 12.0
    frames = first_run(held_out(recording, found), max(1, round(seconds * fps)))
    draw = Panels(recording, found, head, where)
    sound = sound_of(recording, frames, fps)
    with VideoWriter(out, fps, sound, note=note_of(avatar).line()) as video:
        for count, index in enumerate(counted(frames, "drawing the preview")):
            video.write(draw(index, count / fps))


class Panels:
    """Recording, avatar, another view and another expression of a frame, side by side."""

    def __init__(
        self, recording: Capture, found: Track, head: Any, where: str, largest: int = LARGEST
    ) -> None:
        self.recording, self.found, self.head, self.where = recording, found, head, where
        cameras = found.cameras
        scale = min(1.0, largest / max(cameras.width, cameras.height))
        sides = (max(2, round(n * scale) & ~1) for n in (cameras.width, cameras.height))
        self.width, self.height = sides
        self.behind = known_backdrop(head, recording, found)
        self.shapes = RIGS.load(found.rig)().shape_names

    def __call__(self, index: int, seconds: float) -> np.ndarray:
        """View and expression sway with `seconds`, every four the same."""
        camera = resized(take(self.found.cameras, index), self.width, self.height)
        expression = take(self.found.expressions, index)
        moved = orbited(camera, expression, _YAW * math.sin(2 * math.pi * seconds / 4))
        other = swept(expression, self.shapes, seconds)
        head, where = self.head, self.where
        seen = fitted(self.recording[index].rgb8, self.width, self.height)
        panels = [
            (seen, "recording, held out"),
            (_drawn(head, camera, expression, where, self.behind.at(camera)), "avatar"),
            (_drawn(head, moved, expression, where, GREY), "another view"),
            (_drawn(head, camera, other, where, GREY), "another expression"),
        ]
        return np.concatenate([labelled(p, text) for p, text in panels], 1)


def first_run(frames: list[int], most: int) -> list[int]:
    """The longest run of neighbouring frames, or its first `most`."""
    runs: list[list[int]] = []
    for index in frames:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    longest = max(runs, key=len)
    return longest[:most] if len(longest) >= min(most, len(frames)) // 2 else frames[:most]


def sound_of(capture: Capture, frames: list[int], fps: float) -> Sound | None:
    """What was heard during a run of frames; None for frames that are not neighbours."""
    if capture.sound is None or frames[-1] - frames[0] != len(frames) - 1:
        return None
    rate = capture.sound.rate
    first = round(capture.times[frames[0]] * rate)
    samples = capture.sound.samples[first : first + round(len(frames) / fps * rate)]
    return Sound(samples, rate) if len(samples) else None


def swept(expression: Expression, shapes: tuple[str, ...], seconds: float) -> Expression:
    """The same moment with smile, brows and jaw coming and going one after another.

    Rigs without those names have their first three shapes swept.
    """
    groups = [[shapes.index(n) for n in names if n in shapes] for names in (_SMILE, _BROWS, _JAW)]
    if not all(groups):
        groups = [[i] for i in range(min(3, len(shapes)))]
    coefficients = expression.coefficients.clone()
    for which, columns in enumerate(groups):
        strength = max(0.0, math.sin(2 * math.pi * (seconds / 4 - which / 3)))
        strength *= 0.55 if shapes[columns[0]] in _JAW else 0.85
        coefficients[columns] = torch.maximum(
            coefficients[columns], coefficients.new_tensor(strength)
        )
    return replace(expression, coefficients=coefficients)


@torch.no_grad()
def _drawn(
    avatar: Any, camera: Camera, expression: Expression, device: str, background: Tensor | float
) -> np.ndarray:
    picture: Picture = avatar.render(move(camera, device), move(expression, device))
    return to_bytes(move(picture, "cpu").over(background))


def fitted(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture at another size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def labelled(pixels: np.ndarray, text: str) -> np.ndarray:
    """A panel with small words in its lower left corner, legible on light and dark."""
    picture = Image.fromarray(pixels)
    size = max(9, pixels.shape[0] // 28)
    at = (size // 2, pixels.shape[0] - 2 * size)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    draw.text(at, text, (255, 255, 255), font, stroke_width=1, stroke_fill=(40, 40, 40))
    return np.asarray(picture)
