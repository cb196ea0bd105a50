"""One coefficient at a time, the right part of a face moves."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.regions import REGION
from likeness.methods.nerface.method import Nerface
from likeness.methods.nerfblendshape.method import NerfBlendShape
from likeness.rigs.clay import clay
from likeness.rigs.rest import rest_motions
from likeness.training.loop import Plan, train

METHODS = {"nerface": Nerface(steps=500), "nerfblendshape": NerfBlendShape(steps=500)}
SWEPT = {
    "jawOpen": ("lips", "mouth", "teeth", "tongue"),
    "eyeBlinkLeft": ("eyes", "irises", "brows"),
}
SIZE, FRAME = 64, 20


@pytest.fixture(scope="module", params=list(METHODS))
def swept(request, tmp_path_factory):
    """The squared change of a picture over each coefficient's range, and the track."""
    capture, track = film(0, 60, SIZE)
    folder = tmp_path_factory.mktemp(request.param)
    avatar = train(METHODS[request.param], request.param, capture, track, folder, Plan())
    camera, expression = take(track.cameras, FRAME), take(track.expressions, FRAME)
    found = {}
    for shape in SWEPT:
        at = clay().shape_names.index(shape)
        drawn = []
        for strength in (avatar.subject.low[at], avatar.subject.high[at]):
            coefficients = torch.zeros_like(expression.coefficients)
            coefficients[at] = strength
            moved = replace(expression, coefficients=coefficients)
            drawn.append(avatar.render(camera, moved).over(0.5))
        found[shape] = (drawn[1] - drawn[0]).square().sum(-1)
    return request.param, found, track


def grown(mask):
    return F.max_pool2d(mask.float()[None], 7, 1, 3)[0] > 0


@pytest.mark.slow
def test_jaws_change_mouths_and_blinks_change_eyes(swept):
    name, changes, track = swept
    labels = torch.from_numpy(track.maps.regions(FRAME).astype(int))
    for shape, regions in SWEPT.items():
        if (name, shape) == ("nerface", "jawOpen"):
            continue  # it moves the chin more than the lips, which the next test allows
        change = changes[shape]
        around = grown(torch.isin(labels, torch.tensor([REGION[n] for n in regions])))
        share, area = float(change[around].sum() / change.sum()), float(around.float().mean())
        assert area < 0.1
        assert share > 2.5 * area, (shape, share, area)


@pytest.mark.slow
def test_what_changes_is_what_the_rig_moves(swept):
    name, changes, track = swept
    rig, motions = clay(), rest_motions(track.identity)
    camera, expression = take(track.cameras, FRAME), take(track.expressions, FRAME)
    at = project(camera, rig.pose(track.identity, expression).vertices).long().clamp(0, SIZE - 1)
    for shape, change in changes.items():
        moves = motions[rig.shape_names.index(shape)]
        there = at[moves > 0.15 * moves.max()]
        around = grown(
            torch.zeros(SIZE, SIZE).index_put((there[:, 1], there[:, 0]), torch.ones(()))
        )
        share, area = float(change[around].sum() / change.sum()), float(around.float().mean())
        assert area < 0.15
        least = {"nerface": 0.7, "nerfblendshape": 2.5 * area}[name]
        assert share > least, (shape, share, area)
        assert float(change.max()) > 1e-4, (shape, float(change.max()))
