"""The one training loop: it knows five functions and `steps`, and nothing else about a method."""

import logging
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from likeness.core.batching import move
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, LikenessError, need_extra
from likeness.core.files import read_json, write_json
from likeness.core.media import save_png
from likeness.core.progress import Listener, stage
from likeness.core.track import Track
from likeness.ops.products import write_out
from likeness.training.checkpoints import TRAINING, load_training, save_avatar, save_training
from likeness.training.distributed import average_gradients, rank, world_size

_log = logging.getLogger(__name__)
_REPLAN = 100  # steps between new estimates of how many fit into the minutes
_SAVE = 60.0  # seconds of a training by minutes after which it is kept, few steps or many
_FIRST_LIVE = 1.0  # seconds until the first live picture

Look = Callable[[Any, int], dict[str, float | Tensor]]
"""Figures (numbers) and pictures (tensors in [0, 1]) of an avatar after some step, by name."""


@dataclass(frozen=True)
class Plan:
    """How long to train and how often to look up. `minutes` wins over the method's `steps`."""

    minutes: float | None = None
    """Stop after this much training time; the method's schedules are stretched to fit."""
    checkpoint_every: int = 1000
    """Steps between checkpoints. Frames are drawn anew from there, killed or not."""
    evaluate_every: int = 0
    """Steps between looks at held-out frames; 0 does not look."""
    live_every: float = 0.0
    """Seconds of training between live pictures, the first after 5; 0 draws none."""
    clip: float = 0.0
    """Largest norm of all gradients together; 0 leaves them."""
    ema: float = 0.0
    """Decay of a running mean of the parameters, kept as the result; 0 keeps the last ones."""
    half: bool = False
    """Compute losses in bfloat16 on CUDA; a processor is no faster at it and keeps float32."""
    tensorboard: bool = False
    """Write scalars for TensorBoard into the run folder."""
    seed: int = 0
    """Of the order of frames."""
    split: str = "last"
    """What the capture's splits are called; kept beside the avatar."""

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise BadInput(f"--minutes {self.minutes} is not a time above 0.")
        if not 0 <= self.live_every < math.inf:
            raise BadInput(f"Live pictures every {self.live_every} s are not possible. Try 30.")
        if self.checkpoint_every < 1:
            raise BadInput(f"A checkpoint every {self.checkpoint_every} steps is not possible.")


@dataclass
class _Run:
    """What changes while training."""

    method: Any
    avatar: nn.Module
    optimizer: Optimizer
    generator: Generator
    step: int = 0
    seconds: float = 0.0
    mean: dict[str, Tensor] | None = None
    asked: dict[str, Any] = field(default_factory=dict)


def train(
    method: Any,
    name: str,
    capture: Capture,
    track: Track,
    folder: str | Path,
    plan: Plan | None = None,
    device: str = "cpu",
    look: Look | None = None,
    live: Look | None = None,
) -> Any:
    """Fit a method to a capture and leave the avatar in `folder`.

    Goes on from `folder`'s checkpoint when it is of the same method and settings. `look` is asked
    for held-out frames on the plan's cadence: figures go into `log.json`, pictures into `glances/`.
    `live` is asked every few seconds; its pictures replace each other in `live/`. Neither's time
    counts as training. Returns the avatar.
    """
    plan, folder = plan or Plan(), Path(folder)
    if plan.half and device == "cpu":
        _log.warning("--half is for CUDA devices; this processor computes in float32 as ever.")
    run = _begin(method, capture, track, folder, plan, device)
    log = _Log(folder, plan, run.step)
    with stage(f"fitting {name}", _total(run, plan)) as bar:
        if run.step:
            bar.advance(run.step if plan.minutes is None else int(run.seconds))
        while not _over(run, plan):
            _round(run, plan, capture, track, device, bar, log, look, live)
            _sound(run)
            if rank() == 0:
                _checkpoint(run, plan, name, folder, capture.consent)
                log.write()
    log.close()
    _use_mean(run)
    if rank() == 0:
        save_avatar(folder, name, run.method, run.avatar, capture.consent, plan.split)
        (folder / TRAINING).unlink(missing_ok=True)
    return run.avatar


