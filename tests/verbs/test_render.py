"""Views, camera paths and what they are written to."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from analytic_head import analytic_head
from likeness.captures.native import write_native
from likeness.core.errors import BadInput
from likeness.core.files import write_json
from likeness.core.orbit import orbited
from likeness.core.track_files import write_track
from likeness.verbs.fit import fit
from likeness.verbs.loading import open_avatar
from likeness.verbs.moments import at_rest, portrait
from likeness.verbs.render import one_by_one, planned, render


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Capture with sound, track, and a NeRFBlendShape after a few steps."""
    folder = tmp_path_factory.mktemp("learned")
    capture, track = analytic_head(12, 40, sound=True)
    write_native(capture, folder / "capture")
    write_track(folder / "track", track)
    small = ("rays=64 levels=4 finest=32 log2_size=9 bases=2 cells=16 patch_share=0",)
    where = (folder / "capture", folder / "track", folder / "avatar")
    fit(*where, method="nerfblendshape", steps=40, settings=small, live=0, device="cpu")
    return folder


def path_file(path, cameras, **more):
    rows = [
        {
            "intrinsics": c.intrinsics.tolist(),
            "camera_from_world": c.camera_from_world.tolist(),
        }
        for c in cameras
    ]
    write_json(path, {"width": 36, "height": 28, "cameras": rows, **more})
    return path


def test_a_camera_path_decides_size_speed_and_length(learned, tmp_path):
    rest = at_rest(open_avatar(learned / "avatar"))
    cameras = [orbited(portrait(rest, 36, 28), rest, yaw, 0.0) for yaw in (0.0, 0.4, 0.8)]
    path = path_file(tmp_path / "path.json", cameras, fps=12)
    render(learned / "avatar", tmp_path / "v.mp4", view=str(path), seconds=60, device="cpu")
    with av.open(str(tmp_path / "v.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height, float(stream.average_rate or 0)) == (36, 28, 12)
        frames = [f.to_ndarray(format="rgb24").astype(float) for f in film.decode(video=0)]
    assert len(frames) == 3
    assert np.abs(frames[0] - frames[2]).mean() > 0.1, "the camera moved away"


@pytest.mark.parametrize(
    "content, said",
    [
        ({"width": 36, "cameras": []}, "no camera path"),
        ({"width": 36, "height": 28, "cameras": []}, "needs cameras"),
        ({"width": 36, "height": 28, "cameras": [{"intrinsics": [[1]]}]}, "no camera path"),
    ],
)
def test_a_camera_path_that_is_none_is_one_line(content, said, learned, tmp_path):
    write_json(tmp_path / "path.json", content)
    with pytest.raises(BadInput, match=said):
        render(learned / "avatar", tmp_path / "v.mp4", view=str(tmp_path / "path.json"))
    assert not (tmp_path / "v.mp4").exists()


def test_a_spiral_looks_at_the_head_from_all_around_its_front(learned):
    rest = at_rest(open_avatar(learned / "avatar"))
    moments = planned("spiral", rest, 32, 8)
    eyes = torch.stack([torch.linalg.inv(c.camera_from_world)[:3, 3] for c, _ in moments])
    away = eyes - rest.world_from_head[:3, 3]
    assert float(away[:, 0].max()) > 0.2
    assert float(away[:, 0].min()) < -0.2
    assert float(eyes[:, 1].max() - eyes[:, 1].min()) > 0.2
    assert bool((away[:, 2] > 0.5).all()), "always before the face"


def test_a_sweep_raises_one_coefficient_after_another(learned):
    rest = at_rest(open_avatar(learned / "avatar"))
    width = len(rest.coefficients)
    rows = torch.stack([e.coefficients for e in one_by_one(rest, 4 * width)])
    assert bool(((rows != 0).sum(-1) <= 1).all())
    assert bool((rows.amax(0) > 0.9).all())


def test_held_out_frames_keep_their_sound_and_their_own_backdrop(learned, tmp_path):
    pair = {"capture": learned / "capture", "track": learned / "track"}
    out = tmp_path / "r.mp4"
    render(learned / "avatar", out, view="recording", background="own", **pair, device="cpu")
    with av.open(str(out)) as film:
        assert len(film.streams.audio) == 1
        frames = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
        seconds = float(film.streams.audio[0].duration * film.streams.audio[0].time_base)
    assert len(frames) == 3
    assert frames[0].shape == (40, 40, 3)
    assert 0.05 < seconds < 0.5, "the sound of these frames alone"
    wall = frames[0][2, 2].astype(int)
    assert wall[2] > wall[0] + 30, "the blue end of the wall"


def test_pictures_and_webm_without_a_background_have_alpha(learned, tmp_path):
    given = {"size": 32, "seconds": 0.08, "background": "none", "device": "cpu"}
    render(learned / "avatar", tmp_path / "pictures", **given)
    files = sorted((tmp_path / "pictures").glob("*.png"))
    with Image.open(files[0]) as picture:
        alpha = np.array(picture)[..., 3]
    assert picture.mode == "RGBA"
    assert int(alpha.max()) > 20
    assert int(alpha[0, 0]) < 5
    render(learned / "avatar", tmp_path / "o.webm", **given)
    with av.open(str(tmp_path / "o.webm")) as film:
        assert film.streams.video[0].metadata.get("alpha_mode", "") == "1"
    with pytest.raises(BadInput, match="cannot be transparent"):
        render(learned / "avatar", tmp_path / "o.mp4", **given)
    assert not (tmp_path / "o.mp4").exists()
