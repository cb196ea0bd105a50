import numpy as np
import pytest
import torch

from likeness.core.avatar import Picture
from likeness.core.batching import take
from likeness.core.camera import Camera
from likeness.core.capture import Capture, last_fifth
from likeness.core.errors import BadInput, LikenessError, Unsupported
from likeness.core.expression import Expression, concatenate
from likeness.core.registry import Registry
from likeness.core.rig import Embedding, Identity, Mesh, embed
from likeness.core.track import Track
from likeness.core.track_files import MapFolder, read_track, write_track


def expression(count, rig="clay", personal=False):
    return Expression(
        rig,
        torch.rand(count, 5),
        torch.zeros(count, 2, 3),
        torch.eye(4).expand(count, 4, 4).contiguous(),
        personal=torch.rand(count, 2) if personal else None,
    )


class Grey:
    def rgb(self, index):
        return np.full((4, 6, 3), index, np.uint8)

    def alpha(self, index):
        return None

    def regions(self, index):
        return None


def capture(count=5):
    return Capture("grey", Grey(), tuple(i / 25 for i in range(count)), (6, 4), fps=25.0)


def track(count=5):
    eye = torch.eye(4).expand(count, 4, 4).contiguous()
    return Track(
        Camera(torch.eye(3).expand(count, 3, 3).contiguous(), eye, 6, 4),
        expression(count, personal=True),
        Identity("clay", torch.rand(3), offsets=torch.rand(7, 3)),
        torch.rand(count),
        landmarks=torch.rand(count, 4, 2),
        backdrop=np.zeros((4, 6, 3), np.uint8),
        report={"verdict": "fine", "kept": 0.9},
    )


def test_expressions_of_two_rigs_do_not_mix():
    with pytest.raises(Unsupported, match="clay, flame"):
        concatenate([expression(2), expression(2, rig="flame")])


def test_concatenating_then_taking_gives_the_parts_back():
    a, b = expression(2), expression(3)
    whole = concatenate([a, b])
    assert whole.count == 5
    assert torch.equal(take(whole, slice(2, 5)).coefficients, b.coefficients)


def test_a_frame_past_the_end_is_named():
    with pytest.raises(BadInput, match="'grey' has 5 frames; there is no frame 5"):
        capture()[5]


def test_pictures_load_only_when_touched():
    frame = capture()[3]
    assert frame.rgb.shape == (4, 6, 3)
    assert frame.rgb[0, 0, 0] == pytest.approx(3 / 255)
    assert frame.alpha is None


def test_the_last_fifth_is_held_out_and_nothing_is_lost():
    splits = last_fifth(103)
    assert len(splits.test) == 20
    assert splits.train + splits.test == tuple(range(103))


def test_taking_from_a_track_leaves_its_identity_whole():
    part = take(track(), slice(1, 3))
    assert len(part) == 2
    assert part.identity.offsets.shape == (7, 3)
    assert part.expressions.personal.shape == (2, 2)


def test_a_track_written_reads_back_the_same(tmp_path):
    before = track()
    MapFolder(tmp_path).write("alpha", 2, np.arange(24, dtype=np.uint8).reshape(4, 6))
    write_track(tmp_path, before)
    after = read_track(tmp_path)
    assert after.rig == "clay"
    assert torch.equal(after.expressions.coefficients, before.expressions.coefficients)
    assert torch.equal(after.identity.offsets, before.identity.offsets)
    assert torch.equal(after.landmarks, before.landmarks)
    assert after.report == before.report
    assert after.maps.alpha(2)[1, 0] == 6
    assert after.maps.alpha(3) is None


def test_a_track_with_a_missing_part_is_refused_by_name(tmp_path):
    write_track(tmp_path, track())
    text = (tmp_path / "track.json").read_text()
    (tmp_path / "track.json").write_text(text.replace('"width"', '"wide"'))
    with pytest.raises(BadInput, match="not a whole track: 'width'"):
        read_track(tmp_path)


def test_a_picture_over_a_background_mixes_by_alpha():
    picture = Picture(torch.full((1, 1, 3), 0.25), torch.full((1, 1), 0.5))
    assert picture.over(1.0).flatten().tolist() == [0.75, 0.75, 0.75]


def test_embedded_points_move_with_their_triangle():
    mesh = Mesh(torch.rand(4, 6, 3), torch.tensor([[0, 1, 2], [3, 4, 5]]))
    where = Embedding(torch.tensor([1]), torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([1]))
    points = embed(mesh, where)
    v = mesh.vertices
    torch.testing.assert_close(points[:, 0], 0.2 * v[:, 3] + 0.3 * v[:, 4] + 0.5 * v[:, 5])


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(LikenessError, match="no method called 'nerfcae'. Did you mean 'nerface'"):
        Registry("method", {"nerface": "math:pi", "splats": "math:e"}).load("nerfcae")


def test_a_registry_row_whose_module_is_gone_says_so():
    with pytest.raises(LikenessError, match="no module 'likeness_gone'"):
        Registry("method", {"x": "likeness_gone:y"}).load("x")


def test_a_guest_cannot_replace_a_built_in_row(monkeypatch):
    class Guest:
        name, value = "pi", "evil:thing"

    monkeypatch.setattr("likeness.core.registry.entry_points", lambda group: [Guest()])
    assert Registry("number", {"pi": "math:pi"}).load("pi") == pytest.approx(3.14159, abs=1e-4)
