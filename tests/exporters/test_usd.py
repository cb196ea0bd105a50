import sys

import numpy as np
import pytest
import torch

from likeness.core.errors import Missing
from likeness.core.geometry import transform
from likeness.exporters.surface import skinned
from likeness.exporters.usd import Usd

pytestmark = pytest.mark.usefixtures("few_looks")

needs_usd = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("pxr") is None,
    reason="usd-core is not installed (likeness[usd])",
)


def test_usd_names_the_extra_it_needs(tmp_path, avatar, motion, note, monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(Missing, match=r"likeness\[usd\]"):
        Usd(texture=16).export(avatar, tmp_path / "a.usdc", motion, note)
    assert not list(tmp_path.iterdir())


@needs_usd
def test_usd_opens_with_its_shapes_and_moves_as_the_avatar_does(tmp_path, avatar, motion, note):
    from pxr import Usd as Stages
    from pxr import UsdGeom, UsdSkel

    Usd(texture=16).export(avatar, tmp_path / "ä.usdc", motion, note)
    stage = Stages.Stage.Open(str(tmp_path / "ä.usdc"))
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert stage.GetEndTimeCode() == len(motion) - 1
    surface, cache = skinned(avatar), UsdSkel.Cache()
    root = UsdSkel.Root(stage.GetDefaultPrim())
    cache.Populate(root, Stages.PrimDefaultPredicate)
    mesh = stage.GetPrimAtPath("/avatar/surface")
    names = list(UsdSkel.BindingAPI(mesh).GetBlendShapesAttr().Get())
    assert names == list(surface.names)
    assert "jawOpen" in names
    assert UsdSkel.BakeSkinning(root)
    for t in (0, 7):
        points = np.array(UsdGeom.Mesh(mesh).GetPointsAttr().Get(t))
        moment = motion[t]
        shaped = surface.at(moment.coefficients).vertices
        expected = skinned_at(surface, shaped, moment)
        assert np.abs(points - expected.numpy()).max() < 2e-4


def skinned_at(surface, shaped, moment):
    from likeness.rigs.skinning import blend, joint_motions

    motions = joint_motions(moment.joints, surface.joints, surface.parents)
    return transform(moment.world_from_head, blend(shaped, surface.skin, motions))


@needs_usd
def test_a_usd_that_fails_half_way_leaves_no_stage(tmp_path, avatar, motion, note, monkeypatch):
    from likeness.exporters import usd

    def broken(*_):
        raise KeyError

    monkeypatch.setattr(usd, "_animate", broken)
    monkeypatch.setattr(usd, "bake", lambda *_: torch.zeros(4, 4, 3))
    with pytest.raises(KeyError):
        Usd(texture=16).export(avatar, tmp_path / "a.usdc", motion, note)
    assert not list(tmp_path.glob("*.usd*"))
    assert not list(tmp_path.glob(".*"))
