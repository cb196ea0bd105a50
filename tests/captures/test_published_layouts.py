"""Samples of published data sets load, and equal what the original loaders return."""

from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.captures import (
    CAPTURES,
    adnerf,
    llff,
    metrical,
    nerface,
    nerfblendshape,
    nha,
    open_capture,
    vhap,
)
from likeness.captures.flame_params import limited, settled, stacked_joints, unlimited
from likeness.captures.head_poses import camera_to_head
from likeness.captures.label_colours import UNKNOWN, head_mask, sahs_classes
from likeness.core.camera import project
from likeness.core.geometry import invert_rigid
from likeness.core.regions import REGION

PARITY = Path(__file__).parents[1] / "parity"
NERFACE = PARITY / "nerface" / "person_tiny"
SAHS = PARITY / "sahs" / "sample_nerface"
BLENDSHAPE = PARITY / "nerfblendshape" / "id1"
ADNERF = PARITY / "adnerf" / "sample"
NHA = PARITY / "nha" / "nha_sequence"
VHAP = PARITY / "nha" / "vhap_export"
METRICAL = PARITY / "nha" / "metrical_tracker" / "output" / "toy"
TRINSIC = PARITY / "ncg" / "nerftrinsic_root"
WEB = PARITY / "ncg" / "webapp_root"
MTCM = PARITY / "ncg" / "mtcm_root"

LAYOUTS = {
    "nerface": (NERFACE, SAHS),
    "nerfblendshape": (BLENDSHAPE,),
    "adnerf": (ADNERF,),
    "nha": (NHA,),
    "vhap": (VHAP,),
    "metrical": (METRICAL,),
    "llff": (TRINSIC / "LLFF" / "Ada Example", TRINSIC / "LLFF" / "Ben_Sample"),
    "ncg": (TRINSIC, WEB, MTCM),
}


def expected(*parts: str) -> dict[str, np.ndarray]:
    with np.load(PARITY.joinpath(*parts)) as archive:
        return {k: archive[k] for k in archive.files}


def stack(capture, indices) -> np.ndarray:
    return np.stack([capture.pictures.rgb(i) for i in indices])


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_sample_is_recognised_first_by_the_reader_of_its_own_layout(name):
    for path in LAYOUTS[name]:
        first = next(n for n in CAPTURES.names() if CAPTURES.load(n).recognises(path))
        assert first == name


def test_a_nerface_folder_equals_what_its_loader_returns():
    capture = open_capture(NERFACE)
    want = expected("nerface", "dataset_loaded_full.npz")
    assert capture.track is not None
    assert capture.splits is not None
    np.testing.assert_array_equal(stack(capture, range(7)) / np.float32(255), want["images"])
    np.testing.assert_allclose(camera_to_head(capture.track), want["poses"], atol=2e-7)
    np.testing.assert_allclose(nerface.original_intrinsics(capture.track), want["intrinsics"], 1e-6)
    np.testing.assert_array_equal(capture.track.expressions.coefficients, want["expressions"])
    np.testing.assert_array_equal(nerface.pixel_boxes(capture), want["bboxs"])
    for ours, theirs in (("train", "train"), ("validation", "val"), ("test", "test")):
        np.testing.assert_array_equal(getattr(capture.splits, ours), want[f"i_{theirs}"])
    assert capture.background is not None
    assert capture.track.rig == "nerface76"


def test_a_nerface_folder_of_sahs_brings_its_parsing_maps():
    capture = open_capture(SAHS)
    want = expected("sahs", "nerface_loader_expected.npz")
    assert capture.track is not None
    assert capture.splits is not None
    splits = (capture.splits.train, capture.splits.validation, capture.splits.test)
    poses = camera_to_head(capture.track).numpy()
    for split, members in zip(("train", "val", "test"), splits):
        rows = list(members)
        np.testing.assert_array_equal(stack(capture, rows) / np.float32(255), want[f"{split}_img"])
        np.testing.assert_allclose(poses[rows], want[f"{split}_pose"], atol=2e-7)
        coefficients = capture.track.expressions.coefficients[rows]
        np.testing.assert_array_equal(coefficients, want[f"{split}_expression"])
        np.testing.assert_array_equal(nerface.pixel_boxes(capture)[rows], want[f"{split}_bbox"])
        labels = [sahs_classes(capture.pictures.regions_paths[i]) for i in rows]
        one_hot = np.stack([np.eye(256, dtype=np.uint8)[c][..., :12] for c in labels])
        np.testing.assert_array_equal(one_hot, want[f"{split}_seg"])
    unknown = sahs_classes(capture.pictures.regions_paths[1])
    assert unknown[0, 0] == UNKNOWN
    assert set(np.unique(capture.pictures.regions(0))) <= set(REGION.values())