def _begin(
    method: Any, capture: Capture, track: Track, folder: Path, plan: Plan, device: str
) -> _Run:
    generator = Generator().manual_seed(plan.seed + 7919 * rank())
    asked = _plain({"settings": asdict(method), "plan": asdict(plan)})
    if (folder / TRAINING).exists():
        avatar, optimizer, notes, mean = load_training(folder, method, generator, device)
        if notes.get("asked") == asked:
            _log.info("Going on from step %d.", notes["step"])
            stretched = replace(method, steps=notes["steps"])
            step, seconds = notes["step"], notes["seconds"]
            return _Run(stretched, avatar, optimizer, generator, step, seconds, mean or None, asked)
        _log.warning("The unfinished training in %s had other settings; starting anew.", folder)
        generator.manual_seed(plan.seed + 7919 * rank())
    torch.manual_seed(plan.seed)
    avatar = method.build(capture, track).to(device)
    return _Run(method, avatar, method.optimizer(avatar), generator, asked=asked)


def _plain(values: Any) -> Any:
    """As JSON would give it back."""
    if isinstance(values, dict):
        return {str(k): _plain(v) for k, v in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(v) for v in values]
    return values


def _total(run: _Run, plan: Plan) -> int:
    return run.method.steps if plan.minutes is None else max(1, int(60 * plan.minutes))


def _over(run: _Run, plan: Plan) -> bool:
    if plan.minutes is not None:
        return run.seconds >= 60 * plan.minutes
    return run.step >= run.method.steps


def _round(
    run: _Run,
    plan: Plan,
    capture: Capture,
    track: Track,
    device: str,
    bar: Listener,
    log: "_Log",
    look: Look | None,
    live: Look | None,
) -> None:
    """Train until the next checkpoint. Frames are drawn by a fresh iterator, so that a run which
    was killed sees the same ones."""
    views: Iterator[Any] = run.method.batches(capture, track, run.generator)
    run.avatar.train()
    told, began = float(int(run.seconds)), run.seconds
    for _ in range(plan.checkpoint_every):
        if _over(run, plan) or (plan.minutes is not None and run.seconds >= began + _SAVE):
            break
        started = time.perf_counter()
        view = _moved(next(views), device)
        losses = _step(run, plan, view, device)
        if run.step:  # the first step may compile kernels, once per machine: no training time
            run.seconds += time.perf_counter() - started
        run.step += 1
        if plan.minutes is not None and run.step % _REPLAN == 0:
            _replan(run, plan)
        told = _tell(run, plan, losses, bar, log, told)
        if look is not None and plan.evaluate_every and run.step % plan.evaluate_every == 0:
            log.figures(run.step, look(run.avatar.eval(), run.step))
            run.avatar.train()
        if live is not None and plan.live_every and run.seconds >= log.live_due:
            log.live(run.step, live(run.avatar.eval(), run.step))
            log.live_due = run.seconds + plan.live_every
            run.avatar.train()


def _moved(view: Any, device: str) -> Any:
    return view if device == "cpu" else move(view, device)


def _step(run: _Run, plan: Plan, view: Any, device: str) -> dict[str, Tensor]:
    run.optimizer.zero_grad(set_to_none=True)
    half = plan.half and device != "cpu"
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=half):
        losses = run.method.losses(run.avatar, view, run.step)
    total = torch.stack([v.float() for v in losses.values()]).sum()
    if (device == "cpu" or run.step % 50 == 0) and not bool(torch.isfinite(total)):
        bad = [k for k, v in losses.items() if not bool(torch.isfinite(v))]
        raise LikenessError(
            f"Training went wrong at step {run.step}: {', '.join(bad) or 'the sum'} is not finite. "
            "The last checkpoint is kept. Check the track for wrong frames, or lower the rates."
        )
    total.backward()
    if world_size() > 1 or plan.clip > 0:
        for parameter in run.avatar.parameters():
            write_out(parameter)
    if world_size() > 1:
        average_gradients(run.avatar)
    if plan.clip > 0:
        nn.utils.clip_grad_norm_(run.avatar.parameters(), plan.clip)
    run.optimizer.step()
    with torch.no_grad():
        run.method.after_step(run.avatar, run.optimizer, run.step)
    if plan.ema > 0:
        _average(run, plan.ema)
    return losses


def _replan(run: _Run, plan: Plan) -> None:
    """Stretch the method's schedules so that they end when the minutes do."""
    assert plan.minutes is not None
    rate = run.step / max(run.seconds, 1e-9)
    left = max(0.0, 60 * plan.minutes - run.seconds)
    run.method = replace(run.method, steps=max(run.step + 1, round(run.step + rate * left)))


