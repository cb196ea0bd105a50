"""Networks that users bring: stand-ins with the real ones' answers, and wrong files."""

import sys
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from likeness.core.errors import LikenessError
from likeness.core.regions import REGION
from likeness.trackers.matting import Matting
from likeness.trackers.networks import FaceParser, VideoMatting, labels_of, matting_of
from likeness.trackers.regions import draw_regions

HEIGHT, WIDTH = 30, 40


class Bright(nn.Module):
    """Answers as Robust Video Matting does: what is bright is the person, and a little of what was
    so in the picture before."""

    def forward(
        self, src: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor, downsample_ratio: float
    ):
        alpha = (src.mean(1, keepdim=True) > 0.5).float()
        before = r1 if r1.shape == alpha.shape else torch.zeros_like(alpha)
        seen = torch.maximum(alpha, 0.5 * before)
        return src, seen, alpha, r2, r3, r4


class Halves(nn.Module):
    """A parser that calls the left half hair, the right half eyes."""

    def forward(self, source: Tensor):
        score = torch.zeros(1, 19, source.shape[2], source.shape[3])
        score[:, 17, :, : source.shape[3] // 2] = 1
        score[:, 4, :, source.shape[3] // 2 :] = 1
        return score, score


class Single(nn.Module):
    def forward(self, source: Tensor) -> Tensor:
        return source


def saved(module: nn.Module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return path


def test_the_matte_is_the_networks_and_remembers_the_picture_before(tmp_path):
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, :10] = 255
    with matting_of(saved(Bright(), tmp_path / "rvm.torchscript")) as matte:
        first = matte.alpha(picture, matte.mask(picture))
        second = matte.mask(picture[:, ::-1])
    assert first[:, :10].min() == 1
    assert first[:, 10:].max() == 0
    assert second[:, -10:].min() == 1
    assert second[0, 0] == 0.5


def test_a_parsers_classes_become_our_regions_inside_the_matte(tmp_path):
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[5:] = 255
    parser = FaceParser(saved(Halves(), tmp_path / "parser.pt"))
    found = parser.regions(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), alpha, None)
    assert (found[:5] == REGION["background"]).all()
    assert (found[6:, :19] == REGION["hair"]).all()
    assert (found[6:, 21:] == REGION["eyes"]).all()


def test_without_files_the_bundled_ones_work():
    assert labels_of(None) is draw_regions
    with matting_of(None) as matte:
        assert isinstance(matte, Matting)


def test_a_file_that_is_no_such_network_is_one_line(tmp_path, monkeypatch):
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    (tmp_path / "page.pt").write_text("<html>")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "weights.pth")
    single = saved(Single(), tmp_path / "single.pt")
    (tmp_path / "a.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    tries = {
        "There is no file": lambda: VideoMatting(tmp_path / "none.pt"),
        "no TorchScript file": lambda: VideoMatting(tmp_path / "page.pt"),
        "hold weights only": lambda: FaceParser(tmp_path / "weights.pth"),
        "does not run as a matting": lambda: VideoMatting(single).mask(picture),
        "19 classes": lambda: FaceParser(single).regions(picture, alpha, None),
        "needs onnxruntime": lambda: FaceParser(tmp_path / "a.onnx"),
    }
    for says, attempt in tries.items():
        with pytest.raises(LikenessError, match=says) as told:
            attempt()
        assert "\n" not in str(told.value)
