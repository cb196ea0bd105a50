"""Pictures of an avatar: a moving one (MP4, WebM, GIF, WebP) or PNG, seen straight from before."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from likeness.core.animations import ANIMATIONS, writer
from likeness.core.avatar import Avatar, Picture
from likeness.core.batching import move
from likeness.core.camera import Camera, pinhole
from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.geometry import look_at
from likeness.core.label import LABEL, labelled
from likeness.core.media import save_png, to_bytes
from likeness.core.watermark import SMALLEST, embed, payload_of
from likeness.exporters.motion import Motion, check_finite
from likeness.exporters.notes import Note

_FIELD, _DISTANCE = 0.36, 0.9  # metres across the picture, and from eye to head
_GREY = 0.55


@dataclass(frozen=True)
class Film:
    """Settings that all pictures share. The camera stands still before the first moment's head."""

    size: int = 512
    """Pixels along a side."""
    background: str = "grey"
    """grey, white, black, or none: transparent, in WebM, GIF, WebP and PNG."""
    label: bool = False
    """A visible label in the corner."""
    label_text: str = LABEL
    watermark: bool = False
    """An invisible watermark that `likeness verify` reads."""

    needs: ClassVar[type] = Avatar
    suffix: ClassVar[str] = ""
    clear: ClassVar[bool] = True  # whether it can be transparent
    strength: ClassVar[float] = 1.0  # of the watermark; more where pictures are kept coarsely

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        check_finite(motion)
        self.check()
        more = {} if path.suffix.lower() in ANIMATIONS else {"sound": motion.sound}
        with writer(path, motion.fps, note.line(), **more) as film:
            for pixels in self.pictures(avatar, motion, note):
                film.write(pixels)
        return path

    def check(self) -> None:
        if not 16 <= self.size <= 4096:
            raise BadInput(f"--options size={self.size} is outside 16 to 4096 pixels.")
        if self.background not in (*_GROUNDS, "none"):
            raise BadInput(
                f"--options background={self.background} is none of grey, white, black, none."
            )
        if self.background == "none" and not self.clear:
            raise BadInput(f"{self.suffix} cannot be transparent. Use webm, png, gif or webp.")
        if self.watermark and self.size < SMALLEST:
            raise BadInput(f"A watermark needs pictures of at least {SMALLEST} pixels a side.")

    def pictures(
        self, avatar: Any, motion: Motion, note: Note
    ) -> Iterator[UInt8[np.ndarray, "H W C"]]:
        """Frame after frame as they are asked for, with their marks."""
        camera, payload = portrait(motion[0], self.size), payload_of(note.line())
        device = next((p.device for p in getattr(avatar, "parameters", list)()), "cpu")
        for index in range(len(motion)):
            with torch.no_grad():
                seen = avatar.render(move(camera, device), move(motion[index], device))
            pixels = to_bytes(self._grounded(move(seen, "cpu")))
            if self.watermark:
                pixels = embed(pixels, payload, self.strength)
            yield labelled(pixels, self.label_text) if self.label else pixels

    def _grounded(self, picture: Picture) -> Tensor:
        if self.background != "none":
            return picture.over(_GROUNDS[self.background])
        alpha: Float[Tensor, "H W 1"] = picture.alpha[..., None]
        return torch.cat([(picture.rgb / alpha.clamp(min=1e-4)).clamp(0, 1), alpha], -1)


_GROUNDS = {"grey": _GREY, "white": 1.0, "black": 0.0}


@dataclass(frozen=True)
class Mp4(Film):
    """H.264 in MP4, which opens everywhere; never transparent."""

    suffix = ".mp4"
    clear = False


@dataclass(frozen=True)
class WebM(Film):
    """VP9 in WebM, transparent where asked."""

    suffix = ".webm"


@dataclass(frozen=True)
class Gif(Film):
    """A looping GIF of 256 colours, for a README."""

    size: int = 320
    suffix = ".gif"


@dataclass(frozen=True)
class WebP(Film):
    """A looping animated WebP: all colours, a fifth of the GIF."""

    size: int = 320
    suffix = ".webp"
    strength = 1.6


@dataclass(frozen=True)
class Png(Film):
    """One moment as PNG; a motion becomes a folder of numbered pictures."""

    suffix = ".png"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        check_finite(motion)
        self.check()
        if len(motion) == 1:
            save_png(path, next(self.pictures(avatar, motion, note)), note.line())
            return path
        folder = path.with_suffix("")
        for index, pixels in enumerate(self.pictures(avatar, motion, note)):
            save_png(folder / f"{index:06d}.png", pixels, note.line())
        return folder


def portrait(expression: Expression, size: int) -> Camera:
    """A square camera straight before the face."""
    head = move(expression, "cpu").world_from_head
    target = head[:3, :3] @ head.new_tensor([0.0, -0.03, -0.07]) + head[:3, 3]
    pose = look_at(target + _DISTANCE * head[:3, 2], target, head.new_tensor([0.0, 1.0, 0.0]))
    return pinhole(size * _DISTANCE / _FIELD, size, size, pose)
