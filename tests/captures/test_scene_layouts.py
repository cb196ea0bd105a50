"""nerfstudio, Blender, INSTA and COLMAP: cameras end where the files say, in our axes."""

import json

import numpy as np
import pytest
import torch
from made_media import colmap_project, insta_folder, picture, random_poses, save

from likeness.captures import open_capture
from likeness.captures.head_poses import OPENGL, camera_to_head
from likeness.core.camera import project
from likeness.core.errors import BadInput


def opengl_pixels(pose: np.ndarray, k: np.ndarray, point: np.ndarray) -> np.ndarray:
    x, y, z = (np.linalg.inv(pose) @ [*point, 1])[:3]
    return np.array([k[0, 2] + k[0, 0] * x / -z, k[1, 2] - k[1, 1] * y / -z])


def test_a_blender_folder_has_splits_and_an_angle_for_a_focal_length(tmp_path):
    poses = random_poses(3)
    for split, pose in zip(("train", "val", "test"), poses):
        save(tmp_path / split / "r_0.png", np.dstack([picture(1), picture(1)[..., 0]]))
        frame = {"file_path": f"./{split}/r_0", "transform_matrix": pose.tolist()}
        data = {"camera_angle_x": 0.7, "frames": [frame]}
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(data))
    capture = open_capture(tmp_path)
    assert capture.splits is not None
    assert (capture.splits.train, capture.splits.test) == ((0,), (2,))
    assert capture.pictures.alpha(0) is not None
    track = capture.track
    assert track is not None
    focal = 16 / np.tan(0.35)
    np.testing.assert_allclose(track.cameras.intrinsics[:, 0, 0], focal, rtol=1e-6)
    k = np.array([[focal, 0, 16], [0, focal, 12], [0, 0, 1]])
    point = np.array([0.1, 0.2, -0.05])  # z up there; y up, z to the back here
    ours = torch.tensor([0.1, -0.05, -0.2])
    pixels = project(track.cameras, ours.expand(3, 1, 3))[:, 0]
    for i in range(3):
        np.testing.assert_allclose(pixels[i], opengl_pixels(poses[i], k, point), rtol=1e-4)


def test_intrinsics_of_resized_pictures_are_scaled_and_of_cut_ones_refused(tmp_path):
    save(tmp_path / "a.png", picture(1))
    frame = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}
    top = {"fl_x": 120.0, "cx": 64.0, "cy": 48.0, "w": 128, "h": 96, "frames": [frame]}
    (tmp_path / "transforms.json").write_text(json.dumps(top))
    track = open_capture(tmp_path).track
    assert track is not None
    k = track.cameras.intrinsics[0]
    np.testing.assert_allclose([k[0, 0], k[0, 2], k[1, 2]], [30, 16, 12])
    (tmp_path / "transforms.json").write_text(json.dumps({**top, "h": 128}))
    with pytest.raises(BadInput, match="128x128 pictures, but they are 32x24"):
        open_capture(tmp_path)


def test_an_insta_data_set_has_opencv_cameras_and_flame_coefficients(tmp_path):
    poses = insta_folder(tmp_path, 4)
    capture = open_capture(tmp_path)
    assert capture.notes["layout"] == "insta"
    assert capture.splits is not None
    assert (capture.splits.train, capture.splits.test) == ((0, 2), (1, 3))
    track = capture.track
    assert track is not None
    np.testing.assert_allclose(camera_to_head(track), poses @ OPENGL, atol=1e-6)
    np.testing.assert_array_equal(track.expressions.coefficients[3], np.arange(100) + 3)
    assert capture.pictures.alpha(1) is not None


@pytest.mark.parametrize("binary", [True, False])
def test_a_colmap_project_reads_alike_in_text_and_binary(tmp_path, binary):
    poses, k = colmap_project(tmp_path, binary)
    capture = open_capture(tmp_path)
    assert capture.notes["layout"] == "colmap"
    assert capture.names == ("im 0", "im 1")
    track = capture.track
    assert track is not None
    np.testing.assert_allclose(track.cameras.intrinsics[0], k)
    point = np.array([0.03, 0.04, 0.05])
    ours = torch.tensor([0.03, -0.04, -0.05])  # half a turn about x
    pixels = project(track.cameras, ours.expand(2, 1, 3))[:, 0]
    for i in range(2):
        seen = k @ (poses[i, :3, :3] @ point + poses[i, :3, 3])
        np.testing.assert_allclose(pixels[i], seen[:2] / seen[2], rtol=1e-4)


def test_fisheye_cameras_are_refused_with_the_remedy(tmp_path):
    colmap_project(tmp_path, binary=False)
    file = tmp_path / "sparse" / "0" / "cameras.txt"
    file.write_text("7 OPENCV_FISHEYE 32 24 40 41 15 12.5 0 0 0 0\n")
    with pytest.raises(BadInput, match="OPENCV_FISHEYE.*image_undistorter"):
        open_capture(tmp_path)
