"""`likeness doctor`: what this machine has, and the fix for what it lacks."""

import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from likeness.core.assets import ASSETS, data_folder

EXTRAS = {
    "logs": ("tensorboard", "TensorBoard curves"),
    "provenance": ("c2pa", "signed provenance manifests"),
    "spz": ("zstandard", "SPZ version 4"),
    "usd": ("pxr", "USD files"),
    "gpu": ("gsplat", "a CUDA splat rasteriser beside ours"),
    "lpips": ("lpips", "the LPIPS figure in `evaluate`"),
}


@dataclass(frozen=True)
class Finding:
    """One line of the report. `fix` is empty when all is well; `needed`: it blocks the main job."""

    subject: str
    state: str
    fix: str = ""
    needed: bool = True


def doctor() -> str:
    """Report Python, torch, device, decoders, extras and optional assets, with fixes.

    Nothing is changed. A line marked `!!` stops the main job; `--` is optional.
    """
    findings = examine()
    width = max(len(f.subject) for f in findings)
    lines = []
    for f in findings:
        mark = "ok" if not f.fix else ("!!" if f.needed else "--")
        lines.append(f"{mark}  {f.subject:<{width}}  {f.state}")
        if f.fix:
            lines.append(f"    {'':<{width}}  fix: {f.fix}")
    broken = sum(1 for f in findings if f.fix and f.needed)
    verdict = "Ready." if not broken else f"{broken} thing(s) to fix before the main job works."
    return "\n".join([*lines, "", verdict])


def examine() -> list[Finding]:
    findings = [_python(), *map(_package, ("numpy", "numba", "scipy", "safetensors", "tyro"))]
    findings += [_guarded("torch", _torch), _guarded("device", _device)]
    findings += [_guarded("video", _video), _guarded("face tracker", _mediapipe), _threads()]
    findings += [_extra(name, *about) for name, about in EXTRAS.items()]
    findings += [_asset(name) for name in ASSETS]
    return findings


def _python() -> Finding:
    fine = (3, 11) <= sys.version_info[:2] <= (3, 12)
    fix = "" if fine else "Use Python 3.11 or 3.12."
    return Finding("python", f"{platform.python_version()} on {platform.system()}", fix)


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", f"pip install {name}")


def _guarded(subject: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (ImportError, OSError, RuntimeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(subject, f"broken: {first}", "Reinstall with: pip install likeness")


def _torch() -> Finding:
    import torch

    return Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", f"cuda: {torch.cuda.get_device_name()}, and cpu")
    return Finding("device", f"cpu, {os.cpu_count()} cores (no CUDA device; none is needed)")


def _video() -> Finding:
    import av

    wanted = {"h264", "hevc", "vp9", "av1", "aac", "mp3"}
    lacking = sorted(wanted - set(av.codecs_available))
    state = f"PyAV {av.__version__} reads h264, hevc, vp9, av1"
    if "libx264" not in av.codecs_available:
        return Finding("video", "PyAV cannot write H.264", "pip install --force-reinstall av")
    if lacking:
        return Finding("video", f"no decoder for {lacking}", "pip install --force-reinstall av")
    return Finding("video", state)


def _mediapipe() -> Finding:
    package = importlib.import_module("mediapipe")
    models = os.path.join(os.path.dirname(package.__file__ or ""), "modules", "face_landmark")
    if not os.path.exists(os.path.join(models, "face_landmark_with_attention.tflite")):
        return Finding(
            "face tracker",
            f"mediapipe {package.__version__} bundles no face mesh",
            "pip install mediapipe==0.10.21",
        )
    return Finding("face tracker", f"mediapipe {package.__version__} with its models")


def _threads() -> Finding:
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    return Finding("threads", f"OMP_WAIT_POLICY={policy}")


def _extra(name: str, module: str, purpose: str) -> Finding:
    if importlib.util.find_spec(module) is not None:
        return Finding(f"extra {name}", f"{module} is installed")
    fix = f"pip install 'likeness[{name}]'"
    return Finding(f"extra {name}", f"not installed ({purpose})", fix, needed=False)


def _asset(name: str) -> Finding:
    asset = ASSETS[name]
    path = data_folder() / asset.path
    if path.exists():
        return Finding(f"asset {name}", str(path))
    fix = f"{asset.how} Put it at {path}"
    return Finding(f"asset {name}", f"absent ({asset.purpose})", fix, needed=False)
