"""LPIPS (Zhang et al., 2018) on AlexNet, from weights of the user's own."""

from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from likeness.core.errors import BadInput

_LAYERS = ((0, 3, 64, 11, 4, 2), (3, 64, 192, 5, 1, 2), (6, 192, 384, 3, 1, 1))
_LAYERS += ((8, 384, 256, 3, 1, 1), (10, 256, 256, 3, 1, 1))
"""Number among AlexNet's layers, channels in and out, kernel, stride, padding."""
_POOLED = (3, 6)
_MEAN, _SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
SMALLEST = 32
"""Pixels along a side that the network needs."""


@final
class Lpips(nn.Module):
    """Distance of two pictures in AlexNet's features; version 0.1 of the measure.

    0 for equal pictures; people call two pictures alike below about 0.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(a, b, k, s, p) for _, a, b, k, s, p in _LAYERS)
        self.weights = nn.ParameterList(torch.zeros(1, b, 1, 1) for _, _, b, *_ in _LAYERS)
        self.requires_grad_(False)

    def forward(self, a: Float[Tensor, "H W 3"], b: Float[Tensor, "H W 3"]) -> Float[Tensor, ""]:
        x = torch.stack([a, b]).permute(0, 3, 1, 2)
        x = (2 * x - 1 - x.new_tensor(_MEAN).view(3, 1, 1)) / x.new_tensor(_SPREAD).view(3, 1, 1)
        total = x.new_zeros(())
        for (number, *_), layer, weight in zip(_LAYERS, self.layers, self.weights):
            x = torch.relu(layer(F.max_pool2d(x, 3, 2) if number in _POOLED else x))
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            total = total + F.conv2d((unit[:1] - unit[1:]).square(), weight).mean()
        return total


def load_lpips(folder: str | Path) -> Lpips:
    """The measure out of a folder with AlexNet's weights (`alexnet*.pth`) and the linear layers of
    LPIPS (`alex.pth`)."""
    folder = Path(folder)
    body, head = sorted(folder.glob("alexnet*.pth")), folder / "alex.pth"
    if not body or not head.exists():
        raise BadInput(f"{folder} needs alexnet*.pth and alex.pth for LPIPS.")
    made = Lpips()
    features, lines = _tensors(body[0]), _tensors(head)
    state: dict[str, Tensor] = {}
    try:
        for k, (number, *_) in enumerate(_LAYERS):
            for part in ("weight", "bias"):
                state[f"layers.{k}.{part}"] = features[f"features.{number}.{part}"]
            state[f"weights.{k}"] = lines[f"lin{k}.model.1.weight"]
        made.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise BadInput(f"{folder} does not hold the weights of LPIPS ({error}).") from error
    return made.eval()


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise BadInput(f"{path} is no file of torch's weights ({error}).") from error
    return dict(found)
