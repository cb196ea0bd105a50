"""`take` and `move`: what every data type can do with its leading dimension and its device."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def take(x: T, index: Any) -> T:
    """Entry (or entries) `index` of the leading dimension of every batched tensor in `x`.

    A field is batched when the class lists it in `BATCHED`, so constants such as an identity stay.
    """
    if isinstance(x, Tensor):
        return x[index]  # type: ignore[return-value]
    if is_dataclass(x) and not isinstance(x, type):
        batched = getattr(type(x), "BATCHED", None)
        names = [f.name for f in fields(x)] if batched is None else batched
        changed = {
            name: take(value, index)
            for name in names
            if isinstance(value := getattr(x, name), Tensor) or is_dataclass(value)
        }
        return replace(x, **changed)
    raise TypeError(f"cannot take from a {type(x).__name__}")


def move(x: T, device: torch.device | str) -> T:
    """`x` with every tensor in it on `device`."""
    if isinstance(x, Tensor):
        return x.to(device)  # type: ignore[return-value]
    if isinstance(x, list | tuple):
        return type(x)(move(value, device) for value in x)
    if is_dataclass(x) and not isinstance(x, type):
        changed = {
            f.name: move(value, device)
            for f in fields(x)
            if isinstance(value := getattr(x, f.name), Tensor) or is_dataclass(value)
        }
        return replace(x, **changed)
    raise TypeError(f"cannot move a {type(x).__name__}")
