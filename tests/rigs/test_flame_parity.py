"""Our FLAME against recorded outputs of the original implementations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.core.expression import Expression
from likeness.core.geometry import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    rigid,
    rotation_6d_to_matrix,
)
from likeness.core.rig import Identity, Mesh, embed
from likeness.rigs.flame import flame
from likeness.rigs.flame_landmarks import contour_points, contour_rows, read_contour
from likeness.rigs.flame_teeth import teeth_points, with_teeth

HERE = Path(__file__).parent.parent / "parity" / "flame"
T = torch.from_numpy


@pytest.fixture(scope="module")
def rig():
    return flame(HERE / "generic_model_V200.npz")


def _posed(rig, shape, expr, pose, offsets=None):
    """Turned about FLAME's own root joint, as the original does."""
    identity = Identity("flame", shape, offsets)
    still = Expression("flame", expr, pose[3:].view(4, 3), torch.eye(4))
    root = rig.root_weights @ rig._expressed(rig.shaped(identity), identity, still)
    turn = axis_angle_to_matrix(pose[:3])
    moved = replace(still, world_from_head=rigid(turn, root - turn @ root))
    return rig.pose(identity, moved)


@pytest.mark.parametrize("case", range(6))
def test_skinning_is_that_of_the_original(rig, case):
    x = np.load(HERE / "lbs_axis_angle.npz")
    mesh = _posed(rig, *(T(x[name][case]) for name in ("shape", "expr", "pose")))
    torch.testing.assert_close(mesh.vertices, T(x["vertices"][case]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", range(6))
def test_offsets_move_joints_and_turn_with_the_skin_as_in_vhap(rig, case):
    x = np.load(HERE / "flamehead_vhap.npz")
    pose = torch.cat([T(x[name][case]) for name in ("rotation", "neck", "jaw", "eyes")])
    parts = T(x["shape"][case]), T(x["expr"][case]), pose
    plain = _posed(rig, *parts).vertices + T(x["translation"][case])
    torch.testing.assert_close(plain, T(x["b_vertices"][case]), rtol=0, atol=1e-6)
    offsets = T(x["static_offset"][0])
    shifted = _posed(rig, *parts, offsets).vertices + T(x["translation"][case])
    away = shifted - T(x["c_vertices"][case])  # the original centres this one on its root
    torch.testing.assert_close(away, away.mean(0).expand_as(away), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", range(6))
def test_landmarks_lie_where_the_original_has_them(rig, case):
    x = np.load(HERE / "landmarks.npz")
    mesh = Mesh(T(x["vertices"][case]), rig.triangles)
    fixed = torch.cat([embed(mesh, rig.landmarks(n)) for n in ("classic68", "irises2")])
    torch.testing.assert_close(fixed, T(x["lmk_static70"][case]), rtol=0, atol=1e-6)
    pose = T(x["pose"][case])
    turn = axis_angle_to_matrix(pose[:3]) @ axis_angle_to_matrix(pose[3:6])
    sliding = contour_points(mesh, read_contour(HERE), contour_rows(turn))
    torch.testing.assert_close(sliding, T(x["lmk_dynamic70"][case])[:17], rtol=0, atol=1e-6)


def test_the_contour_takes_the_original_row_at_every_yaw():
    x = np.load(HERE / "landmarks.npz")
    pose = T(x["sweep_pose"])
    turn = axis_angle_to_matrix(pose[:, :3]) @ axis_angle_to_matrix(pose[:, 3:6])
    settled = np.abs(np.abs(x["sweep_deg"]) - 10.5) > 1e-3
    for sign, name in ((1, "nha"), (-1, "flame_pytorch")):
        rows = contour_rows(turn, sign).numpy()
        assert (rows == x[f"sweep_lut_row_{name}"])[settled].all()


def test_six_numbers_a_joint_and_lids_after_skinning_give_metrical_trackers_surface(rig):
    x = np.load(HERE / "flame_metrical_6d.npz")
    six = torch.cat([T(x["jaw_6d"])[:, None], T(x["eyes_6d"]).view(-1, 2, 6)], 1)
    angles = matrix_to_axis_angle(rotation_6d_to_matrix(six).mT)
    joints = torch.cat([torch.zeros(3, 1, 3), angles], 1)
    lids = [torch.from_numpy(np.load(HERE / f"eyelids/{s}_eyelid_V200.npy")).float() for s in "lr"]
    for case in range(3):
        expression = Expression("flame", T(x["exp"][case]), joints[case], torch.eye(4))
        mesh = rig.pose(Identity("flame", T(x["shape"][case])), expression)
        left, right = T(x["eyelids"][case])
        vertices = mesh.vertices + left * lids[0] + right * lids[1]
        torch.testing.assert_close(vertices, T(x["vertices"][case]), rtol=0, atol=2e-6)
        layout = rig.landmarks("mediapipe478")
        points = embed(Mesh(vertices, rig.triangles), layout)
        indices = np.load(HERE / "mediapipe_landmark_embedding_V200.npz")["landmark_indices"]
        ours = points[T(indices.astype(np.int64))]
        torch.testing.assert_close(ours, T(x["lmk_mp105"][case]), rtol=0, atol=2e-6)


def test_teeth_are_those_that_splat_files_refer_to(rig):
    x = np.load(HERE / "vhap_teeth.npz")
    points = teeth_points(T(x["lip_upper_xyz"]), T(x["lip_lower_xyz"]))
    torch.testing.assert_close(points, T(x["teeth_xyz"]), rtol=0, atol=1e-6)
    toothed = with_teeth(rig, tuple(range(15)), tuple(range(15, 30)))
    added = toothed.triangles[len(rig.triangles) :] - len(rig.template)
    assert (added.numpy() == x["teeth_faces_rel"]).all()
    np.testing.assert_allclose(toothed.skin_weights[-120:], x["teeth_lbs_weights"][:, 1:])
    uv = toothed.uv[-120:].numpy() * [1, -1] + [0, 1]
    np.testing.assert_allclose(uv, x["teeth_uv"], atol=1e-6)
