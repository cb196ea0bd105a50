"""What a splat head looks like where no frame shows it."""

import copy
from dataclasses import replace

import pytest
import torch

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.geometry import transform
from likeness.core.orbit import orbited
from likeness.core.regions import REGION
from likeness.methods.splats.code import affordable_numbers
from likeness.methods.splats.colours import coloured, of_skin
from likeness.methods.splats.fringe import in_fringe
from likeness.methods.splats.growth import recycle
from likeness.methods.splats.hair import hair_heights
from likeness.methods.splats.held import how_held, keep
from likeness.methods.splats.lining import is_lining, lining
from likeness.methods.splats.looks import look_at_frames, sampled
from likeness.methods.splats.method import RiggedSplats
from likeness.methods.splats.placed import at_rest, joined, seen_at, visibility
from likeness.methods.splats.placement import bust, in_hair, on_shoulders, on_surface
from likeness.methods.splats.surface import bake
from likeness.rigs import RIGS
from likeness.training.frames import trainable_frames


@pytest.fixture(scope="module")
def pair():
    return film(5, frames=6, size=96)


@pytest.fixture(scope="module")
def surface(pair):
    return bake(RIGS.load("clay")(), pair[1].identity)


@pytest.fixture(scope="module")
def looks(pair, surface):
    capture, truth = pair
    return look_at_frames(capture, truth, surface, [0, 3])


@pytest.fixture(scope="module")
def start(pair):
    return RiggedSplats(splats=2500, steps=10).build(*pair)


def dice():
    return torch.Generator().manual_seed(0)


def test_what_faces_no_camera_is_held_and_what_does_or_speaks_is_not():
    region = torch.tensor([REGION[name] for name in ("skin", "skin", "skin", "lips", "clothes")])
    held = how_held(torch.tensor([0.0, 0.9, 0.35, 0.0, 0.0]), region)
    assert held[:2].tolist() == [1, 0]
    assert 0.3 < float(held[2]) < 0.7
    assert held[3:].tolist() == [0, 0]


def test_held_splats_come_back_and_free_ones_stay_away(pair):
    avatar = RiggedSplats(splats=600, steps=10).build(*pair)
    skin = torch.nonzero(avatar.region == REGION["skin"])[:2, 0]
    avatar.held[skin] = torch.tensor([1.0, 0.0])
    with torch.no_grad():
        avatar.colour += 0.5
        avatar.log_scale -= 3
        avatar.opacity.fill_(-8)
    wrong = avatar.colour[skin[1]].clone()
    keep(avatar)
    torch.testing.assert_close(
        avatar.colour[skin[0]], avatar.start_colour[skin[0]], atol=0.031, rtol=0
    )
    assert float(avatar.opacity[skin[0]]) > 0
    assert bool((avatar.log_scale[skin[0]] > avatar.start_size[skin[0]] - 0.25).all())
    assert torch.equal(avatar.colour[skin[1]], wrong)
    assert float(avatar.opacity[skin[1]]) == -8
    hair = (avatar.region == REGION["hair"]) & (avatar.held > 0)
    assert bool((avatar.opacity[hair] == -8).all())  # a strand beside the head may vanish


def test_a_lining_lies_under_the_skin_and_no_look_sees_it(surface, looks):
    below = lining(surface, looks, 30_000, dice())
    assert 200 < len(below.corners) <= 1800
    assert bool(is_lining(below.offset, below.region).all())
    on_skin = replace(below, offset=torch.zeros_like(below.offset))
    deep = (at_rest(below, surface) - at_rest(on_skin, surface)).norm(dim=-1)
    torch.testing.assert_close(deep, torch.full_like(deep, 0.004))
    above = on_surface(surface, 20_000, dice())
    filled = visibility(joined([above, below]), looks, surface, torch.eye(4))
    skin, under = filled[: len(above.corners)].mean(), filled[len(above.corners) :].mean()
    assert float(under) < 0.2 * float(skin)


