"""FLAME parameters as other trackers store them, in our terms (rig "flame").

Our `joints` are FLAME's neck, jaw, left and right eye; `world_from_head` is the motion of FLAME's
root. FLAME turns about its root joint, whose place depends on the person and is known only with
the model at hand. Until then `world_from_head` holds the stored rotation and translation as they
are, and `report["root_joint"]` says what is missing: "kept" when the joint stays where it is under
the rotation (VHAP), "at translation" when it is carried to the translation (NHA). `settled` closes
the gap.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from likeness.captures.fields import array
from likeness.core.errors import BadInput
from likeness.core.geometry import axis_angle_to_matrix, rotation_6d_to_matrix
from likeness.core.track import Track

RIG = "flame"
JOINTS = ("neck", "jaw", "left_eye", "right_eye")
_DEGREES = np.pi / 180
# NHA squeezes raw numbers into these ranges, degrees per axis: neck, jaw, eye, eye.
_LOW = np.array([[-90, -60, -80], [-5, -0.1, -0.1], [-50, -50, -0.1], [-50, -50, -0.1]]) * _DEGREES
_HIGH = np.array([[90, 60, 80], [60, 0.1, 0.1], [50, 50, 0.1], [50, 50, 0.1]]) * _DEGREES


def stacked_joints(
    neck: np.ndarray, jaw: np.ndarray, eyes: np.ndarray
) -> Float64[np.ndarray, "T 4 3"]:
    return np.concatenate(
        [neck[:, None], jaw[:, None], eyes.reshape(-1, 2, 3)], axis=1, dtype=np.float64
    )


def limited(raw: Float64[np.ndarray, "T 4 3"]) -> Float64[np.ndarray, "T 4 3"]:
    """Axis-angle out of NHA's unbounded numbers."""
    return _LOW + (np.tanh(raw) + 1) / 2 * (_HIGH - _LOW)


def unlimited(angles: Float64[np.ndarray, "T 4 3"]) -> Float64[np.ndarray, "T 4 3"]:
    """NHA's unbounded numbers for joint angles; beyond its range, the last hundredth inside."""
    share = (np.asarray(angles, np.float64) - _LOW) / (_HIGH - _LOW)
    return np.arctanh(2 * share.clip(0.01, 0.99) - 1)


def from_rows(six: np.ndarray) -> Float64[np.ndarray, "*b 3 3"]:
    """Rotation from six numbers that are its first two *rows*, as metrical-tracker writes them."""
    return rotation_6d_to_matrix(torch.from_numpy(np.array(six, np.float64))).mT.numpy()


def rigid_from_axis_angle(
    rotation: np.ndarray, translation: np.ndarray
) -> Float64[np.ndarray, "T 4 4"]:
    whole = np.tile(np.eye(4), (len(rotation), 1, 1))
    turn = torch.from_numpy(np.array(rotation, np.float64))
    whole[:, :3, :3] = axis_angle_to_matrix(turn).numpy()
    whole[:, :3, 3] = translation
    return whole


def settled(track: Track, root_joint: Float[Tensor, "3"]) -> Track:
    """The track with `world_from_head` made exact, given where FLAME's root joint is at rest."""
    kind = track.report.get("root_joint")
    if kind is None:
        return track
    pose = track.expressions.world_from_head.clone()
    turned = pose[:, :3, :3] @ root_joint.to(pose)
    pose[:, :3, 3] -= turned
    if kind == "kept":
        pose[:, :3, 3] += root_joint.to(pose)
    report = {k: v for k, v in track.report.items() if k != "root_joint"}
    return replace(
        track, expressions=replace(track.expressions, world_from_head=pose), report=report
    )


def parameter(
    data: dict[str, Any], name: str, path: Path, shape: tuple[int | None, ...]
) -> Float64[np.ndarray, "..."]:
    if name not in data:
        raise BadInput(f"{path} has no {name!r}. Run the tracker that wrote it again.")
    return array(data[name], path, f"{name!r}", shape)
