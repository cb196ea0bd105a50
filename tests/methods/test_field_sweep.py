"""One coefficient at a time, the right part of a face moves."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.core.regions import REGION
from likeness.methods.nerface.method import Nerface
from likeness.methods.nerfblendshape.method import NerfBlendShape
from likeness.rigs.clay import clay
from likeness.training.loop import Plan, train

METHODS = {"nerface": Nerface(steps=500), "nerfblendshape": NerfBlendShape(steps=500)}
SWEPT = {
    "jawOpen": ("lips", "mouth", "teeth", "tongue"),
    "eyeBlinkLeft": ("eyes", "irises", "brows"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(METHODS))
def test_jaws_change_mouths_and_blinks_change_eyes(name, tmp_path):
    capture, track = film(0, 60, 64)
    avatar = train(METHODS[name], name, capture, track, tmp_path, Plan())
    camera, expression = take(track.cameras, 20), take(track.expressions, 20)
    labels = torch.from_numpy(track.maps.regions(20).astype(int))
    for shape, regions in SWEPT.items():
        at = clay().shape_names.index(shape)
        drawn = []
        for strength in (avatar.subject.low[at], avatar.subject.high[at]):
            coefficients = torch.zeros_like(expression.coefficients)
            coefficients[at] = strength
            moved = replace(expression, coefficients=coefficients)
            drawn.append(avatar.render(camera, moved).over(0.5))
        change = (drawn[1] - drawn[0]).square().sum(-1)
        there = torch.isin(labels, torch.tensor([REGION[n] for n in regions])).float()
        around = F.max_pool2d(there[None], 7, 1, 3)[0] > 0
        share, area = float(change[around].sum() / change.sum()), float(around.float().mean())
        assert area < 0.1
        assert share > 2.5 * area, (shape, share, area)
