"""Still pictures from files: whatever their depth, palette, profile or orientation."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageOps

from likeness.core.errors import BadInput

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap width and height
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, EOFError)
_OPAQUE = (".jpg", ".jpeg", ".bmp")  # that hold no alpha
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


def open_picture(path: str | Path) -> Image.Image:
    """The file as PIL sees it, pixels not loaded yet."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no picture {path}.")
    if path.stat().st_size == 0:
        raise BadInput(f"{path} is empty (0 bytes). Copy it again from where it came from.")
    try:
        return Image.open(path)
    except _DAMAGE as error:
        remedy = "Save it as JPEG or PNG."
        if path.suffix.lower() in (".heic", ".heif"):
            remedy = "Convert HEIC photos to JPEG first."
        raise BadInput(f"{path} is not a picture that can be read. {remedy}") from error


def picture_size(path: str | Path) -> tuple[int, int]:
    """(width, height) as shown, that is after the EXIF orientation, without loading pixels."""
    with open_picture(path) as picture:
        width, height = picture.size
        turned = _orientation(picture) >= 5
    return (height, width) if turned else (width, height)


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:  # damaged EXIF is no reason to refuse the picture it sits beside
        return 1
    return value if isinstance(value, int) else 1


def load_picture(
    path: str | Path,
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"] | None]:
    """8-bit sRGB as shown, and alpha where the file has some that is not opaque everywhere.

    Colour is not multiplied by alpha. 16-bit samples keep their upper byte.
    """
    with open_picture(path) as picture:
        try:
            picture.load()
            upright = ImageOps.exif_transpose(picture) if _orientation(picture) > 1 else picture
            return _to_rgb_and_alpha(upright)
        except _DAMAGE as error:
            raise BadInput(
                f"{path} is damaged ({error}). Copy or export it again, or take it out."
            ) from error


def picture_alpha(path: str | Path) -> UInt8[np.ndarray, "H W"] | None:
    """The alpha alone of `load_picture`. Pixels of a file that can have none are not decoded."""
    with open_picture(path) as picture:
        may = _has_alpha(picture)
    return load_picture(path)[1] if may else None


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in _ALPHA or "transparency" in picture.info


def _to_rgb_and_alpha(
    picture: Image.Image,
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"] | None]:
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = _to_8_bits(np.array(picture))
        return np.repeat(grey[..., None], 3, axis=-1), None
    if _has_alpha(picture):
        rgba = np.array(picture.convert("RGBA"))
        alpha = np.ascontiguousarray(rgba[..., 3])
        return np.ascontiguousarray(rgba[..., :3]), None if (alpha == 255).all() else alpha
    return np.array(_to_srgb(picture).convert("RGB")), None


def _to_8_bits(samples: np.ndarray) -> UInt8[np.ndarray, "H W"]:
    """Integers beyond a byte are 16-bit samples; floats are taken to lie in [0, 1]."""
    if samples.dtype.kind == "f":
        return (np.clip(np.nan_to_num(samples), 0, 1) * 255 + 0.5).astype(np.uint8)
    top = samples.max(initial=0)
    return np.clip(samples >> 8 if top > 255 else samples, 0, 255).astype(np.uint8)


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Wide-gamut pictures (phones store Display P3) carried into sRGB by their own profile."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode != "RGB":
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return picture
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, ValueError):  # a broken profile: take the numbers as sRGB
        return picture
    return picture if converted is None else converted


def load_grey(path: str | Path) -> UInt8[np.ndarray, "H W"]:
    """A mask or label picture: one 8-bit channel, never colour-managed."""
    with open_picture(path) as picture:
        try:
            samples = np.array(
                picture if picture.mode in ("L", "P", "I;16", "I") else picture.convert("L")
            )
        except _DAMAGE as error:
            raise BadInput(f"{path} is damaged ({error}). Make the masks again.") from error
    return samples if samples.dtype == np.uint8 else _to_8_bits(samples)


def picture_paths(folder: str | Path) -> list[Path]:
    """The pictures directly in a folder, in natural order (frame 2 before frame 10)."""
    found = [
        p
        for p in Path(folder).iterdir()
        if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith(".") and p.is_file()
    ]
    return sorted(found, key=lambda p: natural_order(p.name))


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key in which numbers inside a name compare as numbers."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for letter in name + "\0":
        if letter.isascii() and letter.isdigit():
            digits += letter
            continue
        if digits:
            parts.append((0, int(digits), digits))
            digits = ""
        parts.append((1, 0, letter))
    return tuple(parts)


ReadMap = Callable[[Path], UInt8[np.ndarray, "H W"]]


@dataclass(frozen=True)
class PictureFiles:
    """One file a frame. Alpha comes from files of its own where given, else from the pictures.

    `read_alpha` and `read_regions` turn a data set's own masks and label colours into ours.
    A path that is None, or leads to no file, reads as "not known".
    """

    rgb_paths: tuple[Path, ...]
    alpha_paths: tuple[Path | None, ...] = ()
    regions_paths: tuple[Path | None, ...] = ()
    read_alpha: ReadMap = load_grey
    read_regions: ReadMap = load_grey

    def rgb(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return load_picture(self.rgb_paths[index])[0]

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        path = self.alpha_paths[index] if self.alpha_paths else None
        if path is not None and path.is_file():
            return self._fitting(self.read_alpha(path), index, path)
        if self.rgb_paths[index].suffix.lower() in _OPAQUE:
            return None
        return picture_alpha(self.rgb_paths[index])

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"] | None:
        path = self.regions_paths[index] if self.regions_paths else None
        if path is None or not path.is_file():
            return None
        return self._fitting(self.read_regions(path), index, path)

    def _fitting(self, found: np.ndarray, index: int, path: Path) -> UInt8[np.ndarray, "H W"]:
        width, height = picture_size(self.rgb_paths[index])
        if found.shape != (height, width):
            raise BadInput(
                f"Frame {index} has a {found.shape[1]}x{found.shape[0]} mask {path} but a "
                f"{width}x{height} picture. Delete the mask to have it drawn again."
            )
        return found
