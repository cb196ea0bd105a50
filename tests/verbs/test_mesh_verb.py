"""`likeness mesh`: volumes and rigs as files that other programs open, marked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from likeness.core.errors import BadInput, Unsupported
from likeness.core.geometry import invert_rigid, transform
from likeness.exporters.notes import Note
from likeness.rigs.clay import clay
from likeness.verbs import mesh as module
from likeness.verbs.mesh import mesh
from likeness.verbs.moments import at_rest
from likeness.verbs.verify import mark

RADIUS = 0.13


class Ball:
    """A red ball around the middle of the head."""

    rig = "clay"

    def __init__(self) -> None:
        self.identity = clay().rest()
        self.rest_head = torch.eye(4)
        self.rest_head[:3, 3] = torch.tensor([0.1, 1.5, 0.0])

    def density(self, points, expression):
        head = transform(invert_rigid(expression.world_from_head), points)
        away = (head - torch.tensor([0.0, -0.02, -0.08])).norm(dim=-1)
        return 100 * torch.sigmoid((RADIUS - away) / 0.004), points * 0 + torch.tensor([1.0, 0, 0])

    def bounds(self, expression):
        middle = expression.world_from_head[:3, 3]
        return torch.stack([middle - 0.3, middle + 0.3])


@pytest.fixture
def ball(monkeypatch):
    monkeypatch.setattr(module, "open_avatar", lambda *_: Ball())
    monkeypatch.setattr(module, "note_of", lambda _: Note("Zoë", "yes"))


@pytest.mark.usefixtures("ball")
@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
@pytest.mark.parametrize("wrap", [False, True])
def test_a_volume_opens_elsewhere_in_its_colours_and_says_what_it_is(tmp_path, suffix, wrap):
    path = tmp_path / f"m{suffix}"
    mesh(tmp_path, path, resolution=48, level=50.0, wrap=wrap, device="cpu")
    assert mark(path)["subject"] == "Zoë"
    made = trimesh.load(path, process=False, force="mesh")
    assert isinstance(made, trimesh.Trimesh)
    away = np.linalg.norm(made.vertices - [0.0, -0.02, -0.08], axis=1)
    if wrap:
        assert len(made.faces) > len(clay().triangles) - 1
        above = made.vertices[:, 1] > 0.06
        assert np.median(np.abs(away[above] - RADIUS)) < 0.002
    else:
        assert np.abs(away - RADIUS).max() < 0.002
    if suffix != ".glb":  # of which trimesh drops the colours that lie on a material
        assert (np.asarray(made.visual.vertex_colors)[:, :3] == [255, 0, 0]).all()


@pytest.mark.usefixtures("ball")
def test_a_wrapped_head_opens_its_mouth(tmp_path):
    for name, words in (("shut", ()), ("open", ("jawOpen=1",))):
        path = tmp_path / f"{name}.ply"
        mesh(tmp_path, path, words, resolution=24, level=50.0, wrap=True, device="cpu")
    shut, opened = (trimesh.load(tmp_path / f"{n}.ply", process=False) for n in ("shut", "open"))
    moved = np.linalg.norm(np.asarray(shut.vertices) - np.asarray(opened.vertices), axis=1)
    assert 0.01 < moved.max() < 0.1


def test_what_has_no_volume_is_not_wrapped(folder, tmp_path):
    with pytest.raises(Unsupported, match="SplatAvatar has none"):
        mesh(folder, tmp_path / "a.ply", wrap=True, device="cpu")
    with pytest.raises(BadInput, match="should end in"):
        mesh(folder, tmp_path / "a.stl")
    assert not list(tmp_path.iterdir())


def test_the_mesh_of_a_rigged_avatar_is_marked_too(folder, tmp_path):
    mesh(folder, tmp_path / "a.ply", device="cpu")
    assert mark(tmp_path / "a.ply")["consent"]


class Still(Ball):
    """As fields are: at rest with a face, and with no joint of any rig."""

    def at_rest(self):
        neutral = clay().neutral()
        return replace(neutral, joints=neutral.joints[:0], world_from_head=self.rest_head)


def test_a_field_at_rest_has_the_joints_of_its_rig():
    assert at_rest(Still()).joints.shape == clay().neutral().joints.shape
