"""How a face mesh errs: measured on synthetic people, taken into account on everybody.

MediaPipe's points are a network's opinion. Part of it can be foretold: where each point lies on a
face, how far a chin or a smile moves it, how it strays as heads turn. The rest differs from person
to person and from frame to frame, many points together, in a few dozen ways that are known. Both
are in `habits.npz`, remade by `benchmarks/face_habits.py`; without them a lean of all points is
taken for a lean of the head.
"""

import hashlib
from dataclasses import replace
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from likeness.core.rig import Rig
from likeness.rigs.clay.landmarks import CLASSIC
from likeness.rigs.clay.measures import BROW, EYE, MOUTH, measures
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.point_model import PointModel

RIG = "clay"


def has_habits(rig: Rig) -> bool:
    """Whether it was measured how the mesh errs against this rig's landmarks."""
    return rig.name == RIG and tuple(rig.shape_names) == ARKIT


def with_habits(model: PointModel, rig: Rig) -> PointModel:
    """The rig's landmarks as MediaPipe finds them; unchanged for rigs we have not measured."""
    if not has_habits(rig):
        return model
    habits = _habits()
    people, moments = habits["people"], habits["moments"]
    return replace(
        model,
        base=model.base + habits["base"],
        directions=torch.cat([model.directions + habits["directions"], people]),
        shapes=torch.cat([model.shapes + habits["shapes"], moments]),
        views=habits["views"],
        worth=habits["worth"],
        use=torch.tensor(_enough()),
        strange_directions=len(people),
        strange_shapes=len(moments),
    )


def layout_mark(rig: Rig) -> bytes:
    """Tells one embedding of the landmarks from another: habits hold for that they were learned
    with."""
    layout = rig.landmarks("mediapipe478")
    corners = rig.triangles[layout.triangles].numpy().astype(np.int32)
    shares = np.round(1000 * layout.weights.numpy()).astype(np.int32)
    return hashlib.sha256(corners.tobytes() + shares.tobytes()).digest()


def learned_with() -> bytes:
    """The `layout_mark` of the embedding that the stored habits were learned with."""
    with np.load(str(files("likeness.trackers") / "habits.npz")) as stored:
        return stored["layout"].tobytes()


@cache
def _enough() -> list[int]:
    """Landmarks to solve with: eyes, brows, lips and irises whole, every third of the others, for
    what neighbours say is nearly the same."""
    whole = {*CLASSIC[17:], *(i for ring in (*EYE[:2], *MOUTH) for i in ring), *BROW}
    mirror = measures().mirror
    whole |= {int(mirror[i]) for i in whole}
    return sorted(whole | set(range(0, 468, 3)) | set(range(468, 478)))


@cache
def _habits() -> dict[str, Tensor]:
    """Metres; stored as bytes with a scale a row."""
    with np.load(str(files("likeness.trackers") / "habits.npz")) as stored:
        out = {
            name: torch.from_numpy(stored[name] * stored[f"{name}_scale"])
            for name in ("base", "directions", "shapes", "views", "people", "moments")
        }
        out["worth"] = torch.from_numpy(stored["worth"])
    return out
