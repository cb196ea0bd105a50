"""What we write for other tools reads back the same, through our own readers."""

import json

import numpy as np
import pytest
import torch
from made_media import held_capture, held_track, picture

from likeness.captures import open_capture
from likeness.captures.head_poses import camera_to_head
from likeness.captures.nerface import original_intrinsics, write_nerface
from likeness.captures.nerfstudio import write_nerfstudio
from likeness.captures.vhap import write_vhap
from likeness.core.camera import project
from likeness.core.capture import Splits
from likeness.core.errors import Unsupported

SPLITS = Splits((0, 1, 2, 3), (4,), (5,))


def capture_of_six():
    return held_capture(splits=SPLITS, background=picture(2))


def pixels_of_head_points(track) -> torch.Tensor:
    """Where points fixed to the head land: what no change of world may change."""
    points = torch.tensor([[0.0, 0, 0], [0.05, 0, 0], [0, 0.07, 0.02], [-0.03, 0.01, 0.05]])
    pose = track.expressions.world_from_head
    world = points @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    return project(track.cameras, world)


def test_a_nerface_folder_reads_back(tmp_path):
    track = held_track(6, "nerface76", 76)
    boxes = np.linspace(0, 1, 24).reshape(6, 4)
    write_nerface(capture_of_six(), track, tmp_path / "n", boxes)
    back = open_capture(tmp_path / "n")
    assert back.notes["layout"] == "nerface"
    assert back.splits == SPLITS
    assert back.track is not None
    torch.testing.assert_close(back.track.expressions.coefficients, track.expressions.coefficients)
    ours, theirs = camera_to_head(track), camera_to_head(back.track)
    torch.testing.assert_close(theirs[:, :3, :3], ours[:, :3, :3])
    distance = ours[:, :3, 3].norm(dim=-1).mean()
    torch.testing.assert_close(theirs[:, :3, 3], ours[:, :3, 3] * 0.5 / distance)
    np.testing.assert_allclose(original_intrinsics(back.track), original_intrinsics(track), 1e-5)
    np.testing.assert_allclose(back.notes["boxes"], boxes)
    torch.testing.assert_close(
        back.track.cameras.intrinsics, track.cameras.intrinsics, atol=1e-4, rtol=0
    )
    for index in range(6):
        np.testing.assert_array_equal(back[index].rgb8, picture(index))
    np.testing.assert_array_equal(back.background, picture(2))


def test_a_vhap_folder_reads_back(tmp_path):
    track = held_track(6)
    write_vhap(capture_of_six(), track, tmp_path / "v")
    back = open_capture(tmp_path / "v")
    assert back.notes["layout"] == "vhap"
    assert back.splits == SPLITS
    assert back.track is not None
    for name in ("coefficients", "joints", "world_from_head"):
        ours, theirs = (getattr(t.expressions, name) for t in (track, back.track))
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(back.track.cameras.intrinsics, track.cameras.intrinsics)
    torch.testing.assert_close(
        back.track.cameras.camera_from_world, track.cameras.camera_from_world
    )
    torch.testing.assert_close(back.track.identity.directions, track.identity.directions)
    torch.testing.assert_close(back.track.identity.offsets, track.identity.offsets)
    np.testing.assert_array_equal(back.pictures.alpha(3), capture_of_six().pictures.alpha(3))
    torch.testing.assert_close(
        pixels_of_head_points(back.track), pixels_of_head_points(track), atol=1e-3, rtol=1e-4
    )
    listed = json.loads((tmp_path / "v" / "transforms_train.json").read_text())
    assert listed["timestep_indices"] == [0, 1, 2, 3]
    with np.load(tmp_path / "v" / "canonical_flame_param.npz") as canonical:
        assert canonical["jaw_pose"][0, 0] == 0.3
        assert not canonical["translation"].any()


@pytest.mark.parametrize("head_still", [True, False])
def test_a_nerfstudio_folder_reads_back(tmp_path, head_still):
    track = held_track(6)
    write_nerfstudio(capture_of_six(), track, tmp_path / "s", head_still)
    back = open_capture(tmp_path / "s")
    assert back.notes["layout"] == "nerfstudio"
    assert back.splits == SPLITS
    assert back.track is not None
    torch.testing.assert_close(back.track.cameras.intrinsics, track.cameras.intrinsics)
    if head_still:
        torch.testing.assert_close(
            pixels_of_head_points(back.track), pixels_of_head_points(track), atol=1e-3, rtol=1e-4
        )
    else:
        torch.testing.assert_close(
            back.track.cameras.camera_from_world, track.cameras.camera_from_world
        )
    np.testing.assert_array_equal(back.pictures.alpha(3), capture_of_six().pictures.alpha(3))
    np.testing.assert_array_equal(back[1].rgb8, picture(1))


def test_a_track_of_another_rig_or_length_is_refused(tmp_path):
    with pytest.raises(Unsupported, match="rig 'clay'.*--rig flame"):
        write_vhap(capture_of_six(), held_track(6, "clay"), tmp_path)
    for write in (write_nerface, write_vhap, write_nerfstudio):
        with pytest.raises(Unsupported, match="4 frames and the capture 6"):
            write(capture_of_six(), held_track(4), tmp_path)