def test_a_lining_is_not_moved_to_where_pictures_want_more(start):
    avatar = start
    method = RiggedSplats(splats=2500, steps=10)
    mine = is_lining(avatar.anchor, avatar.region)
    assert int(mine.sum()) > 50
    before = avatar.corners[mine].clone()
    shine = torch.ones(avatar.count)
    shine[mine] = 0
    recycle(avatar, method.optimizer(avatar), torch.rand(avatar.count), 0.5, shine)
    assert torch.equal(avatar.corners[mine], before)


def test_a_lamp_is_no_skin():
    skin = torch.tensor([0.6, 0.45, 0.36]) * torch.linspace(0.4, 1.1, 50)[:, None]
    skin = skin + 0.01 * torch.randn(50, 3, generator=dice())
    lamp = torch.tensor([[0.8, 0.6, 0.2], [0.5, 0.4, 0.7]])
    found = of_skin(torch.cat([skin, lamp]), torch.arange(52) < 40)
    assert float(found[:50].float().mean()) > 0.85
    assert not bool(found[50:].any())


def test_no_hair_behind_a_bare_ear_and_none_where_there_is_no_hair(surface, looks):
    heights = hair_heights(surface, looks)
    where_hair = in_hair(surface, looks, heights, 2000, dice())
    bald = [replace(look, hair=(look.hair > 2).float()) for look in looks]
    bald[0].hair[0, 0] = 1  # known, and far from the head
    only_there = in_hair(surface, bald, hair_heights(surface, bald), 2000, dice())
    ears = surface.regions == REGION["ears"]
    assert not bool(ears[only_there.corners[:1000]].all(-1).any())
    assert len(where_hair.corners) == 2000
    empty = [replace(look, alpha=torch.zeros_like(look.alpha)) for look in looks]
    assert len(in_fringe(surface, empty, heights, 100, dice()).corners) == 0


def test_hair_beside_a_neck_hangs_from_the_head_and_is_no_clothes(surface, looks):
    """The same pixels, called hair or called nothing."""
    bald = [
        replace(look, alpha=look.alpha.clone(), hair=torch.zeros_like(look.hair)) for look in looks
    ]
    hairy = []
    for look in bald:
        at = project(look.camera, transform(look.world_from_head, look.vertices))
        chin, left = int(at[surface.regions == REGION["lips"], 1].max()) + 12, int(at[:, 0].min())
        block = torch.zeros_like(look.hair)
        block[chin : chin + 24, left - 2 : left + 10] = 1
        look.alpha.copy_(torch.maximum(look.alpha, block))
        hairy.append(replace(look, hair=block))

    def share(placed):
        pixels, _ = seen_at(placed, hairy[0], surface, torch.eye(4))
        return float((sampled(hairy[0].hair[..., None], pixels)[:, 0] > 0.5).float().mean())

    hanging = in_fringe(surface, hairy, hair_heights(surface, hairy), 200, dice())
    assert share(hanging) > 0.4
    assert bool((hanging.region == REGION["hair"]).all())
    clothes = (on_shoulders(surface, which, torch.eye(4), 2000, dice()) for which in (bald, hairy))
    without, with_hair = (share(placed) for placed in clothes)
    assert with_hair < 0.2 * without


def test_loose_hair_above_the_mouth_stays_near_the_head(surface, looks):
    """Mattes that reach far beyond the head say that somebody is there, not where."""
    wide = [replace(look, alpha=torch.ones_like(look.alpha)) for look in looks]
    wide = [replace(look, hair=torch.ones_like(look.hair)) for look in wide]
    heights = torch.full((len(surface.template),), 0.01)
    loose = in_fringe(surface, wide, heights, 1000, dice())
    at = at_rest(loose, surface)
    grows = torch.isin(surface.regions, torch.tensor([REGION["scalp"], REGION["ears"]]))
    lips = surface.template[surface.regions == REGION["lips"], 1].amin()
    gap = torch.cdist(at, surface.template[grows]).amin(-1)
    assert len(at) > 20
    assert float(gap[at[:, 1] > lips].max()) < 0.026
    assert float(gap.max()) > 0.05  # below it hair may hang


