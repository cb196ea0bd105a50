"""Every bad input ends in one clear line that names file, value and remedy."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_media import make_clip, picture, save

from likeness.captures import open_capture
from likeness.core.errors import BadInput

PARITY = Path(__file__).parents[1] / "parity"


def one_clear_line(error: BaseException, *words: str) -> None:
    said = str(error)
    assert "\n" not in said
    assert len(said) < 420, said
    assert said.rstrip().endswith("."), said
    for word in words:
        assert word in said, said


def nothing(folder: Path) -> Path:
    return folder / "nowhere.mp4"


def empty_video(folder: Path) -> Path:
    (folder / "a.mp4").touch()
    return folder / "a.mp4"


def text_called_video(folder: Path) -> Path:
    (folder / "a.mp4").write_text("this is not a video\n" * 100)
    return folder / "a.mp4"


def text(folder: Path) -> Path:
    (folder / "a.txt").write_text("hello")
    return folder / "a.txt"


def empty_folder(folder: Path) -> Path:
    return folder


def folder_of_text(folder: Path) -> Path:
    text(folder)
    return folder


def video_without_frames(folder: Path) -> Path:
    whole = make_clip(folder / "whole.mkv", 8).read_bytes()
    cluster = whole.index(bytes.fromhex("1F43B675"))  # Matroska's first group of frames
    (folder / "a.mkv").write_bytes(whole[:cluster])
    return folder / "a.mkv"


def truncated_photo(folder: Path) -> Path:
    path = save(folder / "a.jpg", picture(1, 320, 240))
    path.write_bytes(path.read_bytes()[:900])
    return path


def empty_photo(folder: Path) -> Path:
    (folder / "a.png").touch()
    return folder


def text_called_photo(folder: Path) -> Path:
    (folder / "a.jpg").write_text("hello")
    return folder


def heic(folder: Path) -> Path:
    (folder / "IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    return folder / "IMG_1.heic"


BAD: dict[Callable[[Path], Path], tuple[str, ...]] = {
    nothing: ("nowhere.mp4", "Check the spelling"),
    empty_video: ("a.mp4", "0 bytes", "Copy it again"),
    text_called_video: ("a.mp4", "Export it again"),
    text: ("a.txt", "5 bytes", "Give a video"),
    empty_folder: ("empty", "Put photos in it"),
    folder_of_text: ("a.txt", "recognised"),
    video_without_frames: ("a.mkv", "xport it again"),
    truncated_photo: ("a.jpg", "damaged", "Copy or export it again"),
    empty_photo: ("a.png", "0 bytes", "Copy it again"),
    text_called_photo: ("a.jpg", "Save it as JPEG or PNG"),
    heic: ("IMG_1.heic", "Convert HEIC"),
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_bad_file_is_one_clear_line(tmp_path, make):
    with pytest.raises(BadInput) as error:
        capture = open_capture(make(tmp_path))
        capture[0].rgb8  # noqa: B018
    one_clear_line(error.value, *BAD[make])


SAMPLES = {
    "nerface": (PARITY / "nerface" / "person_tiny", "transforms_train.json"),
    "nerfblendshape": (PARITY / "nerfblendshape" / "id1", "transforms.json"),
    "adnerf": (PARITY / "adnerf" / "sample", "transforms_train.json"),
    "vhap": (PARITY / "nha" / "vhap_export", "transforms.json"),
}


def first_frame(data: dict[str, Any]) -> dict[str, Any]:
    return data["frames"][0]


def break_pose(data: dict[str, Any]) -> None:
    first_frame(data)["transform_matrix"][0][3] = float("nan")


def mirror_pose(data: dict[str, Any]) -> None:
    row = first_frame(data)["transform_matrix"][0]
    row[:3] = [-v for v in row[:3]]


def flatten_pose(data: dict[str, Any]) -> None:
    first_frame(data)["transform_matrix"] = [1.0, 2.0]


def word_pose(data: dict[str, Any]) -> None:
    first_frame(data)["transform_matrix"] = "identity"


def lose_pose(data: dict[str, Any]) -> None:
    del first_frame(data)["transform_matrix"]


def no_frames(data: dict[str, Any]) -> None:
    data["frames"] = data["frames"][:0] + [None]


JSON_FAULTS = {
    break_pose: ("'transform_matrix'", "nan"),
    mirror_pose: ("'transform_matrix'", "no rotation", "-1"),
    flatten_pose: ("'transform_matrix'", "must be"),
    word_pose: ("'transform_matrix'", "must hold numbers"),
    lose_pose: ("'transform_matrix'", "Export it again"),
    no_frames: ("frame 0",),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("fault", JSON_FAULTS, ids=lambda f: f.__name__)
def test_a_wrong_field_is_named_with_its_file(tmp_path, name, fault):
    source, file = SAMPLES[name]
    folder = shutil.copytree(source, tmp_path / "copy")
    data = json.loads((folder / file).read_text())
    fault(data)
    (folder / file).write_text(json.dumps(data))
    with pytest.raises(BadInput) as error:
        # a reader is called by name: a broken frame may hide what the folder is
        __import__(f"likeness.captures.{name}", fromlist=["read"]).read(folder)
    one_clear_line(error.value, file, *JSON_FAULTS[fault])


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_json_and_lost_pictures_are_named(tmp_path, name):
    source, file = SAMPLES[name]
    folder = shutil.copytree(source, tmp_path / "copy")
    whole = (folder / file).read_text()
    (folder / file).write_text(whole[: len(whole) // 2])
    reader = __import__(f"likeness.captures.{name}", fromlist=["read"])
    with pytest.raises(BadInput) as error:
        reader.read(folder)
    one_clear_line(error.value, file, "truncated")
    (folder / file).write_text(whole)
    for suffix in ("png", "jpg", "mp4"):
        for path in folder.rglob(f"*.{suffix}"):
            path.unlink()
    with pytest.raises(BadInput) as error:
        reader.read(folder)
    one_clear_line(error.value, str(folder))


def test_absent_masks_read_as_not_known(tmp_path):
    folder = shutil.copytree(PARITY / "nha" / "vhap_export", tmp_path / "copy")
    shutil.rmtree(folder / "fg_masks")
    capture = open_capture(folder)
    assert capture.pictures.alpha(0) is None
    assert capture.pictures.regions(0) is None


def test_a_mask_of_another_size_is_named(tmp_path):
    folder = shutil.copytree(PARITY / "nha" / "vhap_export", tmp_path / "copy")
    save(folder / "fg_masks" / "00000_00.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(BadInput) as error:
        open_capture(folder).pictures.alpha(0)
    one_clear_line(error.value, "Frame 0", "8x8", "32x32", "Delete the mask")


def test_frames_of_several_sizes_are_named(tmp_path):
    folder = shutil.copytree(PARITY / "nerface" / "person_tiny", tmp_path / "copy")
    save(folder / "train" / "f_0001.png", picture(1, 16, 16))
    with pytest.raises(BadInput) as error:
        open_capture(folder)
    one_clear_line(error.value, "f_0001.png", "16x16", "32x32")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return (os.system, ("echo harm > harm.txt",))

    folder = shutil.copytree(
        PARITY / "nha" / "metrical_tracker" / "output" / "toy", tmp_path / "copy"
    )
    with zipfile.ZipFile(folder / "checkpoint" / "00000.frame", "w") as archive:
        archive.writestr("00000/data.pkl", pickle.dumps(Evil()))
    with pytest.raises(BadInput) as error:
        open_capture(folder)
    one_clear_line(error.value, "00000.frame", "system")
    adnerf = shutil.copytree(PARITY / "adnerf" / "sample", tmp_path / "adnerf")
    with (adnerf / "track_params.pt").open("wb") as file:
        pickle.dump(Evil(), file)
    with pytest.raises(BadInput) as error:
        open_capture(adnerf)
    one_clear_line(error.value, "track_params.pt")
    assert not list(tmp_path.rglob("harm.txt"))
    assert not Path("harm.txt").exists()
