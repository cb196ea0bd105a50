"""Where mattes end tells what landmarks do not: ears, neck, a lean of the head."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from likeness.captures.synthetic import film
from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.regions import REGION
from likeness.core.rig import embed
from likeness.ops.mesh_edges import edges
from likeness.rigs.clay import clay
from likeness.trackers.landmarks import Fit
from likeness.trackers.outlines import Outline, edge_along, outline_of, outlined
from likeness.trackers.point_model import point_model
from likeness.trackers.solve import Evidence, Solution

TRAIN = list(range(12))


class Maps:
    """A film's mattes and regions, all edges moved outwards, or all labelled as one thing."""

    def __init__(self, pictures, grown: int = 0, label: str | None = None) -> None:
        self.pictures, self.grown, self.label = pictures, grown, label

    def alpha(self, index: int) -> np.ndarray:
        alpha = self.pictures.alpha(index)
        return cv2.dilate(alpha, np.ones((2 * self.grown + 1,) * 2, np.uint8))

    def regions(self, index: int) -> np.ndarray:
        regions = self.pictures.regions(index)
        return regions if self.label is None else np.full_like(regions, REGION[self.label])


@pytest.fixture(scope="module")
def recording():
    return film(3, 12, 192)


def fitted(truth, maps, **directions: float) -> Fit:
    """A fit that is right but for some directions of identity, with exact landmarks."""
    rig = clay()
    own = truth.identity.directions.clone()
    for name, more in directions.items():
        own[rig.identity_names.index(name)] += more
    identity = replace(truth.identity, directions=own)
    track = replace(truth, identity=identity, maps=maps)
    embedding = rig.landmarks("mediapipe478")
    poses = truth.cameras.camera_from_world @ truth.expressions.world_from_head
    points = torch.stack(
        [
            project(
                take(truth.cameras, i),
                embed(rig.pose(truth.identity, take(truth.expressions, i)), embedding),
            )
            for i in range(len(truth))
        ]
    )
    wide = float(points[..., 0].amax() - points[..., 0].amin()) / 150
    weights = torch.full(points.shape[:2], wide**-2)
    lens = truth.cameras.intrinsics[0]
    evidence = Evidence(points, weights, torch.zeros(len(truth)), lens[:2, 2], wide=wide)
    solution = Solution(
        poses[:, :3, :3], poses[:, :3, 3], truth.expressions.coefficients, own,
        float(lens[0, 0]), torch.zeros_like(points),
    )  # fmt: skip
    return Fit(track, take(truth.cameras, 0), solution, evidence, point_model(rig))


def ears_away(truth, found) -> float:
    """By how much ears miss, in millimetres."""
    rig = clay()
    ears = rig.regions == REGION["ears"]
    rest = [rig.pose(t.identity, rig.neutral()).vertices[ears] for t in (truth, found)]
    return 1000 * float((rest[0] - rest[1]).norm(dim=-1).mean())


def test_ears_of_another_size_are_found(recording):
    capture, truth = recording
    fit = fitted(truth, Maps(capture.pictures), ear_out=1.5, ear_size=-1.5)
    found = outlined(clay(), fit, TRAIN)
    assert ears_away(truth, fit.track) > 2
    assert ears_away(truth, found) < 0.6 * ears_away(truth, fit.track)


def test_what_is_right_stays_as_it_is(recording):
    capture, truth = recording
    fit = fitted(truth, Maps(capture.pictures))
    assert ears_away(truth, outlined(clay(), fit, TRAIN)) < 0.7


def test_hair_that_reaches_further_pulls_at_nothing(recording):
    capture, truth = recording
    fit = fitted(truth, Maps(capture.pictures, grown=5, label="hair"))
    found = outlined(clay(), fit, TRAIN)
    assert torch.allclose(found.identity.directions, truth.identity.directions, atol=0.05)
    skin = outlined(clay(), fitted(truth, Maps(capture.pictures, grown=5, label="skin")), TRAIN)
    assert ears_away(truth, skin) > 3 * ears_away(truth, found)


def test_a_head_ends_before_its_hair_does(recording):
    capture, truth = recording
    fit = fitted(truth, Maps(capture.pictures, label="hair"), ear_out=2.0)
    assert ears_away(truth, outlined(clay(), fit, TRAIN)) < 0.8 * ears_away(truth, fit.track)


def test_edges_of_clothes_say_nothing(recording):
    capture, truth = recording
    fit = fitted(truth, Maps(capture.pictures, label="clothes"), ear_out=2.0)
    found = outlined(clay(), fit, TRAIN)
    assert torch.allclose(found.identity.directions, fit.track.identity.directions, atol=1e-4)


def test_an_outline_goes_around_the_head_and_its_normals_point_away(recording):
    _, truth = recording
    rig, camera = clay(), take(truth.cameras, 0)
    vertices = rig.pose(truth.identity, take(truth.expressions, 0)).vertices
    outline = outline_of(camera, vertices, rig.triangles, edges(rig.triangles))
    middle = outline.pixels.mean(0)
    above, below = outline.pixels[:, 1] < middle[1], outline.pixels[:, 1] > middle[1]
    assert above.sum() > 15
    assert below.sum() > 15
    away = ((outline.pixels - middle) * outline.outward).sum(-1)
    assert (away > 0).mean() > 0.9


def test_edges_are_found_along_normals_and_nowhere_else():
    y, x = np.mgrid[:100, :100] + 0.5
    distance = np.hypot(x - 50, y - 50)
    alpha = (255 * np.clip(20.5 - distance, 0, 1)).astype(np.uint8)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    outward = np.stack([np.cos(angle), np.sin(angle)], -1)
    for radius, expected in ((17, 3), (24, -4)):
        ring = Outline(torch.zeros(12, 2).long(), 50 + radius * outward, outward, np.ones(12))
        assert np.abs(edge_along(alpha, ring, 8) - expected).max() < 0.3
    far = Outline(torch.zeros(12, 2).long(), 50 + 5 * outward, outward, np.ones(12))
    assert np.isnan(edge_along(alpha, far, 8)).all()