def _average(run: _Run, decay: float) -> None:
    state = {k: v for k, v in run.avatar.named_parameters()}
    same = run.mean is not None and all(run.mean[k].shape == v.shape for k, v in state.items())
    if not same:
        run.mean = {k: v.detach().clone() for k, v in state.items()}
        return
    assert run.mean is not None
    for key, value in state.items():
        run.mean[key].lerp_(value.detach(), 1 - decay)


@torch.no_grad()
def _use_mean(run: _Run) -> None:
    if run.mean is not None:
        for key, value in run.avatar.named_parameters():
            value.copy_(run.mean[key])


def _tell(
    run: _Run, plan: Plan, losses: dict[str, Tensor], bar: Listener, log: "_Log", told: float
) -> float:
    if plan.minutes is None:
        bar.advance(1)
    else:
        now = int(run.seconds)
        if now > told:
            bar.advance(now - int(told))
            told = float(now)
    if run.step % 50 == 0 or run.step == 1:
        values = {k: float(v.detach()) for k, v in losses.items()}
        loss = sum(values.values())
        log.scalars(run.step, run.seconds, {"loss": loss, **values})
        quality = "" if log.psnr is None else f"  psnr {log.psnr:.2f} dB"
        bar.advance(0, f"loss {loss:.4f}{quality}  {memory() / 1e9:.1f} GB")
    return told


def memory() -> int:
    """Bytes this process has held at most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _sound(run: _Run) -> None:
    """Stop before a checkpoint would replace a good one with parameters that are no numbers."""
    for name, value in run.avatar.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise LikenessError(
                f"Training went wrong by step {run.step}: {name} holds NaN or infinity. The last "
                "checkpoint is kept. Check the track for wrong frames, or lower the rates."
            )


def _checkpoint(run: _Run, plan: Plan, name: str, folder: Path, consent: str | None) -> None:
    notes = {
        "step": run.step,
        "seconds": run.seconds,
        "steps": run.method.steps,
        "asked": run.asked,
    }
    mean = {f"mean/{k}": v for k, v in (run.mean or {}).items()}
    save_training(folder, run.avatar, run.optimizer, run.generator, notes, mean)
    save_avatar(folder, name, run.method, run.avatar, consent, plan.split)


class _Log:
    """What training said on its way: `log.json`, and TensorBoard's files when asked for."""

    def __init__(self, folder: Path, plan: Plan, step: int) -> None:
        self.path = folder / "log.json"
        self.psnr: float | None = None
        self.live_due = _FIRST_LIVE
        self.rows: list[dict[str, float]] = []
        if step and self.path.exists():
            self.rows = [r for r in read_json(self.path).get("steps", []) if r["step"] <= step]
        self.board: Any = None
        if plan.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise need_extra("tensorboard", "logs", "--tensorboard") from error
            self.board = SummaryWriter(str(folder / "tensorboard"))

    def scalars(self, step: int, seconds: float, values: dict[str, float]) -> None:
        self.rows.append({"step": step, "seconds": round(seconds, 3), **values})
        if self.board is not None:
            for key, value in values.items():
                self.board.add_scalar(key, value, step)

    def figures(self, step: int, found: dict[str, float | Tensor]) -> None:
        """Numbers into the log, pictures into `glances/`, both to TensorBoard."""
        self.rows.append({"step": step, **self._numbers(found)})
        for key, value in found.items():
            if isinstance(value, Tensor):
                save_png(self.path.parent / "glances" / f"{step:07d}_{key}.png", value)
                if self.board is not None:
                    picture = value.detach().clamp(0, 1)
                    self.board.add_image(f"held out/{key}", picture, step, dataformats="HWC")
            elif self.board is not None:
                self.board.add_scalar(f"held out/{key}", value, step)

    def live(self, step: int, found: dict[str, float | Tensor]) -> None:
        """The pictures to watch: the last ones only."""
        self._numbers(found)
        for key, value in found.items():
            if isinstance(value, Tensor):
                save_png(self.path.parent / "live" / f"{key}.png", value, f"step {step}")

    def _numbers(self, found: dict[str, float | Tensor]) -> dict[str, float]:
        numbers = {k: float(v) for k, v in found.items() if not isinstance(v, Tensor)}
        self.psnr = numbers.get("psnr", self.psnr)
        return numbers

    def write(self) -> None:
        write_json(self.path, {"steps": self.rows})

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
