"""The baked texture: what views agree on, what none saw, and from where an avatar is looked at."""

from dataclasses import replace

import pytest
import torch

from likeness.core.avatar import Picture, Reach
from likeness.core.geometry import transform
from likeness.core.regions import REGION
from likeness.core.rig import Identity
from likeness.exporters import texture_views
from likeness.exporters.sockets import closed_sockets
from likeness.exporters.surface import skinned
from likeness.exporters.texture import atlas, bake
from likeness.exporters.texture_fill import Sight, agreed, completed, padded
from likeness.exporters.texture_views import faith, views
from likeness.ops.mesh import interpolate, rasterise
from likeness.rigs.clay import clay


class Painted:
    """Clay whose colour is where a point lies on the neutral head, as its pictures show it."""

    rig = "clay"
    identity: Identity = clay().rest()

    def render(self, camera, expression):
        rig = clay()
        mesh = rig.pose(self.identity, expression)
        seen = rasterise(camera, mesh.vertices, mesh.triangles)
        colour = interpolate(seen, paint(rig.template))
        return Picture(colour * seen.mask[..., None], seen.mask.float())


def paint(places):
    return (0.5 + 4 * places * torch.tensor([1.0, 0.5, 0.5])).clamp(0, 1)


def test_what_is_seen_keeps_its_colour_and_the_rest_is_like_its_neighbours(monkeypatch):
    monkeypatch.setattr(texture_views, "_TURNS", ((0, 0), (35, 0), (-35, 0)))
    surface = skinned(Painted())
    colour = bake(Painted(), surface, clay().neutral(), 128, 256)
    texels, labels = atlas(surface, 128)
    places = interpolate(texels, surface.vertices, surface.triangles)[texels.mask]
    wrong = (colour[texels.mask] - paint(places)).abs().amax(-1)
    skin = (labels == REGION["skin"]) & (places[:, 2] > -0.05)
    assert wrong[skin].quantile(0.9) < 0.06
    back = (labels == REGION["scalp"]) & (places[:, 2] < -0.15)
    assert wrong[back].median() < 0.35
    assert torch.isfinite(colour).all()


def test_where_triangles_of_a_texture_overlap_the_least_stretched_has_the_texel():
    surface = replace(
        skinned(Painted()),
        vertices=torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [0, 0.01, 0], [0.1, 0, 0], [0, 0.1, 0]]),
        triangles=torch.tensor([[0, 1, 2], [0, 3, 4]]),
        uv=torch.tensor([[0.0, 0], [1, 0], [0, 1], [0.5, 0], [0, 0.5]]),
        regions=torch.tensor([1, 1, 1, 2, 2]),
    )
    texels, labels = atlas(surface, 32)
    seen = texels.seen
    assert (seen[:8, :8] == 1).all()
    assert seen[20, 4] == seen[4, 20] == 0
    assert len(labels) == int((seen >= 0).sum())


def test_one_view_with_something_before_the_surface_leaves_no_speckle():
    red, black = torch.tensor([[0.8, 0.3, 0.2]]), torch.zeros(1, 3)
    sure = torch.ones(1)
    one = torch.zeros(1, dtype=torch.int64)
    sights = [Sight(one, red, sure), Sight(one, red, sure), Sight(one, black, 0.6 * sure)]
    colour, total = agreed(sights, 2)
    colour, total = colour[0], total[0]
    assert (colour - red).abs().max() < 0.02
    assert total == pytest.approx(2.6)


def test_unseen_regions_take_plain_tones_darker_towards_the_back_of_the_mouth():
    labels = torch.tensor([REGION["skin"]] * 50 + [REGION["teeth"]] * 2 + [REGION["hair"]])
    places = torch.zeros(53, 3)
    places[:, 2] = 0.05
    places[51, 2] = 0.0
    colour, sure = torch.full((53, 3), 0.6), torch.zeros(53)
    sure[:50] = 1
    made = completed(colour, sure, places, labels)
    assert torch.equal(made[:50], colour[:50])
    assert 0.5 < made[50].mean() < 0.8
    assert made[51].mean() < 0.5 * made[50].mean()
    assert (made[52] - 0.6).abs().max() < 1e-6


def test_texels_outside_the_islands_take_the_nearest_colour():
    colour = torch.zeros(4, 4, 3)
    colour[0, 0] = torch.tensor([1.0, 0.5, 0.25])
    known = torch.zeros(4, 4, dtype=torch.bool)
    assert (padded(colour, known) == 0.5).all()
    known[0, 0] = True
    assert torch.equal(padded(colour, known), colour[0, 0].expand(4, 4, 3))


class Remembers(Painted):
    def reach(self, neutral):
        return Reach(torch.zeros(52), torch.zeros(52), torch.full((52,), 0.25), 0.3)


def test_an_avatar_is_asked_only_for_what_its_training_showed():
    surface, rest = skinned(Painted()), clay().neutral()
    bold, shy = (views(who, surface, rest, 64) for who in (Painted(), Remembers()))
    assert max(float(view.expression.coefficients.max()) for view in bold) == 1
    assert max(float(view.expression.coefficients.max()) for view in shy) == 0.25
    assert {view.weight for view in bold[:9]} == {1.0}
    assert shy[0].weight == 1 > shy[3].weight > shy[5].weight > 0


def test_sides_count_little_where_training_did_not_say_how_far_it_looked():
    unknown = replace(Remembers().reach(0.1), turn=None)
    assert faith(0.0, unknown) == faith(0.3, unknown) == 1.0
    assert faith(1.1, unknown) < 0.01
    assert faith(1.1, None) == 1.0


def test_sockets_are_closed_behind_the_eyes_and_nothing_else_is():
    rig = clay()
    triangles, flat = closed_sockets(rig.triangles, rig.uv_triangles, rig.regions)
    more = triangles[len(rig.triangles) :]
    assert len(more) == 60
    assert len(flat) == len(triangles)
    places = rig.template[more]
    assert (places[..., 1].abs() < 0.02).all()
    a, b, c = places.unbind(1)
    area = torch.linalg.cross(b - a, c - a)[:, 2]
    assert area.sum() > 0.9 * area.abs().sum() > 0  # facing out
    eyes = rig.template[rig.regions == REGION["irises"]]
    assert places[..., 2].max() < transform(torch.eye(4), eyes)[:, 2].max()
