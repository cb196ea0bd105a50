"""A stopped training of each method goes on to the same bits; pictures need not be square."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch

from analytic_head import analytic_head
from likeness.core.batching import take
from likeness.methods.nerface.method import Nerface
from likeness.methods.nerfblendshape.method import NerfBlendShape
from likeness.training.checkpoints import TRAINING, load_avatar
from likeness.training.loop import Plan, train

TINY = {
    "nerface": Nerface(
        steps=14, rays=32, coarse=6, fine=4, width=16, colour_width=8, octaves=3, codes=4,
    ),
    "nerfblendshape": NerfBlendShape(
        steps=14, frames=2, rays=32, bases=2, levels=3, finest=32, log2_size=8, width=16,
        geometry=8, cells=12, measure_every=5, patches_from=0.5, patch_share=0.5,
    ),
}  # fmt: skip
PLAN = Plan(checkpoint_every=4, ema=0.9, seed=3)


@pytest.fixture(scope="module")
def recording():
    return analytic_head(12, 40)


@pytest.mark.parametrize("name", list(TINY))
def test_a_stopped_training_goes_on_to_the_bits_of_an_unbroken_one(
    name, recording, tmp_path, monkeypatch
):
    method = TINY[name]
    whole = train(method, name, *recording, tmp_path / "whole", PLAN)
    original, stopped = type(method).after_step, []

    def once(self, avatar, optimizer, step):
        original(self, avatar, optimizer, step)
        if step == 11 and not stopped:
            stopped.append(step)
            raise KeyboardInterrupt

    monkeypatch.setattr(type(method), "after_step", once)
    with pytest.raises(KeyboardInterrupt):
        train(method, name, *recording, tmp_path / "broken", PLAN)
    assert (tmp_path / "broken" / TRAINING).exists()
    again = train(method, name, *recording, tmp_path / "broken", PLAN)
    states = whole.state_dict(), again.state_dict()
    assert all(torch.equal(v, states[1][k]) for k, v in states[0].items())
    files = [(tmp_path / f / "weights.safetensors").read_bytes() for f in ("whole", "broken")]
    assert files[0] == files[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TINY))
def test_a_training_killed_without_warning_resumes_to_the_same_bits(name, tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from dataclasses import replace
        from pathlib import Path
        for folder in sys.argv[1].split(os.pathsep):
            sys.path.insert(0, folder)
        from test_field_resume import PLAN, TINY
        from analytic_head import analytic_head
        from likeness.training.loop import train
        method, folder, mode = TINY[sys.argv[2]], Path(sys.argv[3]), sys.argv[4]
        original = type(method).after_step
        def fatal(self, avatar, optimizer, step):
            original(self, avatar, optimizer, step)
            if mode == "kill" and step == 11:
                os.kill(os.getpid(), signal.SIGKILL)
        type(method).after_step = fatal
        train(method, sys.argv[2], *analytic_head(12, 40), folder, PLAN)
        """
    )
    here = os.path.dirname(__file__)
    folders = os.pathsep.join([here, os.path.dirname(here)])

    def run(folder, mode):
        command = [sys.executable, "-c", script, folders, name, str(tmp_path / folder), mode]
        return subprocess.run(command, check=False).returncode

    assert run("broken", "kill") == -signal.SIGKILL
    assert (tmp_path / "broken" / TRAINING).exists()
    assert run("broken", "go") == run("whole", "go") == 0
    files = [(tmp_path / f / "weights.safetensors").read_bytes() for f in ("whole", "broken")]
    assert files[0] == files[1]


@pytest.mark.parametrize("name", list(TINY))
def test_pictures_need_not_be_square(name, tmp_path):
    capture, track = analytic_head(8, 44, height=37)
    changes = {"box_sampling": "released"} if name == "nerface" else {"patch_share": 1.0}
    method = replace(TINY[name], steps=3, **changes)
    avatar = train(method, name, capture, track, tmp_path, Plan())
    picture = avatar.render(take(track.cameras, 7), take(track.expressions, 7))
    assert picture.rgb.shape == (37, 44, 3)
    again = load_avatar(tmp_path, {name: type(method)}.__getitem__)
    other = again.render(take(track.cameras, 7), take(track.expressions, 7))
    assert torch.equal(picture.rgb, other.rgb)
