import pytest
import torch

from likeness.core.errors import BadInput, LikenessError
from likeness.exporters.angles import matrix_from_turns, turns_of
from likeness.exporters.bvh import read_bvh, read_motion_bvh, write_bvh
from likeness.exporters.motion import Motion
from likeness.exporters.motion_csv import ORDER, read_motion_csv, write_motion_csv
from likeness.exporters.motion_json import read_motion_json, write_motion_json
from likeness.exporters.motion_npz import read_motion_npz, write_motion_npz


def test_yaw_pitch_and_roll_are_those_of_the_matrix():
    turns = torch.tensor([[0.3, -0.4, 0.2], [-1.2, 1.0, -0.7]])
    torch.testing.assert_close(turns_of(matrix_from_turns(turns)), turns)


@pytest.mark.parametrize(
    ("write", "read"),
    [(write_motion_json, read_motion_json), (write_motion_npz, read_motion_npz)],
)
def test_a_motion_comes_back_whole(tmp_path, motion, write, read):
    write(tmp_path / "m.x", motion)
    back = read(tmp_path / "m.x")
    assert back.fps == motion.fps
    for name in ("coefficients", "joints", "world_from_head", "world_from_torso", "torso"):
        there, here = getattr(back.expressions, name), getattr(motion.expressions, name)
        assert torch.equal(there, here), name


def test_csv_to_motion_to_csv_changes_no_digit(tmp_path, motion):
    write_motion_csv(tmp_path / "a.csv", motion)
    write_motion_csv(tmp_path / "b.csv", read_motion_csv(tmp_path / "a.csv"))
    first = (tmp_path / "a.csv").read_text().splitlines()
    second = (tmp_path / "b.csv").read_text().splitlines()
    for a, b in zip(first, second, strict=True):
        assert a.split(",")[1:] == b.split(",")[1:]  # the rate is not in the CSV itself


def test_the_phone_layout_has_52_coefficients_and_nine_angles(tmp_path, motion):
    assert len(set(ORDER)) == 52
    write_motion_csv(tmp_path / "a.csv", motion)
    header = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert header[:3] == ["Timecode", "BlendshapeCount", "EyeBlinkLeft"]
    assert header[-1] == "RightEyeRoll"
    assert len(header) == 63


def test_columns_of_a_csv_may_be_fewer_and_in_any_order(tmp_path):
    (tmp_path / "a.csv").write_text("JawOpen,EyeBlinkLeft\n0.5,0.25\n")
    what = read_motion_csv(tmp_path / "a.csv").expressions
    assert what.coefficients.sum() == 0.75
    assert torch.equal(what.world_from_head[0], torch.eye(4))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no frames"),
        ("JawOpen\n", "no frames"),
        ("JawOpen,JawsOpen\n0,0\n", "JawsOpen"),
        ("HeadYaw\n0\n", "none of the 52"),
        ("JawOpen\nnan\n", "line 2: JawOpen"),
        ("JawOpen\nwide\n", "'wide'"),
        ("JawOpen,JawLeft\n1\n", "1 of 2"),
    ],
)
def test_a_bad_csv_is_one_clear_line(tmp_path, text, says):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BadInput, match=says):
        read_motion_csv(tmp_path / "a.csv")


def test_a_json_motion_with_unknown_coefficients_is_refused_by_name(tmp_path, motion):
    write_motion_json(tmp_path / "m.json", motion)
    text = (tmp_path / "m.json").read_text(encoding="utf-8").replace('"jawOpen"', '"jawAjar"')
    (tmp_path / "m.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match="jawAjar"):
        read_motion_json(tmp_path / "m.json")


@pytest.mark.parametrize("read", [read_motion_json, read_motion_npz, read_motion_csv, read_bvh])
def test_rubbish_is_no_motion(tmp_path, read):
    (tmp_path / "m").write_bytes(b"\x00\xffrubbish\n1,2\n")
    with pytest.raises(LikenessError):
        read(tmp_path / "m")
    with pytest.raises(LikenessError):
        read(tmp_path / "absent")


def test_a_motion_that_is_not_finite_is_refused_by_frame(tmp_path, motion):
    what = motion.expressions
    broken = type(what)(what.rig, what.coefficients.clone(), what.joints, what.world_from_head)
    broken.coefficients[4, 2] = torch.nan
    with pytest.raises(BadInput, match="Frame 4"):
        write_motion_json(tmp_path / "m.json", Motion(broken))
    assert not list(tmp_path.iterdir())


def test_a_bvh_written_again_changes_no_digit_and_moves_a_neutral_face(tmp_path, motion):
    write_bvh(tmp_path / "a.bvh", motion.expressions.world_from_head, 30)
    back = read_motion_bvh(tmp_path / "a.bvh")
    assert not back.expressions.coefficients.any()
    write_bvh(tmp_path / "b.bvh", back.expressions.world_from_head, back.fps)
    words = [(tmp_path / f"{name}.bvh").read_text().split() for name in "ab"]
    for one, other in zip(*words, strict=True):
        assert one == other or abs(float(one) - float(other)) < 2e-5


def test_the_head_comes_back_from_bvh(tmp_path, motion):
    write_bvh(tmp_path / "m.bvh", motion.expressions.world_from_head, motion.fps)
    back, fps = read_bvh(tmp_path / "m.bvh")
    assert fps == pytest.approx(25)
    torch.testing.assert_close(back, motion.expressions.world_from_head, atol=2e-6, rtol=1e-5)