def test_a_nerfblendshape_subject_equals_what_its_loader_returns():
    capture = nerfblendshape.read(BLENDSHAPE, test_start=-1)
    want = expected("nerfblendshape", "dataset_expected.npz")
    track, splits = capture.track, capture.splits
    assert track is not None
    assert splits is not None
    assert capture.background is not None
    assert track.landmarks is not None
    np.testing.assert_array_equal(splits.train, want["train_ids"])
    np.testing.assert_array_equal(splits.validation, want["valid_ids"])
    np.testing.assert_array_equal(splits.test, want["test_ids"])
    np.testing.assert_allclose(camera_to_head(track), want["transform_matrix"], atol=2e-7)
    np.testing.assert_allclose(nerfblendshape.box_poses(track), want["pose_ngp"], atol=1e-6)
    shift = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # its pixel centres are whole numbers
    np.testing.assert_allclose(track.cameras.intrinsics[0] - shift, want["intrinsic"])
    exact = track.expressions.coefficients.numpy()
    np.testing.assert_array_equal(exact, want["exp_with_mean"][:, 1:])
    low, high = (
        np.float16(capture.notes[f"coefficient_{n}"]).astype(np.float32) for n in ("min", "max")
    )
    np.testing.assert_array_equal(low, want["min_per"][1:])
    np.testing.assert_array_equal(high, want["max_per"][1:])
    np.testing.assert_array_equal(exact.clip(low, high), want["exp_clamped"][:, 1:])
    assert np.abs(stack(capture, range(4)).astype(int) - want["head_images_u8"]).max() <= 2
    assert np.abs(capture.background.astype(int) - want["bc_u8"]).max() <= 2
    raw = nerfblendshape.read(BLENDSHAPE, pictures="ori")
    assert np.abs(stack(raw, range(4)).astype(int) - want["ori_images_u8"]).max() <= 2
    masks = np.stack([head_mask(BLENDSHAPE / "parsing" / f"{i}.png") for i in range(4)])
    np.testing.assert_array_equal(masks > 0, want["mask"])
    np.testing.assert_array_equal(track.landmarks.numpy().astype(np.int32), want["landmarks"])
    for scale, tag in ((1, ""), (16, "_512")):
        boxes = nerfblendshape.face_boxes(want[f"landmarks{tag}"], 32 * scale, 32 * scale)
        np.testing.assert_array_equal(boxes["head"], want[f"rects{tag}"])
        np.testing.assert_array_equal(boxes["mouth"], want[f"rects_mouth{tag}"])
        np.testing.assert_array_equal(boxes["eyes"], want[f"rects_eyes{tag}"])


def test_the_small_nerfblendshape_release_shows_the_frames_of_its_video(tmp_path):
    for name in ("transforms.json", "max_46.txt", "min_46.txt", "id1.mp4"):
        (tmp_path / name).write_bytes((BLENDSHAPE / name).read_bytes())
    capture = open_capture(tmp_path)
    assert len(capture) == 4
    assert capture.size == (32, 32)
    raw = nerfblendshape.read(BLENDSHAPE, pictures="ori")
    difference = np.abs(stack(capture, range(4)).astype(int) - stack(raw, range(4)))
    assert difference.mean() < 12  # both are lossy, in their own ways
    assert capture.background is None


def test_an_adnerf_data_set_equals_what_its_loaders_return():
    capture = open_capture(ADNERF)
    want = expected("adnerf", "loader_expected.npz")
    track, splits = capture.track, capture.splits
    assert track is not None
    assert splits is not None
    assert capture.background is not None
    np.testing.assert_array_equal(splits.train, want["i_train"])
    np.testing.assert_array_equal(splits.validation, want["i_val"])
    np.testing.assert_allclose(camera_to_head(track), want["poses"], atol=2e-7)
    np.testing.assert_array_equal(adnerf.sound_windows(track), want["auds"])
    np.testing.assert_array_equal(capture.notes["boxes"], want["sample_rects"])
    height, width, focal, cx, cy = want["hwfcxy"]
    assert capture.size == (width, height)
    k = track.cameras.intrinsics[0]
    np.testing.assert_allclose(
        [k[0, 0], k[1, 1], k[0, 2] - 0.5, k[1, 2] - 0.5], [focal, focal, cx, cy], rtol=1e-6
    )
    assert np.abs(capture.background.astype(int) - want["bc_img"]).max() <= 2
    assert np.abs(stack(capture, range(4)).astype(int) - want["com_imgs"]).max() <= 2
    heads = adnerf.read(ADNERF, pictures="head")
    assert np.abs(stack(heads, range(4)).astype(int) - want["head_imgs"]).max() <= 2
    classes = [sahs_classes(p) for p in capture.pictures.regions_paths]
    one_hot = np.stack([np.eye(256, dtype=np.uint8)[c][..., :12] for c in classes])
    seg = np.concatenate([want["sahs_train_seg"], want["sahs_val_seg"]])
    np.testing.assert_array_equal(one_hot, seg)
    assert track.expressions.coefficients.shape == (4, 79)
    assert track.identity.directions.shape == (100,)


