"""What the authors' program writes: `.pth.tar` checkpoints, used with the range of coefficients."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.core.expression import Expression
from likeness.core.rig import Identity
from likeness.methods.nerfblendshape.avatar import BlendAvatar
from likeness.methods.nerfblendshape.field import Field, load_flat
from likeness.methods.nerfblendshape.method import NerfBlendShape, paper
from likeness.nn.subject import Subject
from likeness.ops.bend import BORDER

RIG = "facewarehouse46"
_NEEDED = (
    "density_grid", "encoder.embeddings_mean", "encoder.embeddings", "encoder.offsets",
    "sigma_net.params", "color_net.params",
)  # fmt: skip


def read_checkpoint(
    path: str | Path,
    low: Float[Tensor, " K"] | None = None,
    high: Float[Tensor, " K"] | None = None,
    backdrop: Float[Tensor, "H W 3"] | None = None,
) -> tuple[NerfBlendShape, BlendAvatar]:
    """Settings and avatar of a checkpoint. Nothing in the file is run.

    `low` and `high` are the coefficients' range, which lies beside the data (`min_46.txt`,
    `max_46.txt`) and not in the checkpoint; without them nothing is clamped.
    """
    path = Path(path)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error
    except Exception as error:  # torch raises many kinds for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path} is not a whole checkpoint ({reason}). Copy it again.") from error
    model = held.get("model", held) if isinstance(held, dict) else {}
    if lacking := [n for n in _NEEDED if n not in model]:
        raise BadInput(f"{path} is no NeRFBlendShape checkpoint: it has no {lacking[0]!r}.")
    return restored(model, str(path), low, high, backdrop)


def restored(
    model: dict[str, Any],
    where: str,
    low: Tensor | None = None,
    high: Tensor | None = None,
    backdrop: Tensor | None = None,
) -> tuple[NerfBlendShape, BlendAvatar]:
    """The avatar out of the program's own state dict."""
    neutral, basis = model["encoder.embeddings_mean"], model["encoder.embeddings"]
    bases = basis.shape[0]
    grid = model["density_grid"].float()
    settings = replace(
        paper(),
        levels=len(model["encoder.offsets"]) - 1,
        features=neutral.shape[-1],
        log2_size=_log2_size(model["encoder.offsets"], where),
        cells=grid.shape[0] - 1,
    )
    field = Field(settings.shape(bases))
    if field.tables.neutral.shape != neutral.shape or field.tables.basis.shape != basis.shape:
        raise BadInput(
            f"{where} has tables of {tuple(neutral.shape)} where its levels make "
            f"{tuple(field.tables.neutral.shape)}."
        )
    with torch.no_grad():
        field.tables.neutral.copy_(neutral)
        field.tables.basis.copy_(basis)
    load_flat(field.inner, model["sigma_net.params"].float(), f"{where}, sigma_net")
    load_flat(field.outer, model["color_net.params"].float(), f"{where}, color_net")
    subject = _stranger(bases, low, high)
    avatar = BlendAvatar(
        settings.walk(), subject, field,
        torch.zeros(0, 0, 3) if backdrop is None else backdrop,
        placed(settings), torch.zeros(bases), torch.eye(bases), grid,
        torch.ones_like(grid, dtype=torch.bool), torch.diag(subject.high.nan_to_num(1, 1, 1)),
        torch.eye(4).expand(bases, 4, 4), torch.tensor(BORDER),
    )  # fmt: skip
    return settings, avatar


def placed(settings: NerfBlendShape) -> Float[Tensor, "3 4"]:
    """The cube's frame from the head's, as the authors have it."""
    return replace(settings, reach=0).placed()


def half_rounded(values: Tensor) -> Tensor:
    """Bounds as the program keeps them: rounded to float16."""
    return values.half().float()


def _log2_size(offsets: Tensor, where: str) -> int:
    largest = int(offsets.long().diff().max())
    if largest & (largest - 1):
        raise BadInput(f"{where} has levels of {largest} entries, which is no power of two.")
    return largest.bit_length() - 1


def _stranger(bases: int, low: Tensor | None, high: Tensor | None) -> Subject:
    """A subject of whom only the range of coefficients is known."""
    endless = torch.full((bases,), torch.inf)
    still = Expression(RIG, torch.zeros(bases), torch.zeros(0, 3), torch.eye(4))
    return Subject(
        RIG,
        Identity(RIG, torch.zeros(0)),
        still,
        -endless if low is None else half_rounded(low),
        endless if high is None else half_rounded(high),
    )
