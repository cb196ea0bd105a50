"""The sound of a file, and WAV files of our own."""

import logging
import wave
from pathlib import Path

import av
import numpy as np
import torch

from likeness.core.capture import Sound
from likeness.core.errors import BadInput
from likeness.core.files import atomic

_log = logging.getLogger(__name__)


def decode_sound(path: Path, start: float = 0.0) -> Sound | None:
    """The first soundtrack as mono, its time zero moved to `start` seconds of the file.

    None when there is no soundtrack, or none of it can be decoded. Gaps are not filled; sound
    before `start` is cut, sound that begins after it is preceded by silence.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                return None
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                _log.warning("%s: its sound is of a codec that is not known here.", path)
                return None
            rate = int(stream.rate or 0)
            parts, first = _decode(container, stream, rate)
    except (av.FFmpegError, OSError, ValueError) as error:
        _log.warning("%s: the sound cannot be decoded (%s).", path, error)
        return None
    if not parts:
        return None
    samples = np.concatenate(parts)
    shift = round(((first or 0.0) - start) * rate)
    samples = (
        np.concatenate([np.zeros(shift, np.float32), samples]) if shift > 0 else samples[-shift:]
    )
    return Sound(torch.from_numpy(np.clip(samples, -1, 1)), rate)


def _decode(container, stream, rate: int) -> tuple[list[np.ndarray], float | None]:
    """Mono float pieces and the time of the first."""
    mono = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    parts: list[np.ndarray] = []
    first: float | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            _log.debug("a piece of sound cannot be decoded: %s", error)
            continue
        for frame in frames:
            if first is None and frame.time is not None:
                first = float(frame.time)
            parts.extend(f.to_ndarray()[0] for f in mono.resample(frame))
    parts.extend(f.to_ndarray()[0] for f in mono.resample(None))
    return [p.astype(np.float32) for p in parts if p.size], first


def write_wav(path: str | Path, sound: Sound) -> None:
    """16-bit mono WAV."""
    samples = (sound.samples.detach().cpu().numpy().clip(-1, 1) * 32767).round().astype("<i2")
    with atomic(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(samples.tobytes())


def read_wav(path: str | Path) -> Sound:
    """Any sound file, though meant for WAV; a file with no sound in it is an error."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no sound file {path}.")
    sound = decode_sound(path)
    if sound is None:
        raise BadInput(f"{path} holds no sound that can be decoded. Save it as WAV.")
    return sound
