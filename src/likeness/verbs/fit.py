"""`likeness fit`: learn an avatar from a capture and its track."""

import logging
import math
import sys
import types
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch

from likeness.core.avatar import Picture
from likeness.core.batching import move, take
from likeness.core.capture import Capture, Splits, interleaved, last_fifth
from likeness.core.errors import BadInput, unknown
from likeness.core.files import only_one
from likeness.core.track import Track
from likeness.methods import METHODS
from likeness.ops.image import psnr
from likeness.training.frames import parse_size
from likeness.training.loop import Look, Plan, train
from likeness.verbs.consent import ask_for_consent, consent_note
from likeness.verbs.loading import device_of, held_out, known_backdrop, open_pair

_log = logging.getLogger(__name__)
MINUTES = 10.0
PRESETS = ("laptop", "gpu", "paper")


def fit(
    capture: Path,
    track: Path,
    out: Path,
    method: str = "splats",
    preset: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    splats: int | None = None,
    settings: tuple[str, ...] = (),
    memory_limit: str = "2G",
    evaluate_every: int = 0,
    live: float = 30.0,
    tensorboard: bool = False,
    ema: float = 0.0,
    clip: float = 0.0,
    half: bool = False,
    split: str = "last",
    consent: str | None = None,
    device: str = "auto",
) -> None:
    """Learn an avatar. Stopped half-way, the same command goes on from the last checkpoint.

    Args:
        capture: The capture folder.
        track: Its track folder.
        out: The avatar folder to write.
        method: Which avatar method.
        preset: laptop, gpu or paper, where the method has it.
        minutes: How long to train. Ten unless --steps is given.
        steps: Train for exactly so many steps instead; then the result is reproducible.
        seed: Of everything random.
        splats: How many Gaussians a method made of them may use: never more, at any time. 30000 for
            `splats`.
        settings: Single settings of the method, such as code=12 focus=2.
        memory_limit: How much memory decoded pictures may take.
        evaluate_every: Steps between looks at held-out frames; 0 looks at none.
        live: Seconds between live pictures of a held-out frame, live/truth_and_render.png in the
            avatar folder; 0 draws none.
        tensorboard: Write scalars and held-out pictures for TensorBoard into the avatar folder.
        ema: Decay of a running mean of the parameters kept as the result, such as 0.999.
        clip: Largest norm of all gradients together, such as 1; 0 leaves them as they are.
        half: Compute losses in bfloat16, which CUDA devices do faster; processors do not.
        split: Which frames never train: last (those at the end, or the data set's own), or
            interleaved (besides them 4 of every 40, which `evaluate --split interleaved` judges).
        consent: Who agreed to being modelled, when, and for what; or a text file that says so. The
            capture's own note unless given.
        device: "cpu", "cuda", or "auto".
    """
    if minutes is not None and steps is not None:
        raise BadInput("Give --minutes or --steps, not both.")
    if evaluate_every < 0:
        raise BadInput(f"--evaluate-every {evaluate_every} is below 0.")
    if not 0 <= ema < 1:
        raise BadInput(f"--ema {ema} is not in [0, 1). Try 0.999.")
    if not 0 <= clip < math.inf:
        raise BadInput(f"--clip {clip} is not a norm. Try 1, or 0 for none.")
    if splats is not None:
        settings = (*settings, f"splats={splats}")
    chosen = configured(method, preset, settings, seed, steps)
    where = device_of(device)
    recording, found = open_pair(capture, track, parse_size(memory_limit))
    agreed = consent_note(consent) or recording.consent
    ask_for_consent(agreed)
    recording = replace(recording, splits=kept_apart(recording, split), consent=agreed)
    plan = Plan(
        minutes=None if steps is not None else (MINUTES if minutes is None else minutes),
        evaluate_every=evaluate_every,
        live_every=live,
        tensorboard=tensorboard,
        ema=ema,
        clip=clip,
        half=half,
        seed=seed,
        split=split,
    )
    look = glance(recording, found, where) if evaluate_every else None
    watch = glance(recording, found, where, 1) if live else None
    with only_one(out):
        train(chosen, method, recording, found, out, plan, where, look, watch)


def kept_apart(capture: Capture, split: str) -> Splits:
    """The splits to train with: the capture's own, or with blocks between them held out too."""
    if split not in ("last", "interleaved"):
        raise BadInput(f"--split {split!r} is neither last nor interleaved.")
    splits = capture.splits or last_fifth(len(capture))
    return interleaved(splits) if split == "interleaved" else splits


def configured(
    method: str,
    preset: str | None = None,
    settings: tuple[str, ...] = (),
    seed: int = 0,
    steps: int | None = None,
) -> Any:
    """A method's settings out of a preset, single values, the seed and the steps."""
    kind = METHODS.load(method)
    chosen = kind()
    if preset is not None:
        module = sys.modules[kind.__module__]
        known = [name for name in PRESETS if callable(getattr(module, name, None))]
        if preset not in known:
            raise unknown(f"preset of {method}", preset, known)
        chosen = getattr(module, preset)()
    types_of = get_type_hints(kind)
    names = [f.name for f in fields(kind)]
    changed: dict[str, Any] = {"seed": seed} if "seed" in names else {}
    for word in " ".join(settings).split():
        name, equals, text = word.partition("=")
        if not equals:
            raise BadInput(f"--settings {word!r} should look like name=value.")
        if name not in names:
            raise unknown(f"setting of {method}", name, names)
        changed[name] = read_value(name, text, types_of[name])
    if steps is not None:
        changed["steps"] = steps
    return replace(chosen, **changed)


def read_value(name: str, text: str, kind: Any) -> Any:
    """A setting's text as what the setting is: a number, a switch, a word, or numbers by commas."""
    if get_origin(kind) in (Union, types.UnionType):
        if text == "none":
            return None
        kind = next(k for k in get_args(kind) if k is not type(None))
    if get_origin(kind) is tuple:
        return tuple(read_value(name, part, get_args(kind)[0]) for part in text.split(","))
    if kind is bool:
        if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise BadInput(f"Setting {name}={text} should be true or false.")
        return text.lower() in ("true", "yes", "1")
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError as error:
        raise BadInput(f"Setting {name}={text} should be a number ({kind.__name__}).") from error


def glance(capture: Capture, track: Track, device: str, count: int = 8) -> Look:
    """A look at a few held-out frames while training: their PSNR, and truth and render of one."""
    frames = held_out(capture, track)
    frames = frames[:: max(1, len(frames) // count)][:count]

    @torch.no_grad()
    def look(avatar: Any, step: int) -> dict[str, float | torch.Tensor]:
        found: dict[str, float | torch.Tensor] = {}
        values = []
        for index in frames:
            camera = move(take(track.cameras, index), device)
            expression = move(take(track.expressions, index), device)
            picture: Picture = move(avatar.render(camera, expression), "cpu")
            behind = known_backdrop(avatar, capture, track).at(camera)
            truth, drawn = capture[index].rgb, picture.over(behind).clamp(0, 1)
            values.append(float(psnr(drawn, truth)))
            if index == frames[len(frames) // 2]:
                found["truth_and_render"] = torch.cat([truth, drawn], 1)
        return {"psnr": sum(values) / len(values), **found}

    return look
