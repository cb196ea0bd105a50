"""`likeness demo`: the whole way on a synthetic person, in a few minutes."""

from pathlib import Path

from likeness.verbs.build import build
from likeness.verbs.synth import synth


def demo(
    out: Path = Path("demo"),
    seed: int = 2,
    frames: int = 100,
    size: int = 192,
    minutes: float = 1.0,
) -> str:
    """Film a synthetic person, track them, learn the avatar, and show it side by side.

    Args:
        out: The folder to write.
        seed: Which person.
        frames: How many frames to film.
        size: Pixels along a side.
        minutes: How long to train.
    """
    out = Path(out)
    video = out / "subject" / "subject.mp4"
    if not video.exists():
        synth(out / "subject", seed=seed, frames=frames, size=size + 64)
    consent = f"Synthetic person, seed {seed}; no consent is needed."
    return build(video, out / "avatar", minutes=minutes, size=size, seed=seed, consent=consent)
