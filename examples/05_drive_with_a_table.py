"""Drive an avatar with a table that any program can write: a row a frame, ARKit names on top."""

import csv
import math
from pathlib import Path

import tyro

import likeness
from likeness.core.files import atomic


def main(
    avatar: Path, out: Path = Path("driven.mp4"), seconds: float = 4.0, size: int = 256
) -> Path:
    """A nod with a smile, a blink every second and a talking jaw. Columns left out stay at rest."""
    table, fps = out.with_suffix(".csv"), 25.0
    with atomic(table) as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        names = ("MouthSmileLeft", "MouthSmileRight", "EyeBlinkLeft", "EyeBlinkRight", "JawOpen")
        rows.writerow(["Timecode", "BlendshapeCount", *names, "HeadPitch"])
        for frame in range(round(seconds * fps)):
            at = frame / fps
            smile = 0.5 - 0.5 * math.cos(2 * math.pi * at / seconds)
            blink = math.exp(-(((at % 1 - 0.5) / 0.06) ** 2))
            jaw = 0.15 + 0.15 * math.sin(9 * at)
            nod = 0.12 * math.sin(2 * math.pi * at / seconds)
            time = f"00:00:{int(at):02d}:{frame % round(fps):02d}"
            rows.writerow([time, 52, smile, smile, blink, blink, jaw, nod])
    print(likeness.reenact(avatar, str(table), out, size=size))
    return out


if __name__ == "__main__":
    tyro.cli(main)
