"""Regions of drawn people, whose parts are known."""

import cv2
import numpy as np
import pytest

from likeness.captures.synthetic import film
from likeness.core.regions import REGION
from likeness.core.rig import embed
from likeness.rigs.clay import clay
from likeness.trackers.regions import OVAL, draw_regions
from likeness.trackers.tones import alike, colours, share_of, skin_shares

SIZE = 192
PALE, TAN, DARK = (226, 186, 166), (186, 136, 106), (92, 62, 48)
BLACK, BROWN, WHITE, BLOND = (22, 20, 20), (84, 56, 40), (222, 222, 218), (216, 190, 120)
NAVY, RED, GREY = (30, 36, 66), (150, 34, 44), (150, 152, 156)


def face_points() -> np.ndarray:
    """A face 86 pixels high, straight from the front."""
    rig = clay()
    points = embed(rig.pose(rig.rest(), rig.neutral()), rig.landmarks("mediapipe478")).numpy()
    return 480 * points * (1, -1, 0) + (SIZE / 2, 0.45 * SIZE, 0)


def inside(part: np.ndarray) -> np.ndarray:
    return cv2.erode(part.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


class Cartoon:
    """Flat colours and a little noise: hair, a high forehead, ears, a neck, clothes."""

    def __init__(self, skin, hair, clothes, long: bool = False, bald: bool = False) -> None:
        self.points = face_points()
        ring = self.points[list(OVAL), :2]
        self.truth = np.zeros((SIZE, SIZE), np.uint8)
        (left, top), (right, chin) = ring.min(0), ring.max(0)
        middle, height = SIZE / 2, chin - top
        mouth = self.points[[61, 291], 1].mean()
        eyes = self.points[[33, 263], 1].mean()
        self.at = {"top": top, "chin": chin, "eyes": eyes, "mouth": mouth, "middle": middle}
        self.height = height
        on = self._ellipse
        on("clothes", (middle, chin + 1.0 * height), (1.1 * height, 0.75 * height))
        on("hair", (middle, top + 0.15 * height), (0.52 * height, 0.5 * height))
        if long:
            for x in (left - 4, right + 4):
                self._box("hair", (x - 8, eyes), (x + 8, chin + 0.15 * height))
        for x in (left - 2, right + 2):
            on("ears", (x, (eyes + mouth) / 2), (0.09 * height, 0.17 * height))
        self._box("neck", (middle - 0.25 * height, mouth), (middle + 0.25 * height, chin + 12))
        on("skin", (middle, top + 0.2 * height), (0.36 * height, 0.38 * height))
        cv2.fillPoly(self.truth, [np.round(ring).astype(np.int32)], (REGION["skin"],))
        self.alpha = np.where(self.truth > 0, 255, 0).astype(np.uint8)
        light = {"skin": 1.0, "ears": 0.9, "neck": 0.8, "hair": 1.0, "clothes": 1.0}
        tones = {"hair": skin if bald else hair, "clothes": clothes}
        self.picture = np.full((SIZE, SIZE, 3), (90, 130, 120), np.float64)
        for name, much in light.items():
            self.picture[self.truth == REGION[name]] = much * np.array(tones.get(name, skin))
        noise = np.random.default_rng(0).normal(0, 4, (SIZE, SIZE, 1))
        self.picture = np.clip(self.picture + noise, 0, 255).astype(np.uint8)

    def _ellipse(self, name: str, centre, radii) -> None:
        y, x = np.mgrid[:SIZE, :SIZE]
        inside = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1
        self.truth[inside] = REGION[name]

    def _box(self, name: str, first, last) -> None:
        (x0, y0), (x1, y1) = np.round(first).astype(int), np.round(last).astype(int)
        self.truth[y0:y1, x0:x1] = REGION[name]

    def found(self) -> np.ndarray:
        return draw_regions(self.picture, self.alpha, self.points)

    def of(self, name: str, part: np.ndarray | None = None) -> float:
        """How much of a part is found, away from its border."""
        inner = inside(self.truth == REGION[name])
        inner = inner if part is None else inner & part
        return float((self.found()[inner] == REGION[name]).mean())

    def rows(self, first: float, last: float) -> np.ndarray:
        y = np.arange(SIZE)[:, None]
        return np.broadcast_to((y >= first) & (y < last), (SIZE, SIZE))


PEOPLE = {
    "pale and black": (PALE, BLACK, NAVY),
    "tan and brown": (TAN, BROWN, GREY),
    "dark and black": (DARK, BLACK, RED),
    "pale and blond": (PALE, BLOND, NAVY),
    "pale and white": (PALE, WHITE, RED),
    "dark and white": (DARK, WHITE, NAVY),
}


@pytest.mark.parametrize("who", PEOPLE)
def test_a_forehead_above_the_landmarks_is_skin_up_to_the_hair(who):
    person = Cartoon(*PEOPLE[who])
    assert person.of("skin", person.rows(0, person.at["top"])) > 0.95
    assert person.of("hair") > 0.95


@pytest.mark.parametrize("who", PEOPLE)
def test_ears_are_ears_down_to_their_lobes(who):
    person = Cartoon(*PEOPLE[who])
    lobes = person.rows((person.at["eyes"] + person.at["mouth"]) / 2, SIZE)
    assert person.of("ears") > 0.8
    assert person.of("ears", lobes) > 0.8
    assert person.of("neck") > 0.9
    assert person.of("clothes") > 0.98


@pytest.mark.parametrize("who", ["pale and black", "dark and white", "pale and blond"])
def test_long_hair_beside_the_neck_is_hair(who):
    person = Cartoon(*PEOPLE[who], long=True)
    assert person.of("hair", person.rows(person.at["mouth"], person.at["chin"])) > 0.9


def test_dots_of_skins_colour_on_a_tie_stay_clothes():
    person = Cartoon(TAN, BROWN, NAVY)
    first = int(person.at["chin"] + 0.25 * person.height)
    for y in range(first, SIZE - 4, 6):
        for x in range(SIZE // 2 - 9, SIZE // 2 + 10, 6):
            person.picture[y : y + 3, x : x + 3] = TAN
    assert person.of("clothes") > 0.99


def test_every_part_is_whole():
    rng = np.random.default_rng(1)
    person = Cartoon(PALE, BROWN, GREY)
    spots = rng.random((SIZE, SIZE)) < 0.01
    person.picture[spots] = rng.choice([PALE, BROWN, GREY], int(spots.sum()))
    found = person.found()
    for name in ("skin", "hair", "neck", "clothes"):
        part = (found == REGION[name]).astype(np.uint8)
        sizes = cv2.connectedComponentsWithStats(part)[2][1:, cv2.CC_STAT_AREA]
        assert sizes[sizes < 20].sum() < 3, name


def test_a_bald_head_is_skin():
    person = Cartoon(TAN, BROWN, NAVY, bald=True)
    crown = inside(person.truth == REGION["hair"])
    assert (person.found()[crown] == REGION["skin"]).mean() > 0.8


def test_clothes_of_skins_colour_begin_below_the_neck():
    person = Cartoon(TAN, BLACK, TAN)
    chest = person.rows(person.at["chin"] + 0.5 * person.height, SIZE)
    assert person.of("clothes", chest) == 1
    assert person.of("neck") > 0.8


def test_glasses_and_a_beard_do_not_make_skin_hair():
    person = Cartoon(PALE, BLACK, RED)
    wearing = inside(person.truth == REGION["skin"])
    person.picture[wearing & person.rows(person.at["mouth"] - 12, SIZE)] = BLACK
    for x, y, _ in person.points[[468, 473]]:
        cv2.rectangle(
            person.picture, (int(x) - 10, int(y) - 6), (int(x) + 10, int(y) + 6), BLACK, 2
        )
    found = person.found()
    oval = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(oval, [np.round(person.points[list(OVAL), :2]).astype(np.int32)], (1,))
    assert (found[oval > 0] == REGION["hair"]).mean() < 0.01
    assert person.of("skin", person.rows(0, person.at["top"])) > 0.95
    assert person.of("hair") > 0.95


def test_a_head_on_its_side_has_the_same_regions():
    person = Cartoon(TAN, BROWN, GREY)
    points = person.points.copy()
    points[:, 0], points[:, 1] = person.points[:, 1], SIZE - person.points[:, 0]
    turned = draw_regions(
        np.ascontiguousarray(np.rot90(person.picture)),
        np.ascontiguousarray(np.rot90(person.alpha)),
        points,
    )
    assert (np.rot90(person.found()) == turned).mean() > 0.97


def test_nothing_is_drawn_outside_of_the_matte_but_features():
    person = Cartoon(TAN, BROWN, GREY)
    person.alpha[:, : SIZE // 2 - 20] = 0
    outside = person.found()[:, : SIZE // 2 - 20]
    parts = [REGION[name] for name in ("skin", "hair", "ears", "neck", "clothes")]
    assert not np.isin(outside, parts).any()


@pytest.mark.parametrize("shift", [(-80, 0), (0, -120), (150, 150), (1000, 1000)])
def test_a_face_may_leave_the_picture(shift):
    person = Cartoon(TAN, BROWN, GREY)
    points = person.points + (*shift, 0)
    assert draw_regions(person.picture, person.alpha, points).shape == (SIZE, SIZE)


def test_a_synthetic_person_is_found_part_by_part():
    capture, truth = film(3, frames=2, size=192)
    assert truth.landmarks is not None
    points = np.pad(truth.landmarks[1].numpy(), ((0, 0), (0, 1)))
    known, alpha = capture.pictures.regions(1), capture.pictures.alpha(1)
    assert known is not None
    assert alpha is not None
    found = draw_regions(capture.pictures.rgb(1), alpha, points)
    for name, least in (("skin", 0.85), ("hair", 0.9), ("neck", 0.7), ("clothes", 0.95)):
        a, b = known == REGION[name], found == REGION[name]
        assert (a & b).sum() > least * (a | b).sum(), name


def test_colours_are_alike_when_they_are_skins():
    rng = np.random.default_rng(2)
    face = (np.array(TAN) + rng.normal(0, 5, (500, 3))).astype(np.uint8)
    lit, shaded = skin_shares(face)
    assert lit is not None
    assert shaded is not None
    assert lit.sum() == pytest.approx(1, abs=1e-4)
    again, other = (
        share_of(colours((np.array(tone) + rng.normal(0, 5, (20, 30, 3))).astype(np.uint8)).ravel())
        for tone in (TAN, BLACK)
    )
    assert again is not None
    assert other is not None
    assert alike(again, lit) > 0.9
    assert alike(other, lit) < 0.05
    assert skin_shares(face[:5]) == (None, None)
