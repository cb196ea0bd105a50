"""Mesh exports of an avatar that learns a volume: the rig laid onto its surface."""

import json
import struct

import pytest
import torch

from likeness.core.avatar import Picture
from likeness.core.errors import BadInput, Unsupported
from likeness.core.geometry import axis_angle_to_matrix, invert_rigid, rigid, transform
from likeness.core.regions import REGION
from likeness.exporters import volumes
from likeness.exporters.glb import Glb, resting
from likeness.exporters.motion import Motion
from likeness.exporters.surface import skinned
from likeness.exporters.texture import bake
from likeness.exporters.volumes import wrapped
from likeness.rigs.clay import clay

MIDDLE, RADII = torch.tensor([0.0, 0.0, -0.07]), torch.tensor([0.095, 0.14, 0.125])
LEVEL = 200.0


class Bun:
    """A skull-sized egg of even density, wherever the head is: its surface is that of hair."""

    rig = "clay"

    def __init__(self) -> None:
        self.identity = clay().rest()
        self.drawn = []

    def density(self, points, expression):
        head = transform(invert_rigid(expression.world_from_head), points)
        return 2 * LEVEL * torch.sigmoid(depth(head) / 0.004), torch.full_like(points, 0.4)

    def bounds(self, expression):
        middle = expression.world_from_head[:3, 3]
        return torch.stack([middle - 0.4, middle + 0.4])

    def render(self, camera, expression):
        size = (camera.height, camera.width)
        self.drawn.append(size)
        return Picture(torch.full((*size, 3), 0.4), torch.ones(size))


def depth(points):
    """About so many metres inside the egg."""
    away = (points - MIDDLE) / RADII
    return (1 - away.norm(dim=-1)) * RADII.mean()


@pytest.fixture(scope="module")
def still():
    """A neutral face, somewhere in the world and turned."""
    turn = axis_angle_to_matrix(torch.tensor([[0.1, 0.4, 0.0]]))
    head = rigid(turn, torch.tensor([[0.3, 1.2, -0.2]]))
    neutral = clay().neutral(1)
    return Motion(type(neutral)(neutral.rig, neutral.coefficients, neutral.joints, head), 25.0)


@pytest.fixture(scope="module")
def laid(still):
    surface = skinned(Bun())
    return surface, wrapped(Bun(), surface, resting(still), LEVEL, 96)


def test_the_scalp_takes_the_volume_of_the_hair(laid):
    before, after = laid
    top = (before.regions == REGION["scalp"]) & (before.vertices[:, 1] > 0.05)
    assert float(depth(before.vertices[top]).median()) > 0.008
    assert float(depth(after.vertices[top]).abs().median()) < 0.001
    assert float(depth(after.vertices[top]).abs().quantile(0.95)) < 0.004


def test_eyes_mouth_and_shapes_stay(laid):
    before, after = laid
    names = ("eyes", "irises", "mouth", "teeth", "tongue")
    inside = torch.isin(before.regions, torch.tensor([REGION[name] for name in names]))
    assert torch.equal(before.vertices[inside], after.vertices[inside])
    assert torch.equal(before.targets, after.targets)


def test_both_sides_of_a_seam_of_the_texture_stay_together(laid):
    _, after = laid
    first = torch.zeros(int(after.source.max()) + 1, dtype=torch.long)
    first[after.source] = torch.arange(len(after.source))
    assert torch.equal(after.vertices, after.vertices[first[after.source]])


@pytest.mark.usefixtures("few_looks")
def test_a_glb_asked_to_wrap_has_the_52_shapes_on_the_volume(still, note, tmp_path, monkeypatch):
    monkeypatch.setattr(volumes, "RESOLUTION", 64)
    data = Glb(texture=32, wrap=LEVEL).export(Bun(), tmp_path / "a.glb", still, note).read_bytes()
    plain = Glb(texture=32).export(Bun(), tmp_path / "b.glb", still, note).read_bytes()
    found = []
    for glb in (data, plain):
        document = json.loads(glb[20 : 20 + struct.unpack("<I", glb[12:16])[0]])
        mesh = document["meshes"][0]
        assert len(mesh["primitives"][0]["targets"]) == 52
        assert mesh["extras"]["targetNames"] == list(clay().shape_names)
        found.append(document["accessors"][mesh["primitives"][0]["attributes"]["POSITION"]])
    assert found[0]["max"][1] > found[1]["max"][1] + 0.01  # the egg is higher than the skull


@pytest.mark.usefixtures("few_looks")
def test_a_volume_is_drawn_small_for_a_large_texture(still):
    bun = Bun()
    colour = bake(bun, skinned(bun), resting(still), 640)
    assert colour.shape == (640, 640, 3)
    assert bun.drawn == [(400, 400)]


def test_what_cannot_be_wrapped_says_why(avatar, motion, note, still, tmp_path):
    with pytest.raises(Unsupported, match="needs a volume to wrap the rig onto, and SplatAvatar"):
        Glb(wrap=30.0).export(avatar, tmp_path / "a.glb", motion, note)
    with pytest.raises(BadInput, match="No density passes 1000 per metre"):
        wrapped(Bun(), skinned(Bun()), resting(still), 1000.0, 16)
    with pytest.raises(BadInput, match="wrap=-3 is no density"):
        Glb(wrap=-3.0).export(Bun(), tmp_path / "a.glb", still, note)
    assert not list(tmp_path.iterdir())
