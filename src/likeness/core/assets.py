"""Files we may not or need not ship: where they go, and what to tell a user who lacks one."""

import os
from dataclasses import dataclass
from pathlib import Path

from likeness.core.errors import Missing, unknown


@dataclass(frozen=True)
class Asset:
    """An optional file of the user's own. `path` is below the data folder."""

    path: str
    purpose: str
    how: str


ASSETS: dict[str, Asset] = {
    "flame": Asset(
        "rigs/flame/flame.pkl",
        "the FLAME head model, instead of clay",
        "Its licence asks you to fetch it yourself from its authors.",
    ),
    "ict": Asset(
        "rigs/ict/FaceXModel",
        "the ICT-FaceKit head model, instead of clay",
        "Clone ICT-FaceKit (MIT) and take its FaceXModel folder.",
    ),
    "face_landmarker": Asset(
        "trackers/face_landmarker.task",
        "a newer MediaPipe detector with 52 scores",
        "Download face_landmarker.task from MediaPipe's model page.",
    ),
    "lpips": Asset(
        "metrics/lpips",
        "a folder with the weights of the LPIPS measure",
        "Fetch AlexNet's weights of torchvision (alexnet-owt-7be5be79.pth) and the linear layers "
        "of LPIPS 0.1 (alex.pth).",
    ),
}


def data_folder() -> Path:
    """Where optional assets live: LIKENESS_DATA, or the user's data folder."""
    if given := os.environ.get("LIKENESS_DATA"):
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "likeness"


def find_asset(name: str, given: str | Path | None = None) -> Path:
    """The asset's path, from the caller or the data folder; the error says how to get it."""
    if name not in ASSETS:
        raise unknown("asset", name, ASSETS)
    asset = ASSETS[name]
    path = Path(given) if given is not None else data_folder() / asset.path
    if path.exists():
        return path
    raise Missing(f"{path} is not there: it is {asset.purpose}. {asset.how} Put it at {path}.")
