"""From a capture folder to figures, pictures and videos, through the verbs themselves."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from analytic_head import analytic_head
from likeness.captures.native import write_native
from likeness.core.avatar import Picture
from likeness.core.errors import BadInput, LikenessError, Missing, Unsupported
from likeness.core.files import read_json
from likeness.core.regions import REGION
from likeness.core.track_files import write_track
from likeness.verbs.evaluate import evaluate, score
from likeness.verbs.figures import box_of
from likeness.verbs.fit import configured, fit
from likeness.verbs.loading import device_of, held_out, open_avatar, open_pair
from likeness.verbs.mesh import mesh
from likeness.verbs.preview import first_run, preview
from likeness.verbs.render import render
from likeness.verbs.verify import mark

SMALL = ("rays=128 levels=6 finest=64 log2_size=11 bases=3 cells=24 measure_every=40",)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Capture, track and avatar folders of a short training."""
    folder = tmp_path_factory.mktemp("build")
    capture, track = analytic_head(20, 40, sound=True)
    write_native(capture, folder / "capture")
    write_track(folder / "track", track)
    fit(
        folder / "capture",
        folder / "track",
        folder / "avatar",
        method="nerfblendshape",
        steps=200,
        settings=SMALL,
        evaluate_every=100,
        device="cpu",
    )
    return folder


class Known:
    """Draws what was recorded, off by a constant."""

    rig = "clay"

    def __init__(self, capture, off: float) -> None:
        self.capture, self.off, self.at = capture, off, iter(range(15, 20))

    def render(self, camera, expression):
        index = next(self.at)
        rgb = self.capture[index].rgb + self.off
        return Picture(rgb, torch.ones(rgb.shape[:2]))


def test_figures_are_those_of_a_known_error(tmp_path):
    capture, track = analytic_head()
    found = score(Known(capture, 0.05), capture, track, tmp_path)
    assert found["frames"] == 5
    assert found["l1"] == pytest.approx(0.05, abs=2e-3)
    assert found["psnr"] == pytest.approx(26.02, abs=0.2)
    assert found["mouth"]["psnr"] == pytest.approx(26.02, abs=0.3)
    perfect = score(Known(capture, 0.0), capture, track, tmp_path)
    assert perfect["psnr"] == pytest.approx(100, abs=1e-3)
    assert perfect["head"]["ssim"] == pytest.approx(1, abs=1e-5)
    assert perfect["std"]["psnr"] == 0


def test_evaluating_writes_figures_with_their_protocol_and_pictures(fitted, tmp_path):
    evaluate(fitted / "avatar", fitted / "capture", fitted / "track", tmp_path, device="cpu")
    found = read_json(tmp_path / "metrics.json")
    assert found["frames"] == len(found["per_frame"]) == 5
    assert found["psnr"] > 18
    for word in ("split: last", "40x40", "learned backdrop", "nothing fitted"):
        assert word in found["protocol"]
    pictures = sorted(tmp_path.glob("frame_*.png"))
    assert 0 < len(pictures) <= 6
    with Image.open(pictures[0]) as picture:
        assert picture.size == (120, 40)


def test_frames_without_a_face_are_not_scored():
    capture, track = analytic_head()
    confidence = torch.ones(20)
    confidence[17] = 0
    track = replace(track, confidence=confidence)
    assert held_out(capture, track) == [15, 16, 18, 19]
    with pytest.raises(BadInput, match="no tracked frame"):
        held_out(capture, replace(track, confidence=torch.zeros(20)))


def test_the_preview_shows_four_panels_and_has_the_sound(fitted, tmp_path):
    where = (fitted / "avatar", fitted / "capture", fitted / "track", tmp_path / "p.mp4")
    preview(*where, device="cpu", seconds=0.2)
    with av.open(str(tmp_path / "p.mp4")) as file:
        assert len(file.streams.audio) == 1
        frames = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]
    assert len(frames) == 5
    assert frames[0].shape == (40, 160, 3)


def test_an_avatar_is_drawn_without_its_recording(fitted, tmp_path):
    render(fitted / "avatar", tmp_path / "o.webm", size=32, seconds=0.16, background="none")
    render(fitted / "avatar", tmp_path / "s", view="sweep", size=32, seconds=0.12)
    assert len(list((tmp_path / "s").glob("*.png"))) == 3
    for made in (tmp_path / "o.webm", tmp_path / "s" / "000000.png"):
        assert mark(made)["generator"].startswith("likeness")
        assert "consent" in mark(made)
    with pytest.raises(LikenessError, match="jawOpen"):
        render(fitted / "avatar", tmp_path / "x", size=32, expression=("jawOpne=1",))
    with pytest.raises(BadInput, match="needs --capture"):
        render(fitted / "avatar", tmp_path / "x", view="recording")


def test_a_volume_gives_one_closed_piece_of_the_right_size(fitted, tmp_path):
    mesh(fitted / "avatar", tmp_path / "m.ply", resolution=48, level=5.0, device="cpu")
    made = trimesh.load(tmp_path / "m.ply")
    assert isinstance(made, trimesh.Trimesh)
    assert made.body_count == 1
    width = float(np.ptp(made.vertices[:, 0]))
    assert 0.1 < width < 0.35, "the ball is 0.2 m wide"
    with pytest.raises(BadInput, match=r"\.ply"):
        mesh(fitted / "avatar", tmp_path / "m.stl")


def test_settings_are_read_by_their_kind_and_wrong_ones_named():
    found = configured("nerface", "paper", ("rays=64 clamp=yes near=none far=none",), seed=3)
    assert (found.rays, found.clamp, found.near, found.seed) == (64, True, None, 3)
    with pytest.raises(LikenessError, match="Did you mean 'rays'"):
        configured("nerface", settings=("ray=3",))
    with pytest.raises(BadInput, match="should be a number"):
        configured("nerface", settings=("rays=many",))
    with pytest.raises(LikenessError, match="preset"):
        configured("nerface", "phone")


def test_wrong_folders_and_devices_are_one_line(fitted, tmp_path):
    with pytest.raises(BadInput, match="holds no avatar"):
        open_avatar(tmp_path)
    with pytest.raises(BadInput, match="holds no track"):
        open_pair(fitted / "capture", tmp_path)
    with pytest.raises(BadInput, match="unknown"):
        device_of("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(Missing, match="no CUDA device"):
            device_of("cuda")
    with pytest.raises(BadInput, match="not both"):
        fit(fitted / "capture", fitted / "track", tmp_path, minutes=1, steps=1)


def test_an_expression_of_another_rig_or_width_is_refused(fitted):
    capture, track = open_pair(fitted / "capture", fitted / "track")
    avatar = open_avatar(fitted / "avatar")
    rest = avatar.at_rest()
    short = replace(rest, coefficients=rest.coefficients[:-1])
    with pytest.raises(Unsupported, match="51"):
        avatar.subject.condition(short)
    with pytest.raises(Unsupported, match="NaN"):
        avatar.subject.condition(replace(rest, coefficients=rest.coefficients * float("nan")))


def test_neighbouring_frames_are_shown_first():
    assert first_run([1, 5, 6, 7, 9], 3) == [5, 6, 7]
    assert first_run([1, 3, 5], 2) in ([1], [1, 3])


def test_a_box_reaches_a_little_beyond_its_regions():
    labels = np.zeros((40, 40), np.uint8)
    labels[10:20, 12:24] = REGION["lips"]
    rows, columns = box_of(labels, ("lips",)) or (slice(0), slice(0))
    assert (rows.start, rows.stop, columns.start, columns.stop) == (8, 22, 10, 26)
    assert box_of(labels, ("eyes",)) is None