def test_an_nha_sequence_equals_what_its_loader_returns():
    capture = open_capture(NHA)
    want = expected("nha", "nha_sequence_expected_load.npz")
    track, splits = capture.track, capture.splits
    assert track is not None
    assert splits is not None
    assert track.landmarks is not None
    assert (splits.train, splits.validation) == ((0, 1), (2,))
    raw = unlimited(track.expressions.joints.double().numpy())
    height = capture.size[1]
    for i in range(3):
        rgb = np.moveaxis((want[f"f{i}_rgb"] + 1) / 2 * 255, 0, -1)
        np.testing.assert_allclose(capture.pictures.rgb(i), rgb, atol=1e-3)
        labels = want[f"f{i}_seg"][0]
        np.testing.assert_array_equal(
            capture.pictures.alpha(i) > 0, (labels != 0) & (labels != 200)
        )
        np.testing.assert_allclose(track.landmarks[i, :68], want[f"f{i}_lmk2d"][:, :2], atol=1e-5)
        iris = want[f"f{i}_lmk2d_iris"]
        seen = iris[:, 2] > 0
        np.testing.assert_allclose(track.landmarks[i, 68:][seen], iris[seen, :2], atol=1e-5)
        assert torch.isnan(track.landmarks[i, 68:][~seen]).all()
        np.testing.assert_array_equal(track.identity.directions, want[f"f{i}_flame_shape"])
        np.testing.assert_array_equal(track.expressions.coefficients[i], want[f"f{i}_flame_expr"])
        np.testing.assert_allclose(
            raw[i, :, 0].ravel()[:1], want[f"f{i}_flame_pose"][3:4], atol=1e-4
        )
        k = track.cameras.intrinsics[i].clone()
        k[1, 2] = height - k[1, 2]
        np.testing.assert_allclose(k, want[f"f{i}_cam_intrinsic"], rtol=1e-6)


def test_nha_poses_project_to_the_same_pixels_in_our_world():
    capture = open_capture(NHA)
    with np.load(NHA / nha.TRACKING) as archive:
        data = {k: archive[k] for k in archive.files}
    track = capture.track
    assert track is not None
    point = torch.tensor([0.01, 0.02, 0.03])
    for i in range(3):
        turn = torch.linalg.matrix_exp(
            torch.tensor(
                [
                    [0, -data["rotation"][i, 2], data["rotation"][i, 1]],
                    [data["rotation"][i, 2], 0, -data["rotation"][i, 0]],
                    [-data["rotation"][i, 1], data["rotation"][i, 0], 0],
                ]
            )
        )
        x, y, z = turn @ point + torch.tensor(data["translation"][i])
        focal = data["K"][0] * 32
        theirs = torch.stack([16 - focal * x / z, 16 - focal * y / z])
        pose = track.expressions.world_from_head[i]
        world = pose[:3, :3] @ point + pose[:3, 3]
        camera = track.cameras
        ours = project(camera, world.expand(len(track), 1, 3))[i, 0]
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_nha_joint_limits_are_undone_by_their_inverse():
    raw = np.random.default_rng(3).uniform(-1.5, 1.5, (50, 4, 3))
    np.testing.assert_allclose(unlimited(limited(raw)), raw, atol=1e-9)
    with np.load(NHA / nha.TRACKING) as archive:
        stored = stacked_joints(archive["neck_pose"], archive["jaw_pose"], archive["eyes_pose"])
    np.testing.assert_allclose(unlimited(limited(stored)), stored, atol=1e-6)


