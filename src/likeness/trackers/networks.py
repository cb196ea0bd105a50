"""Networks that users bring: Robust Video Matting, and a parser of faces.

Both come as a TorchScript file, or as ONNX where `onnxruntime` is installed. Neither is bundled
(Robust Video Matting's code is GPL, parsers are mostly trained on data for research only).
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from likeness.core.errors import BadInput, Missing
from likeness.core.regions import REGION
from likeness.trackers.matting import Matting
from likeness.trackers.regions import draw_regions

_SMALL = 512.0  # pixels along the longer side at which RVM looks for the person first
_PARSED = 512  # pixels along a side that parsers are trained with
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet's
_CLASSES = (
    "background", "skin", "brows", "brows", "eyes", "eyes", "skin", "ears", "ears", "ears", "skin",
    "mouth", "lips", "lips", "neck", "clothes", "clothes", "hair", "hair",
)  # fmt: skip
"""CelebAMask-HQ's 19 classes in our words; glasses count as skin, hats as hair."""

Call = Callable[..., list[np.ndarray]]
Labels = Callable[[np.ndarray, np.ndarray, np.ndarray | None], UInt8[np.ndarray, "H W"]]


class Matte(Protocol):
    """Soft alpha, picture after picture of one clip."""

    def __enter__(self) -> "Matte": ...

    def __exit__(self, *_: object) -> None: ...

    def mask(self, picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
        """A first look, at each picture in turn."""
        ...

    def alpha(
        self, picture: UInt8[np.ndarray, "H W 3"], mask: Float[np.ndarray, "h w"]
    ) -> Float[np.ndarray, "H W"]:
        """The matte, drawn out of that look; in any order."""
        ...


def matting_of(weights: Path | None) -> Matte:
    """The bundled segmentation, or Robust Video Matting out of a file."""
    return Matting() if weights is None else VideoMatting(weights)


def labels_of(weights: Path | None) -> Labels:
    """Regions from landmarks and colour, or from a parsing network."""
    return draw_regions if weights is None else FaceParser(weights).regions


class VideoMatting:
    """Robust Video Matting (Lin et al., 2021): remembers what it saw in the pictures before."""

    def __init__(self, weights: Path) -> None:
        self._call = loaded(weights, "a matting network", ("src", "r1i", "r2i", "r3i", "r4i"))
        self._path = Path(weights)
        self._memory: list[Any] = [np.zeros((1, 1, 1, 1), np.float32)] * 4

    def __enter__(self) -> "VideoMatting":
        return self

    def __exit__(self, *_: object) -> None:
        self._memory = []

    def mask(self, picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
        height, width = picture.shape[:2]
        source = picture.astype(np.float32).transpose(2, 0, 1)[None] / 255
        ratio = min(1.0, _SMALL / max(height, width))
        out = self._call(source, *self._memory, ratio)
        if len(out) != 6 or out[1].shape != (1, 1, height, width):
            shapes = ", ".join("x".join(map(str, part.shape)) for part in out)
            raise BadInput(
                f"{self._path} answers {shapes}; Robust Video Matting answers a foreground, an "
                "alpha of the picture's size, and four memories. Is it another network?"
            )
        self._memory = out[2:]
        return np.clip(out[1][0, 0], 0, 1)

    def alpha(
        self, picture: UInt8[np.ndarray, "H W 3"], mask: Float[np.ndarray, "h w"]
    ) -> Float[np.ndarray, "H W"]:
        return mask


class FaceParser:
    """A parser with CelebAMask-HQ's 19 classes (BiSeNet and its kin)."""

    def __init__(self, weights: Path) -> None:
        self._call = loaded(weights, "a parsing network", ())
        self._path = Path(weights)

    def regions(
        self,
        picture: UInt8[np.ndarray, "H W 3"],
        alpha: UInt8[np.ndarray, "H W"],
        points: Float[np.ndarray, "478 3"] | None,
    ) -> UInt8[np.ndarray, "H W"]:
        """`core.regions` labels; irises, teeth and the matte's outline as landmarks and matte say,
        for parsers know none of them."""
        size = (picture.shape[1], picture.shape[0])
        small = cv2.resize(picture, (_PARSED, _PARSED), interpolation=cv2.INTER_AREA)
        source = ((small / 255 - _MEAN) / _STD).astype(np.float32).transpose(2, 0, 1)[None]
        score = self._call(source)[0]
        if score.ndim != 4 or score.shape[1] != len(_CLASSES):
            raise BadInput(
                f"{self._path} answers {'x'.join(map(str, score.shape))}; a parser with the 19 "
                "classes of CelebAMask-HQ is needed."
            )
        classes = score[0].argmax(0).astype(np.uint8)
        classes = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST)
        found = np.array([REGION[name] for name in _CLASSES], np.uint8)[classes]
        ours = draw_regions(picture, alpha, points)
        for fine, coarse in (("irises", "eyes"), ("teeth", "mouth")):
            found[(ours == REGION[fine]) & (found == REGION[coarse])] = REGION[fine]
        person = alpha >= 128
        found[~person] = REGION["background"]
        unknown = person & (found == REGION["background"])
        found[unknown] = ours[unknown]
        return found


def loaded(path: Path, what: str, inputs: Sequence[str]) -> Call:
    """A network as a function of arrays; TorchScript, or ONNX by the names of its inputs."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no file {path}; {what} was to be read from it.")
    if path.suffix.lower() == ".onnx":
        return _onnx(path, what, inputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the files people have stay so
            network = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        words = " ".join(str(error).split())[:120]
        raise BadInput(
            f"{path} is no TorchScript file ({words}). Checkpoints (.pth) hold weights only: "
            f"export {what} with torch.jit, or to .onnx."
        ) from error

    @torch.inference_mode()
    def call(*given: Any) -> list[np.ndarray]:
        arrays = [torch.from_numpy(g) if isinstance(g, np.ndarray) else g for g in given]
        try:
            answer = network(*arrays)
        except RuntimeError as error:
            words = str(error).strip().splitlines()[-1][:120]
            raise BadInput(f"{path} does not run as {what} ({words}).") from error
        parts = answer if isinstance(answer, tuple | list) else [answer]
        return [part.numpy() for part in parts]

    return call


def _onnx(path: Path, what: str, inputs: Sequence[str]) -> Call:
    try:
        import onnxruntime  # type: ignore[import-not-found]
    except ImportError as error:
        raise Missing(
            f"{path} needs onnxruntime to be run as {what}: pip install onnxruntime, or bring a "
            "TorchScript file."
        ) from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes, of no common kind
        words = " ".join(str(error).split())[:120]
        raise BadInput(f"{path} is no ONNX network that runs ({words}).") from error
    names = [*inputs, "downsample_ratio"] if inputs else [session.get_inputs()[0].name]

    def call(*given: Any) -> list[np.ndarray]:
        feed = {
            name: g if isinstance(g, np.ndarray) else np.array([g], np.float32)
            for name, g in zip(names, given, strict=True)
        }
        return session.run(None, feed)

    return call
