"""The whole way from Python: film a person who does not exist, learn the avatar, draw it anew.

Give your own video instead of the synthetic one: python examples/01_hello_avatar.py --video me.mp4
"""

from pathlib import Path

import tyro

import likeness


def main(
    out: Path = Path("hello"),
    video: Path | None = None,
    size: int = 256,
    frames: int = 100,
    minutes: float | None = 1.0,
    steps: int | None = None,
    tracker: str = "photometric",
) -> Path:
    """Leave capture/, track/, avatar/, scores/ and turn.mp4 in `out`."""
    if video is None:
        likeness.synth(out / "person", seed=2, frames=frames, size=size)
        video = out / "person" / "subject.mp4"
    agreed = "Synthetic person, seed 2; no consent is needed."  # for real people: who, when, what
    likeness.ingest(video, out / "capture", size=size, consent=agreed)
    likeness.track(out / "capture", out / "track", using=tracker)
    likeness.fit(out / "capture", out / "track", out / "avatar", minutes=minutes, steps=steps)
    likeness.evaluate(out / "avatar", out / "capture", out / "track", out / "scores")
    likeness.render(out / "avatar", out / "turn.mp4", size=size, seconds=min(6.0, frames / 25))
    return out / "avatar"


if __name__ == "__main__":
    tyro.cli(main)
