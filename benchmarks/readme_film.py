"""The moving picture of the README: four seconds of a build's held-out frames, forth and back.

Run: likeness demo --out demo && python benchmarks/readme_film.py --build demo/avatar
"""

from pathlib import Path

import tyro

from likeness.core.animations import AnimationWriter
from likeness.verbs.loading import held_out, open_avatar, open_pair
from likeness.verbs.preview import Panels, first_run

_SECONDS = 4  # then view and expression are where they began


def main(
    build: Path,
    out: Path = Path("docs/images/avatar.webp"),
    size: int = 224,
    fps: float = 12.5,
    quality: int = 70,
) -> None:
    """Draw it."""
    recording, found = open_pair(build / "capture", build / "track")
    draw = Panels(recording, found, open_avatar(build / "avatar"), "cpu", largest=size)
    frames = first_run(held_out(recording, found), 10_000)
    frames = frames[:: max(1, round((recording.fps or fps) / fps))]
    there_and_back = frames + frames[-2:0:-1]
    consent = str(recording.consent or "")
    with AnimationWriter(out, fps, quality, note=f"Synthetic media. {consent}") as film:
        for count in range(round(_SECONDS * fps)):
            film.write(draw(there_and_back[count % len(there_and_back)], count / fps))


if __name__ == "__main__":
    tyro.cli(main)
