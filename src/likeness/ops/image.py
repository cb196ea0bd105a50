"""How far apart two pictures are: losses with gradients, and figures."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.ops.twins import one_place, pick

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def window() -> Float[Tensor, " 11"]:
    """The taps of the structural window; they sum to 1."""
    x = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    taps = torch.exp(-(x * x) / (2 * SIGMA * SIGMA))
    return taps / taps.sum()


def l1_dssim(
    drawn: Float[Tensor, "H W C"],
    truth: Float[Tensor, "H W C"],
    structure: float = 0.2,
    weight: Float[Tensor, "H W"] | None = None,
) -> Float[Tensor, ""]:
    """(1 - structure) |drawn - truth| + structure (1 - SSIM), averaged with `weight` over pixels.

    The structural window is 11 pixels (sigma 1.5), zeros beyond the border. Gradients go to
    `drawn` only.
    """
    _alike(drawn, truth)
    _fits(weight, drawn)
    one_place(drawn, truth, weight)
    twin = pick(_l1_dssim, drawn.device.type)
    return twin(drawn, truth, structure, weight)


def _l1_dssim(drawn: Tensor, truth: Tensor, structure: float, weight: Tensor | None) -> Tensor:
    truth = truth.detach()
    each = (1 - structure) * (drawn - truth).abs() + structure * (1 - _ssim_map(drawn, truth))
    if weight is None:
        return each.mean()
    return (each.mean(-1) * weight).sum() / weight.sum().clamp(min=1e-12)


def _ssim_map(a: Tensor, b: Tensor) -> Tensor:
    x, y = a.permute(2, 0, 1)[:, None], b.permute(2, 0, 1)[:, None]
    taps = window().to(a)

    def blurred(planes: Tensor) -> Tensor:
        half = WINDOW // 2
        across = F.conv2d(planes, taps.view(1, 1, 1, -1), padding=(0, half))
        return F.conv2d(across, taps.view(1, 1, -1, 1), padding=(half, 0))

    mx, my = blurred(x), blurred(y)
    xx, yy, xy = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
    above = (2 * mx * my + C1) * (2 * xy + C2)
    below = (mx * mx + my * my + C1) * (xx + yy + C2)
    return (above / below)[:, 0].permute(1, 2, 0)


def ssim(a: Float[Tensor, "H W C"], b: Float[Tensor, "H W C"]) -> Float[Tensor, ""]:
    """Mean structural similarity over pixels and channels; 1 for equal pictures."""
    _alike(a, b)
    return _ssim_map(a, b).mean()


def ssim_map(a: Float[Tensor, "H W C"], b: Float[Tensor, "H W C"]) -> Float[Tensor, "H W C"]:
    """Structural similarity around each pixel."""
    _alike(a, b)
    return _ssim_map(a, b)


def l1(a: Float[Tensor, "H W C"], b: Float[Tensor, "H W C"]) -> Float[Tensor, ""]:
    _alike(a, b)
    return (a - b).abs().mean()


def psnr(
    a: Float[Tensor, "H W C"],
    b: Float[Tensor, "H W C"],
    mask: Float[Tensor, "H W"] | None = None,
) -> Float[Tensor, ""]:
    """Decibels against a peak of 1, over the pixels of `mask` when given; at most 100."""
    _alike(a, b)
    square = (a - b).square().mean(-1)
    if mask is None:
        error = square.mean()
    else:
        error = (square * mask).sum() / mask.sum().clamp(min=1e-12)
    return -10 * torch.log10(error.clamp(min=1e-10))


def perceptual(a: Float[Tensor, "H W 3"], b: Float[Tensor, "H W 3"]) -> Float[Tensor, ""]:
    """An offline perceptual distance: 0 for equal pictures, about 0.5 for unrelated ones.

    Pictures go to a light channel and two of colour difference. At five octaves, local contrast
    (the picture less its blur, over the local energy of both) and its horizontal, vertical and
    diagonal derivatives are compared, so that lost detail, halos and shifts count for more than an
    even change of light; the coarsest octave compares the light itself. Differentiable. It is our
    own measure: compare its figures with each other, never with LPIPS.
    """
    _alike(a, b)
    to_light = a.new_tensor(
        [[0.299, 0.587, 0.114], [0.5, -0.4187, -0.0813], [-0.1687, -0.3313, 0.5]]
    )
    x = torch.stack([a @ to_light.T, b @ to_light.T]).permute(0, 3, 1, 2)
    share = a.new_tensor([1.0, 0.5, 0.5]).view(3, 1, 1)
    levels = []
    for _ in range(5):
        low = _halved(x)
        band = x - F.interpolate(low, x.shape[-2:], mode="bilinear", align_corners=False)
        parts = torch.cat([band, *_derivatives(x)], 1)
        square = parts.square().mean(0, keepdim=True)
        energy = F.avg_pool2d(square, 7, 1, 3, count_include_pad=False)
        normal = parts / (energy + 4e-4).sqrt()
        away = 1 - torch.exp(-0.5 * (normal[0] - normal[1]).square())
        levels.append((away * share.repeat(4, 1, 1)).mean() / share.mean())
        x = low
        if min(x.shape[-2:]) < 4:
            break
    rest = (x[0] - x[1]).abs().mean()
    return 0.9 * torch.stack(levels).mean() + rest


def _halved(x: Tensor) -> Tensor:
    pad = F.pad(x, (1, 1, 1, 1), mode="replicate") if min(x.shape[-2:]) > 1 else x
    return F.avg_pool2d(F.avg_pool2d(pad, 3, 1), 2, ceil_mode=True)


def _derivatives(x: Tensor) -> list[Tensor]:
    pad = F.pad(x, (1, 1, 1, 1), mode="replicate")
    right, left = pad[..., 1:-1, 2:], pad[..., 1:-1, :-2]
    down, up = pad[..., 2:, 1:-1], pad[..., :-2, 1:-1]
    diagonal = pad[..., 2:, 2:] - pad[..., 2:, :-2] - pad[..., :-2, 2:] + pad[..., :-2, :-2]
    return [0.5 * (right - left), 0.5 * (down - up), 0.25 * diagonal]


def _alike(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise BadInput(f"Pictures of {tuple(a.shape)} and {tuple(b.shape)} cannot be compared.")
    if a.numel() == 0:
        raise BadInput("Pictures without pixels cannot be compared.")


def _fits(weight: Tensor | None, drawn: Tensor) -> None:
    if weight is not None and weight.shape != drawn.shape[:2]:
        raise BadInput(
            f"Weights of {tuple(weight.shape)} do not fit pictures of {tuple(drawn.shape)}."
        )
