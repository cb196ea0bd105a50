"""likeness: from a video or a handful of photos to an animatable, photoreal 3D head."""

from importlib import import_module
from typing import Any

from likeness.core.threads import prepare as _prepare_threads

__version__ = "0.1.0"

_prepare_threads()  # must come before torch is imported; see docs/decisions

# The whole public API. Strings, so that importing likeness imports nothing heavy.
_WHERE = {
    "Avatar": "likeness.core.avatar",
    "Camera": "likeness.core.camera",
    "Capture": "likeness.core.capture",
    "Expression": "likeness.core.expression",
    "Frame": "likeness.core.capture",
    "LikenessError": "likeness.core.errors",
    "Picture": "likeness.core.avatar",
    "Rig": "likeness.core.rig",
    "Track": "likeness.core.track",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    from likeness.verbs import VERBS

    if name in VERBS:
        return VERBS.load(name)
    raise AttributeError(f"module 'likeness' has no attribute {name!r}")


def __dir__() -> list[str]:
    from likeness.verbs import VERBS

    return sorted([*_WHERE, *VERBS.names(), "__version__"])
