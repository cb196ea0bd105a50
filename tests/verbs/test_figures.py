"""What evaluation counts: splits kept apart, regions, the spread, lids and lips."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analytic_head import analytic_head
from likeness.captures.native import write_native
from likeness.captures.synthetic import film
from likeness.core.capture import Splits, interleaved
from likeness.core.errors import BadInput
from likeness.core.files import read_json
from likeness.core.regions import REGION
from likeness.core.track_files import write_track
from likeness.nn.lpips import Lpips, load_lpips
from likeness.training.frames import trainable_frames
from likeness.verbs.evaluate import evaluate
from likeness.verbs.figures import head_box, regional, spread_of
from likeness.verbs.fit import fit, kept_apart
from likeness.verbs.loading import held_out, split_of
from likeness.verbs.openings import Openings, lid_gaps, summed_up

SMALL = ("rays=64 levels=4 finest=32 log2_size=9 bases=2 cells=16 patches_from=1",)


def test_interleaved_blocks_are_four_of_forty_and_leave_the_end_alone():
    given = Splits(tuple(range(80)), test=tuple(range(80, 100)))
    found = interleaved(given)
    assert found.validation == (18, 19, 20, 21, 58, 59, 60, 61)
    assert found.test == given.test
    assert sorted(found.train + found.validation) == list(range(80))
    assert len(interleaved(Splits(tuple(range(7)))).validation) == 1


def test_blocks_held_out_never_train():
    capture, track = analytic_head(60, 16)
    apart = replace(capture, splits=kept_apart(capture, "interleaved"))
    blocks = held_out(capture, track, "interleaved")
    assert len(blocks) >= 4
    assert not set(blocks) & set(trainable_frames(apart, track))
    assert not set(blocks) & set(held_out(capture, track, "last"))
    assert split_of(capture, "last") == split_of(capture, "test")
    with pytest.raises(BadInput, match="interleaved"):
        split_of(capture, "middle")


def test_an_avatar_that_saw_the_blocks_is_not_judged_by_them(tmp_path):
    capture, track = analytic_head(24, 24)
    write_native(capture, tmp_path / "c")
    write_track(tmp_path / "t", track)
    pair = (tmp_path / "c", tmp_path / "t")
    for split in ("last", "interleaved"):
        given = {"method": "nerfblendshape", "steps": 3, "settings": SMALL, "device": "cpu"}
        fit(*pair, tmp_path / split, split=split, **given)
    where = {"split": "interleaved", "device": "cpu", "openings": False}
    with pytest.raises(BadInput, match="was trained on the interleaved blocks"):
        evaluate(tmp_path / "last", *pair, tmp_path / "e", **where)
    said = evaluate(tmp_path / "interleaved", *pair, tmp_path / "e", **where)
    found = read_json(tmp_path / "e" / "metrics.json")
    assert "split: interleaved" in said
    assert found["protocol"] in said
    assert [r["frame"] for r in found["per_frame"]] == held_out(capture, track, "interleaved")
    assert "LPIPS was not measured" in found["lpips_note"]
    assert found["spread"]["psnr"]["min"] <= found["spread"]["psnr"]["p5"] <= found["psnr"]


def test_an_error_in_the_mouth_is_seen_in_the_mouth_alone():
    labels = np.full((40, 40), REGION["skin"], np.uint8)
    labels[25:32, 12:28], labels[8:12, 8:16] = REGION["lips"], REGION["eyes"]
    truth = torch.full((40, 40, 3), 0.5)
    drawn = truth.clone()
    drawn[25:32, 12:28] += 0.1
    found = regional(drawn, truth, labels)
    assert found["regions"]["mouth"] == pytest.approx(20, abs=1e-3)
    assert found["regions"]["skin"] == found["regions"]["eyes"] == 100
    assert "hair" not in found["regions"]
    assert found["mouth"]["psnr"] < found["eyes"]["psnr"] == 100


def test_the_head_box_reaches_above_the_landmarks_and_stays_in_the_picture():
    points = torch.tensor([[20.0, 40.0], [60.0, 40.0], [40.0, 90.0], [float("nan"), 1.0]])
    rows, columns = head_box(points, None, 64, 100)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (20, 100, 10, 64)
    assert head_box(None, None, 64, 100) is None


def test_the_spread_is_that_of_the_numbers():
    found = spread_of([float(i) for i in range(101)])
    assert (found["min"], found["p5"], found["median"], found["max"]) == (0, 5, 50, 100)


def test_lids_that_stay_open_are_called_wrong():
    capture, track = film(1, frames=60, size=256)
    names = [i for i in range(60)]
    blink = track.expressions.coefficients[:, 0]
    closed, wide = int(blink.argmax()), int(blink[names].argmin())
    shut, seen = capture[closed].rgb, capture[wide].rgb
    with Openings() as looking:
        same = looking.compare(seen, seen)
        wrong = looking.compare(seen, shut)
        blank = looking.compare(torch.full_like(seen, 0.5), seen)
        nobody = looking.compare(seen, torch.full_like(seen, 0.5))
    assert same is not None
    assert wrong is not None
    assert blank is not None
    assert nobody is None
    assert summed_up([same])["blink"]["right"] == summed_up([same])["mouth"]["right"] == 1
    assert summed_up([same, same, wrong])["blink"]["right"] == pytest.approx(2 / 3)
    assert summed_up([same, blank])["not_found_in_render"] == 1
    assert summed_up([same, blank])["mouth"]["right"] == 0.5
    assert summed_up([])["frames"] == 0


def test_a_lid_gap_is_the_height_of_an_eye_over_its_width():
    points = np.zeros((478, 3), np.float32)
    for pairs, corners in (
        (((160, 144), (159, 145), (158, 153)), (33, 133)),
        (((385, 380), (386, 374), (387, 373)), (362, 263)),
    ):
        points[corners[1], 0] = 10
        for _upper, lower in pairs:
            points[lower, 1] = 3
    assert lid_gaps(points) == pytest.approx([0.3, 0.3])


def test_lpips_reads_the_published_files_and_is_nothing_for_equal_pictures(tmp_path):
    generator = torch.Generator().manual_seed(0)
    model = Lpips()
    numbers = (0, 3, 6, 8, 10)
    body, head = {}, {}
    for k, (number, layer) in enumerate(zip(numbers, model.layers)):
        for part in ("weight", "bias"):
            shape = getattr(layer, part).shape
            body[f"features.{number}.{part}"] = 0.1 * torch.randn(shape, generator=generator)
        head[f"lin{k}.model.1.weight"] = torch.rand(model.weights[k].shape, generator=generator)
    with pytest.raises(BadInput, match="alex.pth"):
        load_lpips(tmp_path)
    torch.save(body, tmp_path / "alexnet-owt-7be5be79.pth")
    torch.save(head, tmp_path / "alex.pth")
    read = load_lpips(tmp_path)
    picture = torch.rand(64, 64, 3, generator=generator)
    near = (picture + 0.02 * torch.randn(64, 64, 3, generator=generator)).clamp(0, 1)
    far = torch.rand(64, 64, 3, generator=generator)
    assert float(read(picture, picture)) == 0
    assert 0 < float(read(picture, near)) < float(read(picture, far))
    torch.save({"x": torch.zeros(1)}, tmp_path / "alex.pth")
    with pytest.raises(BadInput, match="does not hold"):
        load_lpips(tmp_path)
