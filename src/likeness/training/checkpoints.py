"""Avatars and unfinished trainings on disk: JSON and safetensors, each file whole or absent."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from likeness.core.errors import BadInput
from likeness.core.files import (
    load_tensors,
    load_tensors_and_notes,
    read_json,
    save_tensors,
    write_json,
)

ABOUT, WEIGHTS, TRAINING = "avatar.json", "weights.safetensors", "training.safetensors"
FORMAT = 1


def save_avatar(
    folder: str | Path,
    name: str,
    settings: Any,
    avatar: nn.Module,
    consent: str | None = None,
    split: str = "last",
) -> None:
    """An avatar that loads without its capture. `split` says which frames were kept from it.
    `avatar.json` comes last."""
    folder = Path(folder)
    save_tensors(folder / WEIGHTS, avatar.state_dict())
    about = {
        "method": name,
        "settings": asdict(settings),
        "rig": getattr(avatar, "rig", None),
        "consent": consent,
        "split": split,
    }
    write_json(folder / ABOUT, about, format=FORMAT)


def load_avatar(folder: str | Path, find: Callable[[str], Any], device: str = "cpu") -> Any:
    """The avatar in `folder`; `find` gives the settings class of a method's name."""
    about = about_avatar(folder)
    name = str(about["method"])
    settings = settings_from(find(name), about.get("settings") or {})
    path = Path(folder) / WEIGHTS
    return restored(settings, load_tensors(path), path, name).to(device).eval()


def restored(method: Any, state: dict[str, Tensor], path: Path, name: str) -> Any:
    """The avatar out of its tensors; those of another method or size are refused by name."""
    try:
        return method.restore(state)
    except (KeyError, IndexError, RuntimeError) as error:  # weights that are not its own
        why = " ".join(str(error).split())[:160]
        raise BadInput(
            f"{path} was written by another version of the method {name!r}, or at another size: "
            f"this one cannot read its weights ({why}). Fit it again, or copy the whole folder."
        ) from error


def about_avatar(folder: str | Path) -> dict[str, Any]:
    """What `avatar.json` says; an unfinished or foreign folder is refused by name."""
    folder = Path(folder)
    if not (folder / ABOUT).exists():
        why = "training has not reached a first checkpoint" if folder.is_dir() else "no such folder"
        raise BadInput(f"{folder} holds no avatar ({why}). Run `likeness fit` or `likeness build`.")
    about = read_json(folder / ABOUT, newest=FORMAT)
    if not isinstance(about.get("method"), str):
        raise BadInput(f"{folder / ABOUT} names no method. Is it damaged? Fit again.")
    return about


def settings_from(kind: type, values: dict[str, Any]) -> Any:
    """Settings out of JSON: unknown fields are refused, lists become tuples where asked for."""
    if not is_dataclass(kind):
        raise BadInput(f"{kind!r} is not the settings of a method.")
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise BadInput(
            f"Settings {', '.join(unknown)} are unknown to {kind.__name__}; it has "
            f"{', '.join(sorted(known))}. Was the avatar made by a newer likeness?"
        )
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def save_training(
    folder: str | Path,
    avatar: nn.Module,
    optimizer: Optimizer,
    generator: Generator,
    notes: dict[str, Any],
    more: dict[str, Tensor] | None = None,
) -> None:
    """All that resuming needs, in one file: parameters, optimiser, generator, notes, `more`."""
    tensors = {f"avatar/{k}": v for k, v in avatar.state_dict().items()}
    tensors.update(more or {})
    tensors["generator"] = generator.get_state()
    state = optimizer.state_dict()
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                plain.setdefault(str(index), {})[key] = value
    about = {"notes": notes, "groups": state["param_groups"], "plain": plain}
    save_tensors(Path(folder) / TRAINING, tensors, {"training": json.dumps(about)})


def load_training(
    folder: str | Path, method: Any, generator: Generator, device: str = "cpu"
) -> tuple[nn.Module, Optimizer, dict[str, Any], dict[str, Tensor]]:
    """Avatar, optimiser, notes and running mean of an unfinished training; sets the generator."""
    path = Path(folder) / TRAINING
    tensors, header = load_tensors_and_notes(path)
    if "training" not in header:
        raise BadInput(f"{path} is not a training of ours. Delete it to start again.")
    about = json.loads(header["training"])
    prefix = "avatar/"
    kept = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    avatar = restored(method, kept, path, type(method).__name__).to(device)
    optimizer = method.optimizer(avatar)
    state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in about["plain"].items()}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/", 2)
            state.setdefault(int(index), {})[name] = value
    groups = [
        {k: tuple(v) if k == "betas" else v for k, v in group.items()} for group in about["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    generator.set_state(tensors["generator"].to(torch.uint8))
    mean = {k.removeprefix("mean/"): v for k, v in tensors.items() if k.startswith("mean/")}
    return avatar, optimizer, about["notes"], {k: v.to(device) for k, v in mean.items()}
