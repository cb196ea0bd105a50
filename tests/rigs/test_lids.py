"""Whoever somebody is, their lids close over their eyeballs. Lengths in millimetres."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from likeness.core.rig import Identity
from likeness.rigs.clay import clay
from likeness.rigs.clay.control import EYE_RADIUS
from likeness.rigs.clay.lids import LIFT
from likeness.rigs.clay.measures import EYE, LOWER_LID, UPPER_LID
from likeness.rigs.clay.shapes import ARKIT

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SHAPES = ("eyeBlink", "eyeSquint", "eyeWide", "eyeLookUp", "eyeLookDown", "cheekSquint")


def somebody(seed):
    g = torch.Generator().manual_seed(seed)
    return Identity("clay", torch.randn(len(clay().identity_names), generator=g).clamp(-2, 2))


def tracked():
    """As a tracker leaves people: the lids' middles a millimetre and a half behind the template's,
    the upper ones higher, the eyeballs where they were."""
    rig = clay()
    offsets = torch.zeros_like(rig.template)
    for eye in ("left_eye", "right_eye"):
        away = rig.template - rig.template[rig.parts[eye]].mean(0)
        near = torch.exp(-away[:, :2].square().sum(-1) / (2 * 0.012**2))[:, None]
        high = (away[:, 1:2] / 0.004).clamp(0, 1)
        offsets += near * torch.tensor([0.0, 0.0, -0.0015]) + near * high * torch.tensor(
            [0.0, 0.0015, 0.0]
        )
        offsets[rig.parts[eye]] = 0
    return Identity("clay", torch.zeros(len(rig.identity_names)), offsets=offsets)


PEOPLE = {"tracked": tracked, **{f"person {s}": lambda s=s: somebody(s) for s in (0, 2, 3, 7)}}


@pytest.fixture(scope="module", params=PEOPLE, name="person")
def _person(request):
    """A person baked in, and where the middle of the left eyeball is."""
    who, rig = PEOPLE[request.param](), clay()
    person = rig.baked(who)
    return person, 1000 * person.joint_positions[rig.joint_names.index("left_eye")]


def moved(person, name, share):
    return 1000 * (person.template + share * person.shape_basis[ARKIT.index(f"{name}Left")])


def gaps(vertices):
    """By how much each point of the upper lid lies above the lower one (below 0: in front of
    it)."""
    steps = torch.linspace(0, 1, 20)[:, None]
    rim = vertices[[EYE[0][0], *LOWER_LID, EYE[0][8]]]
    line = torch.cat([a + steps * (b - a) for a, b in pairwise(rim)])
    upper = vertices[list(UPPER_LID)]
    away = torch.cdist(upper, line)
    nearest = line[away.argmin(1)]
    return away.amin(1) * (upper[:, 1] - nearest[:, 1]).sign()


def test_a_blink_brings_everybodys_lids_together(person):
    assert float(gaps(moved(person[0], "eyeBlink", 1.0)).abs().max()) < 1.01


def test_lids_close_further_the_further_they_blink(person):
    heights = torch.stack([gaps(moved(person[0], "eyeBlink", share)) for share in _SHARES])
    assert float(heights.diff(dim=0).max()) < -0.1


@pytest.mark.parametrize("name", _SHAPES)
def test_lids_lie_over_the_eyeball_and_not_inside_it(person, name):
    """All skin around the eye that one sees; 12.7 from the middle at most where shapes lift it."""
    rig, (baked, middle) = clay(), person
    assert rig.lids is not None
    skin = rig.lids.vertices[0][rig.lids.clear[0] > 0]
    for share in _SHARES:
        away = (moved(baked, name, share)[skin] - middle).norm(dim=-1)
        assert EYE_RADIUS < float(away.min()) < LIFT + 1


@pytest.mark.parametrize("name", _SHAPES)
def test_no_triangle_of_anybodys_lids_turns_inside_out(person, name):
    def normals(vertices):
        a, b, c = vertices[clay().triangles].unbind(1)
        return torch.linalg.cross(b - a, c - a)

    rest = normals(moved(person[0], name, 0.0))
    assert int(((rest * normals(moved(person[0], name, 1.0))).sum(-1) < 0).sum()) == 0


def test_squinting_narrows_eyes_and_widening_widens_them(person):
    rest, squint, wide = (
        gaps(moved(person[0], name, share)).mean()
        for name, share in (("eyeBlink", 0.0), ("eyeSquint", 1.0), ("eyeWide", 1.0))
    )
    assert float(squint) < float(rest) - 1
    assert float(wide) > float(rest) + 1


def test_the_rigs_own_person_is_left_as_made():
    rig = clay()
    baked = rig.baked(rig.rest())
    assert torch.equal(baked.template, rig.template)
    assert torch.equal(baked.shape_basis, rig.shape_basis)


def test_posing_a_person_is_posing_their_baked_rig():
    rig, who = clay(), tracked()
    g = torch.Generator().manual_seed(5)
    moment = replace(rig.neutral(3), coefficients=torch.rand(3, len(ARKIT), generator=g))
    baked = rig.baked(who)
    torch.testing.assert_close(
        baked.pose_head(baked.rest(), moment), rig.pose_head(who, moment), atol=1e-6, rtol=0
    )


def test_gradients_reach_who_somebody_is_through_their_lids():
    rig, who = clay(), tracked()
    offsets = who.offsets.clone().requires_grad_()
    values = rig.neutral().coefficients.clone()
    values[ARKIT.index("eyeBlinkLeft")] = 1.0
    posed = rig.pose_head(
        replace(who, offsets=offsets), replace(rig.neutral(), coefficients=values)
    )
    (slope,) = torch.autograd.grad(posed[list(UPPER_LID)].sum(), offsets)
    assert bool(slope.isfinite().all())
    assert float(slope[list(LOWER_LID)].abs().sum()) > 1  # upper lids come down to lower ones