def test_a_lining_is_held_whatever_frames_see(start):
    mine = is_lining(start.anchor, start.region)
    assert bool((start.held[mine] == 1).all())


@pytest.mark.parametrize(("frames", "numbers"), [(2, 3), (99, 3), (100, 4), (199, 7), (900, 8)])
def test_a_short_clip_teaches_few_numbers(frames, numbers):
    assert affordable_numbers(frames, 8) == numbers
    assert affordable_numbers(frames, 2) == 2


def test_a_start_has_as_many_numbers_as_its_frames_teach(pair, start):
    assert len(trainable_frames(*pair)) < 25
    assert start.code.directions.shape[1] - start.bends == 3


def test_a_chest_stands_out_and_shoulders_fall_back():
    right = torch.tensor([0.0, 0.0, 0.22, -0.22])
    down = torch.tensor([0.0, 0.2, 0.1, 0.1])
    throat, chest, left, other = bust(torch.stack([right, down], -1)).tolist()
    assert chest > throat > 0.03
    assert left == pytest.approx(other)
    assert left < 0


def test_from_a_side_the_lining_closes_gaps_in_the_face(pair, start):
    truth = pair[1]
    moment = take(truth.expressions, 0)
    view = orbited(take(truth.cameras, 0), moment, 0.7)
    lined = start.render(view, moment).alpha
    bare = copy.deepcopy(start)
    with torch.no_grad():
        bare.opacity[is_lining(bare.anchor, bare.region)] = -20
    unlined = bare.render(view, moment).alpha
    mine = is_lining(start.anchor, start.region)
    at = project(view, start.splats(moment).means[mine]).long()
    at = at[((at >= 0) & (at < 96)).all(-1)]
    gaps, closed = (1 - x[at[:, 1], at[:, 0]].mean() for x in (unlined, lined))
    assert float(closed) < 0.6 * float(gaps)


def test_only_clothes_lie_on_the_bust(surface, looks):
    def depths(clothes):
        look = replace(looks[0], clothes=torch.full_like(looks[0].clothes, clothes))
        placed = on_shoulders(surface, [look], torch.eye(4), 300, dice())
        camera_from_torso = look.camera.camera_from_world @ look.world_from_torso
        return transform(camera_from_torso, placed.offset)[:, 2]

    assert float(depths(0.0).std()) < 1e-4
    assert float(depths(1.0).std()) > 5e-3


def test_a_head_without_skin_has_no_lining(surface, looks):
    bare = copy.deepcopy(surface)
    bare.regions = torch.full_like(surface.regions, REGION["scalp"])
    assert len(lining(bare, looks, 1000, dice()).corners) == 0


def test_a_start_takes_hair_from_hair_and_skin_from_skin(surface, looks):
    """Where labels say hair, pictures are red here; elsewhere green."""
    red, green = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    painted = [
        replace(look, rgb=torch.where(look.hair[..., None] > 0.5, red, green)) for look in looks
    ]
    hair = in_hair(surface, looks, hair_heights(surface, looks), 1000, dice())
    placed = joined([on_surface(surface, 3000, dice()), hair])
    found = coloured(placed, painted, surface, torch.eye(4))
    hair = found.region == REGION["hair"]
    skin = found.region == REGION["skin"]
    assert float(found.colour[hair, 0].mean()) > 0.95
    assert float(found.colour[skin, 1].mean()) > 0.95


def test_depth_is_that_of_the_head(pair, start):
    truth = pair[1]
    camera, moment = take(truth.cameras, 0), take(truth.expressions, 0)
    alpha, depth = start.render(camera, moment).alpha, start.depth(camera, moment)
    head = alpha > 0.99
    away = float((camera.camera_from_world @ moment.world_from_head)[2, 3])
    assert float((depth[head] - away).abs().median()) < 0.1
    assert float(depth[alpha == 0].abs().max()) == 0
