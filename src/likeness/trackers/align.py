"""Aligning points of known colour with a picture: Gauss-Newton on brightness, robustly."""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_ROBUST = 0.10  # colour difference beyond which a point is doubted


class Brightness:
    """A picture that can be asked for values and slopes between its pixels."""

    def __init__(self, picture: UInt8[np.ndarray, "H W 3"], blur: float) -> None:
        plain = picture.astype(np.float32) / 255
        smooth = cv2.GaussianBlur(plain, (0, 0), blur)
        self.value = smooth
        self.right = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
        self.down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
        self.size = np.array([picture.shape[1], picture.shape[0]], np.float32)

    def at(
        self, pixels: Float[np.ndarray, "N 2"]
    ) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3 2"], Float[np.ndarray, " N"]]:
        """Colours, their slopes per pixel, and 1 for what lies well inside the picture."""
        x = np.ascontiguousarray(pixels[:, 0] - 0.5, np.float32)[None]
        y = np.ascontiguousarray(pixels[:, 1] - 0.5, np.float32)[None]
        value, right, down = (
            cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
            for plane in (self.value, self.right, self.down)
        )
        inside = ((pixels > 2) & (pixels < self.size - 2)).all(-1)
        return value, np.stack([right, down], -1), inside.astype(np.float32)


def align(
    picture: Brightness,
    colours: Float[np.ndarray, "N 3"],
    worth: Float[np.ndarray, " N"],
    begin: Float[np.ndarray, " P"],
    place: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    stiff: Float[np.ndarray, " P"],
    rounds: int = 5,
) -> Float[np.ndarray, " P"]:
    """The parameters near `begin` that put points where the picture has their colours.

    `place` gives pixels [N, 2] and their derivatives [N, 2, P]. An even change of light (one gain,
    one offset a channel) is solved along. `stiff` pulls each parameter back to `begin`.
    """
    now = begin.copy()
    for _ in range(rounds):
        pixels, slopes = place(now)
        value, gradient, inside = picture.at(pixels)
        weight = worth * inside
        if weight.sum() < 20:
            return begin
        gain, offset = _light(colours, value, weight)
        missed = value - (gain * colours + offset)
        robust = weight[:, None] / (1 + (missed / _ROBUST) ** 2) ** 2
        jacobian = np.einsum("ncd,ndp->ncp", gradient, slopes).reshape(-1, len(now))
        w = robust.reshape(-1)
        system = (jacobian * w[:, None]).T @ jacobian + np.diag(stiff)
        right = (jacobian * w[:, None]).T @ missed.reshape(-1) + stiff * (now - begin)
        step = np.linalg.solve(system + 1e-9 * np.eye(len(now)), right)
        now = now - step
        if np.abs(step * np.sqrt(np.diag(system))).max() < 1e-3:
            break
    return now


def _light(
    colours: np.ndarray, value: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset per channel that fit best, near 1 and 0."""
    w = weight[:, None] / weight.sum()
    mean_c, mean_v = (w * colours).sum(0), (w * value).sum(0)
    c, v = colours - mean_c, value - mean_v
    gain = ((w * c * v).sum(0) + 1e-3) / ((w * c * c).sum(0) + 1e-3)
    gain = np.clip(gain, 0.7, 1.4)
    return gain, mean_v - gain * mean_c


def typical(
    values: Float[np.ndarray, "T N 3"], weights: Float[np.ndarray, "T N"]
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, " N"]]:
    """Each point's median colour over frames in which it is seen, and how far it can be trusted:
    less where it varies, not at all where it is hardly ever seen."""
    masked = np.where(weights[..., None] > 0.5, values, np.nan)
    seen = (weights > 0.5).sum(0)
    enough = seen >= max(2, len(values) // 6)
    masked[:, ~enough] = 0
    colours = np.nanmedian(masked, 0)
    spread = np.nanmedian(np.abs(masked - colours), 0).mean(-1)
    worth = enough / (1 + (spread / 0.10) ** 2)
    return colours.astype(np.float32), worth.astype(np.float32)
