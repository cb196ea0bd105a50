"""What a track looks like, and the layouts it leaves in for other people's code."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from likeness.captures import open_capture
from likeness.captures.native import write_native
from likeness.core.camera import pinhole
from likeness.core.capture import Capture
from likeness.core.errors import LikenessError
from likeness.core.regions import REGION
from likeness.core.track import Track
from likeness.core.track_files import MapFolder, write_track
from likeness.drivers.placing import turned
from likeness.rigs.clay import clay
from likeness.verbs.curves import curves
from likeness.verbs.export import export
from likeness.verbs.overlay import overlay

SIZE, FRAMES, LOST = 64, 6, 3


class Grey:
    """A picture that is one grey, a little brighter each frame."""

    def rgb(self, index: int) -> np.ndarray:
        return np.full((SIZE, SIZE, 3), 40 + 10 * index, np.uint8)

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A capture and, beside it, a track: a head that turns; one frame without a face."""
    folder = tmp_path_factory.mktemp("Zoë")
    capture = Capture("Zoë", Grey(), tuple(i / 25 for i in range(FRAMES)), (SIZE, SIZE), fps=25.0)
    write_native(capture, folder / "capture")
    turn = torch.zeros(FRAMES, 3)
    turn[:, 1] = torch.linspace(-0.3, 0.3, FRAMES)
    moments = replace(clay().neutral(FRAMES), world_from_head=turned(turn))
    moments.coefficients[:, 17] = torch.linspace(0, 0.5, FRAMES)
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    flip[2, 3] = 0.6
    camera = pinhole(100.0, SIZE, SIZE, flip)
    cameras = replace(
        camera,
        intrinsics=camera.intrinsics.expand(FRAMES, 3, 3),
        camera_from_world=flip.expand(FRAMES, 4, 4),
    )
    seen = torch.ones(FRAMES)
    seen[LOST] = 0
    maps = MapFolder(folder / "track")
    matte = np.zeros((SIZE, SIZE), np.uint8)
    matte[16:, 20:44] = 255
    for index in range(FRAMES):
        maps.write("alpha", index, matte)
        maps.write("regions", index, np.where(matte > 0, REGION["skin"], 0).astype(np.uint8))
    points = torch.full((FRAMES, 478, 2), 8.0)
    points[LOST] = torch.nan
    write_track(folder / "track", Track(cameras, moments, clay().rest(), seen, points, maps))
    return folder


def test_every_layer_is_drawn_where_it_belongs_and_lost_frames_have_no_head(tracked, tmp_path):
    def strip(draw: str) -> np.ndarray:
        out = tmp_path / "strip.png"
        overlay(tracked / "capture", tracked / "track", out, draw, size=128, columns=FRAMES)
        picture = np.asarray(Image.open(out).convert("RGB")).astype(int)
        return np.stack(np.split(picture, FRAMES, 1))[:, :110]  # below are words

    plain = strip("")
    for layer, inside in (("mesh", (64, 64)), ("landmarks", (15, 15)), ("regions", (80, 64))):
        changed = np.abs(strip(layer) - plain).max(-1) > 12
        assert changed[0][inside], layer
        assert changed[LOST].any() == (layer == "regions")
    matte = np.abs(strip("matte") - plain).max(-1) > 12
    assert matte[0, 70, 36:44].any()
    assert not matte[0, 70, 55:75].any()
    assert (np.abs(strip("axes") - plain).max(-1) > 12)[0].sum() > 30


def test_a_film_has_a_panel_side_by_side_for_every_group_of_layers(tracked, tmp_path):
    out = tmp_path / "ä.mp4"
    overlay(
        tracked / "capture", tracked / "track", out, "mesh|regions|", size=64, first=2, frames=3
    )
    with av.open(str(out)) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(pictures) == 3
    assert pictures[0].shape == (64, 192, 3)


def test_curves_break_where_no_face_was_seen(tracked, tmp_path):
    overlay(tracked / "capture", tracked / "track", tmp_path / "c.svg")
    drawn = (tmp_path / "c.svg").read_text(encoding="utf-8")
    assert "Zoë: 5 of 6 frames" in drawn
    assert "jaw" in drawn
    moments = clay().neutral(4)
    camera = pinhole(100.0, 8, 8, torch.eye(4))
    track = Track(camera, moments, clay().rest(), torch.tensor([1.0, 1, 0, 1]))
    count = curves(track, (0, 1, 2, 3), clay().shape_names, "x").count("<polyline")
    assert count == 2 * curves(
        replace(track, confidence=torch.ones(4)), (0, 1, 2, 3), clay().shape_names, "x"
    ).count("<polyline")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"draw": "mesch"}, "Did you mean 'mesh'"),
        ({"size": 8}, "64 to 2160"),
        ({"out": "a.txt"}, "should end in"),
        ({"first": 99}, "choose none of 6"),
    ],
)
def test_a_wrong_overlay_is_one_line_and_nothing_is_written(tracked, tmp_path, asked, says):
    asked = {"out": "a.mp4", **asked}
    asked["out"] = tmp_path / asked["out"]
    with pytest.raises(LikenessError, match=says):
        overlay(tracked / "capture", tracked / "track", **asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["nerface", "nerfstudio"])
def test_a_track_in_anothers_layout_reads_back_with_the_same_view_of_the_head(
    tracked, tmp_path, to
):
    export(tracked / "track", to, tmp_path / to)
    back = open_capture(tmp_path / to)
    assert back.notes["layout"] == to
    assert len(back) == FRAMES
    assert back.track is not None
    ours = torch.stack([torch.from_numpy(m) for m in _views(tracked)])
    theirs = back.track.cameras.camera_from_world @ back.track.expressions.world_from_head
    if to == "nerface":  # its unit makes heads half a unit away
        theirs[:, :3, 3] *= ours[0, 2, 3] / theirs[0, 2, 3]
        torch.testing.assert_close(back.track.expressions.coefficients[:, 17].sort().values,
                                   torch.linspace(0, 0.5, FRAMES), atol=1e-4, rtol=0)  # fmt: skip
    else:
        assert back.pictures.alpha(0) is not None
    order = theirs[:, 0, 2].argsort(descending=bool(ours[0, 0, 2] > ours[-1, 0, 2]))
    torch.testing.assert_close(theirs[order], ours, atol=2e-3, rtol=0)


def _views(folder):
    from likeness.core.track_files import read_track

    track = read_track(folder / "track")
    return (track.cameras.camera_from_world @ track.expressions.world_from_head).numpy()


def test_what_a_track_may_become_is_listed(tracked):
    listed = export(tracked / "track")
    assert all(f"ok  {name}" in listed for name in ("csv", "nerface", "nerfstudio", "vhap"))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"to": "vhap"}, "speak FLAME"),
        ({"to": "bhv"}, "Did you mean 'bvh'"),
        ({"to": "nerface", "capture": "nowhere"}, "no file or folder"),
    ],
)
def test_what_a_track_cannot_be_is_one_line(tracked, tmp_path, asked, says):
    asked = {"out": "a", **asked}
    asked["out"] = tmp_path / asked["out"]
    with pytest.raises(LikenessError, match=says) as told:
        export(tracked / "track", **asked)
    assert "\n" not in str(told.value)
