"""A visible label in a picture's lower left corner, for people who cannot read a file's marks."""

from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

LABEL = "synthetic"
_SHARE = 0.035  # of the picture's smaller side that a letter is high
_LEAST = 9  # pixels
_DARK = 0.45  # what the ground behind the letters is multiplied by


def labelled(pixels: UInt8[np.ndarray, "H W C"], text: str = LABEL) -> UInt8[np.ndarray, "H W C"]:
    """`text` in white on a darkened strip; an alpha channel becomes opaque there."""
    height, width = pixels.shape[:2]
    strip = _strip(text, max(_LEAST, round(_SHARE * min(height, width))))
    strip = strip[: height - 1, : width - 1]
    high, wide = strip.shape
    made = pixels.copy()
    ground = made[-high:, :wide, :3].astype(np.float32) * _DARK
    cover = strip[..., None].astype(np.float32) / 255
    made[-high:, :wide, :3] = (ground * (1 - cover) + 255 * cover + 0.5).astype(np.uint8)
    if made.shape[2] == 4:
        made[-high:, :wide, 3] = np.maximum(made[-high:, :wide, 3], 160)
    return made


@lru_cache(maxsize=8)
def _strip(text: str, size: int) -> UInt8[np.ndarray, "h w"]:
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    edge = max(2, size // 3)
    strip = Image.new("L", (int(right - left) + 2 * edge, int(bottom - top) + 2 * edge))
    ImageDraw.Draw(strip).text((edge - left, edge - top), text, fill=255, font=font)
    return np.asarray(strip)
