"""Coefficients are heard where the rig moves something by them, and nowhere else."""

from dataclasses import replace

import torch

from analytic_head import analytic_head
from likeness.core.regions import REGION
from likeness.methods.nerface.heard import heard, listened
from likeness.methods.nerface.method import Nerface, paper
from likeness.rigs.clay import clay
from likeness.rigs.rest import rest_motions

RIG = clay()
REST = RIG.pose(RIG.rest(), RIG.neutral()).vertices
BOX = (0.0, -0.045, -0.02, 0.21)
GRID = heard(REST, rest_motions(RIG.rest()), BOX)
JAW, BLINK = (RIG.shape_names.index(name) for name in ("jawOpen", "eyeBlinkLeft"))


def around(*names):
    """Vertices of regions."""
    return REST[torch.isin(RIG.regions, torch.tensor([REGION[n] for n in names]))]


def test_a_jaw_is_heard_at_the_mouth_and_not_at_the_brows():
    assert float(listened(around("lips"), GRID, BOX)[:, JAW].mean()) > 0.7
    assert float(listened(around("brows"), GRID, BOX)[:, JAW].max()) < 0.05


def test_a_left_eye_hears_its_own_blink_and_the_right_one_does_not():
    eyes = around("irises")
    share = listened(eyes, GRID, BOX)[:, BLINK]
    assert float(share[eyes[:, 0] > 0].mean()) > 0.7
    assert float(share[eyes[:, 0] < 0].max()) < 0.1


def test_nothing_is_heard_far_from_the_surface_or_out_of_the_box():
    far = torch.tensor([[0.08, -0.14, 0.08], [0.3, 0.0, 0.0], [0.0, 5.0, 0.0]])
    assert float(listened(far, GRID, BOX).abs().max()) < 1e-6
    assert float(GRID.min()) >= 0
    assert float(GRID.max()) <= 1


def test_a_field_does_not_change_where_a_coefficient_is_not_heard():
    capture, track = analytic_head(6, 24)
    small = Nerface(width=16, colour_width=8, octaves=3, ground_levels=4, ground_finest=32,
                    ground_log2_size=10, cells=16, shape_steps=2, codes=4)  # fmt: skip
    avatar = small.build(capture, track)
    rest = torch.zeros(avatar.subject.width + small.codes)
    open_wide = rest.clone()
    open_wide[JAW] = 2.0
    for names, moves in ((("lips",), True), (("brows",), False)):
        places = (around(*names) - avatar.centre) * avatar.scale
        with torch.no_grad():
            told = [torch.cat([x.view(len(places), -1) for x in avatar.coarse.trunk(places, c)], -1)
                    for c in (rest, open_wide)]  # fmt: skip
        assert bool((told[0] - told[1]).abs().amax() > 1e-3) == moves
    again = small.restore(avatar.state_dict())
    assert again.coarse.heard.equal(avatar.coarse.heard)


def test_as_published_everything_hears_everything():
    capture, track = analytic_head(4, 24)
    published = replace(paper(), width=8, colour_width=8, near=None, far=None)
    assert published.build(capture, track).coarse.heard is None