def test_a_vhap_export_equals_its_files_and_its_tracking():
    capture = open_capture(VHAP)
    track = capture.track
    assert track is not None
    with np.load(PARITY / "nha" / "tracked_flame_params_30.npz") as archive:
        tracked = {k: archive[k] for k in archive.files}
    moved = tracked["translation"] - tracked["translation"].mean(0)
    pose = track.expressions.world_from_head
    np.testing.assert_allclose(pose[:, :3, 3], moved, atol=1e-6)
    np.testing.assert_array_equal(track.expressions.coefficients, tracked["expr"])
    np.testing.assert_array_equal(track.expressions.joints[:, 0], tracked["neck_pose"])
    np.testing.assert_array_equal(track.expressions.joints[:, 2:].flatten(1), tracked["eyes_pose"])
    np.testing.assert_array_equal(track.identity.directions, tracked["shape"])
    assert track.identity.offsets is not None
    np.testing.assert_array_equal(track.identity.offsets, tracked["static_offset"][0])
    focal = tracked["focal_length"][0] * 32
    np.testing.assert_allclose(track.cameras.intrinsics[:, 0, 0], focal, rtol=1e-6)
    place = invert_rigid(track.cameras.camera_from_world)[0, :3, 3]
    np.testing.assert_allclose(place, [0, 0, 1] - tracked["translation"].mean(0), atol=1e-6)
    np.testing.assert_allclose(
        vhap.flame_parameters(track, 1)["rotation"][0], tracked["rotation"][1], atol=1e-6
    )
    assert capture.pictures.alpha(0).shape == (32, 32)


def test_settling_a_flame_track_turns_heads_about_the_root_joint():
    track = open_capture(VHAP).track
    assert track is not None
    joint = torch.tensor([0.001, -0.15, -0.01])
    exact = settled(track, joint)
    moved = exact.expressions.world_from_head[:, :3, :3] @ joint
    moved = moved + exact.expressions.world_from_head[:, :3, 3]
    kept = joint + track.expressions.world_from_head[:, :3, 3]
    torch.testing.assert_close(moved, kept)
    assert settled(exact, joint) is exact


def test_a_metrical_tracker_folder_equals_its_checkpoints():
    want = expected("nha", "metrical_tracker", "expected_frame_00000.npz")
    frame = metrical.read_frame(METRICAL / "checkpoint" / "00000.frame")
    for group in ("flame", "camera", "opencv"):
        for name, value in frame[group].items():
            np.testing.assert_array_equal(value, want[f"{group}_{name}"])
    np.testing.assert_array_equal(frame["img_size"], want["img_size"])
    capture = open_capture(METRICAL)
    track = capture.track
    assert track is not None
    camera_from_head = track.cameras.camera_from_world @ track.expressions.world_from_head
    np.testing.assert_allclose(camera_from_head[0, :3, :3], want["opencv_R"][0], atol=1e-6)
    np.testing.assert_allclose(camera_from_head[0, :3, 3], want["opencv_t"][0], atol=1e-6)
    np.testing.assert_allclose(track.cameras.intrinsics[0], want["opencv_K"][0], rtol=1e-6)
    np.testing.assert_array_equal(track.expressions.coefficients[0], want["flame_exp"][0])
    assert len(capture) == 3
    assert track.expressions.joints.shape == (3, 4, 3)


@pytest.mark.parametrize("person", ["Ada Example", "Ben_Sample"])
def test_an_llff_scene_equals_what_its_loader_returns(person):
    capture = open_capture(TRINSIC, person=person)
    want = expected("ncg", "nerftrinsic_root", "expected_loader.npz")
    key = f"{person.replace(' ', '_')}__ratio1__"
    assert capture.splits is not None
    ids = want[key + "img_ids"]
    np.testing.assert_array_equal(capture.splits.train, ids)
    np.testing.assert_array_equal(stack(capture, ids) / np.float32(255), want[key + "imgs"])
    assert capture.track is not None
    poses = camera_to_head(capture.track).numpy()
    poses[:, :3, 3] /= 0.75 * np.min(capture.notes["bounds"])  # that loader's depth scaling
    np.testing.assert_allclose(poses, want[key + "c2ws"], atol=1e-6)


def test_llff_poses_equal_the_loaders_with_and_without_depth_scaling():
    want = expected("ncg", "poses_bounds_loader.npz")
    rows = want["poses_bounds"]
    poses = llff.camera_poses(rows)
    np.testing.assert_allclose(llff.recentred(poses), want["nondc_c2ws"], atol=1e-9)
    scaled = llff.recentred(poses, rows[:, 15:].min())
    np.testing.assert_allclose(scaled, want["ndc_c2ws"], atol=1e-9)


def test_collections_of_people_open_one_person_at_a_time():
    training = open_capture(MTCM, person="Ada Example")
    assert len(training) == 3
    assert training.notes["focal_millimetres"] == [35.0, 50.0, 85.0]
    assert np.shape(training.notes["poses"]) == (3, 7)
    assert training.pictures.alpha(0) is not None
    recorded = open_capture(WEB, person="Ada_Example")
    assert recorded.names == ("front_000", "left_000", "right_000")
