"""The rig that moves splats, as a file beside them: for programs that want to animate a PLY."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likeness.core.files import save_tensors
from likeness.exporters.motion import Motion, names_of
from likeness.exporters.notes import KEY, Note
from likeness.exporters.page.export import LinearSplats

_SURFACE = (
    "template",
    "triangles",
    "uv",
    "uv_triangles",
    "shapes",
    "skin",
    "joints",
    "shape_joints",
)
_SPLATS = (
    "corners", "weights", "offset", "rotation", "log_scale", "opacity", "colour", "follow", "gleam",
    "uv", "motion_atlas", "shade_atlas", "rest_head", "rest_torso",
)  # fmt: skip


@dataclass(frozen=True)
class SplatRig:
    """A safetensors file; row i of each `splats.*` tensor is splat i of the PLY.

    A splat rides on the triangle `splats.corners` of the vertices that `surface.template`,
    `surface.shapes` (coefficients, then personal modes), `surface.joints`, `surface.shape_joints`
    (what a coefficient turns a joint by) and `surface.skin` give, followed by the three of the
    head's own frame: at `weights`, displaced by `offset` in the triangle's axes (first edge,
    in-plane normal, face normal). A code, (features - code.mean) @ code.directions held between
    code.low and code.high, weighs `motion_atlas` (xyz) and `shade_atlas` (rgb, log scale, opacity),
    two square tiles looked up bilinearly at `uv`. Features are coefficients, personal modes,
    joints, 3 x the head's turn from rest_head, 3 x the torso's turn, 5 x its shift, and `bends`
    modes of the clothes, whose numbers at the end of the code weigh the second tile only. `follow`
    (a logit) says how much goes with the head, not the torso. `regression.*` predicts corrections
    of the head's pose, coefficients, modes and the torso's pose from the same features. `gleam`
    holds harmonics from degree 1 on, of the direction from the eye to the splat in the axes of the
    head, or of the torso where `follow` is below 0.
    """

    needs = LinearSplats
    suffix = ".safetensors"

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        surface = avatar.surface
        tensors = {f"surface.{name}": getattr(surface, name) for name in _SURFACE}
        tensors |= {f"splats.{name}": getattr(avatar, name) for name in _SPLATS}
        for part in ("code", "regression"):
            for name, value in getattr(avatar, part).state_dict().items():
                tensors[f"{part}.{name}"] = value
        shapes, joints = names_of(avatar.rig, surface.coefficients, surface.joints.shape[0])
        about = {"shape_names": shapes, "joint_names": joints, "parents": surface.parents}
        about["bends"] = avatar.bends
        save_tensors(path, tensors, {KEY: note.line(), "rig": json.dumps(about)})
        return path
