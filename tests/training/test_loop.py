"""The training loop on a method small enough to be seen through."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from likeness.core.camera import pinhole
from likeness.core.capture import Capture
from likeness.core.errors import BadInput, LikenessError
from likeness.core.expression import Expression
from likeness.core.files import read_json
from likeness.core.progress import listening
from likeness.core.rig import Identity
from likeness.core.track import Track
from likeness.training import loop
from likeness.training.adam import Adam
from likeness.training.checkpoints import TRAINING, load_avatar, save_avatar
from likeness.training.frames import Kept, parse_size, trainable_frames
from likeness.training.loop import Plan, train


class Grey:
    """Pictures of one grey each."""

    def __init__(self, count: int = 10) -> None:
        self.count, self.asked = count, 0

    def rgb(self, index: int) -> np.ndarray:
        self.asked += 1
        return np.full((4, 4, 3), 20 * index, np.uint8)

    def alpha(self, index: int) -> None:
        return None

    def regions(self, index: int) -> None:
        return None


def recording(count: int = 10) -> tuple[Capture, Track]:
    capture = Capture("grey", Grey(count), tuple(float(i) for i in range(count)), (4, 4))
    poses = torch.eye(4).expand(count, 4, 4)
    expression = Expression("toy", torch.zeros(count, 2), torch.zeros(count, 0, 3), poses)
    camera = pinhole(torch.full((count,), 4.0), 4, 4, poses)
    return capture, Track(camera, expression, Identity("toy", torch.zeros(0)), torch.ones(count))


class Guess(nn.Module):
    rig = "toy"

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(rows))


@dataclass(frozen=True)
class Guessing:
    """Learns the mean grey. `grow_at` gives it another parameter row; `bad_at` a NaN."""

    steps: int = 20
    grow_at: int = -1
    bad_at: int = -1
    stop_at: int = -1

    def build(self, capture, track):
        return Guess(2)

    def batches(self, capture, track, generator):
        frames = trainable_frames(capture, track)
        while True:
            index = frames[int(torch.randint(len(frames), (), generator=generator))]
            yield capture[index].rgb.mean() + torch.rand((), generator=generator)

    def optimizer(self, avatar):
        return Adam([{"params": [avatar.value], "lr": 0.05}])

    def losses(self, avatar, view, step):
        if step == self.bad_at:
            return {"fine": view, "broken": avatar.value.sum() * float("nan")}
        return {"square": (avatar.value - view).square().mean()}

    def after_step(self, avatar, optimizer, step):
        if step == self.stop_at:
            raise KeyboardInterrupt
        if step == self.grow_at:
            old = avatar.value
            avatar.value = nn.Parameter(torch.cat([old.data, old.data[-1:]]))
            optimizer.param_groups[0]["params"] = [avatar.value]
            state = optimizer.state.pop(old)
            for key in ("exp_avg", "exp_avg_sq"):
                state[key] = torch.cat([state[key], torch.zeros(1)])
            optimizer.state[avatar.value] = state

    def restore(self, state):
        made = Guess(len(state["value"]))
        made.load_state_dict(state)
        return made


def trained(folder, method, **plan):
    capture, track = recording()
    return train(method, "guess", capture, track, folder, Plan(**plan))


def test_a_stopped_run_goes_on_to_the_same_bits_as_an_unbroken_one(tmp_path, monkeypatch):
    whole = trained(tmp_path / "a", Guessing(), checkpoint_every=6, ema=0.9)
    stopped = []

    def once(self, avatar, optimizer, step):
        if step == 15 and not stopped:
            stopped.append(step)
            raise KeyboardInterrupt

    monkeypatch.setattr(Guessing, "after_step", once)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", Guessing(), checkpoint_every=6, ema=0.9)
    assert (tmp_path / "b" / TRAINING).exists()
    again = trained(tmp_path / "b", Guessing(), checkpoint_every=6, ema=0.9)
    assert torch.equal(whole.value, again.value)
    assert read_json(tmp_path / "a" / "avatar.json") == read_json(tmp_path / "b" / "avatar.json")


def test_half_precision_on_a_processor_is_said_to_be_none_and_changes_no_bit(tmp_path, caplog):
    whole = trained(tmp_path / "a", Guessing())
    assert "--half" not in caplog.text
    half = trained(tmp_path / "b", Guessing(), half=True)
    assert "--half is for CUDA" in caplog.text
    assert torch.equal(whole.value, half.value)


def test_a_parameter_that_grew_resumes_with_its_new_shape(tmp_path, monkeypatch):
    method = Guessing(grow_at=4)
    whole = trained(tmp_path / "a", method, checkpoint_every=6)
    original = Guessing.after_step
    stopped = []

    def once(self, avatar, optimizer, step):
        if step == 9 and not stopped:
            stopped.append(step)
            raise KeyboardInterrupt
        original(self, avatar, optimizer, step)

    monkeypatch.setattr(Guessing, "after_step", once)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", method, checkpoint_every=6)
    again = trained(tmp_path / "b", method, checkpoint_every=6)
    assert whole.value.shape == (3,)
    assert torch.equal(whole.value, again.value)


def test_a_loss_that_is_no_number_stops_training_by_name_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(LikenessError, match="step 15: broken is not finite"):
        trained(tmp_path, Guessing(bad_at=15), checkpoint_every=6)
    kept = load_avatar(tmp_path, lambda name: Guessing)
    assert bool(kept.value.isfinite().all())
    assert float(kept.value.detach().abs().sum()) > 0


def test_minutes_end_training_and_stretch_the_schedule(tmp_path):
    trained(tmp_path, Guessing(steps=5), minutes=0.03, checkpoint_every=1000)
    about = read_json(tmp_path / "avatar.json")
    assert about["settings"]["steps"] > 5  # a busy machine may not manage many more
    assert not (tmp_path / TRAINING).exists()


def test_a_training_by_minutes_is_kept_on_its_way_and_its_bar_does_not_run_ahead(
    tmp_path, monkeypatch
):
    class Bar:
        seconds = 0

        def begin(self, what, total):
            pass

        def advance(self, by=1, note=""):
            self.seconds += by

        def end(self):
            pass

    kept, original = [], loop._checkpoint
    monkeypatch.setattr(loop, "_SAVE", 0.3)
    monkeypatch.setattr(loop, "_checkpoint", lambda run, *a: (kept.append(1), original(run, *a)))
    bar = Bar()
    with listening(bar):
        trained(tmp_path, Guessing(), minutes=2.2 / 60, checkpoint_every=10**9)
    assert 5 <= len(kept) <= 9
    assert bar.seconds == 2


def test_other_settings_start_anew(tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, Guessing(stop_at=9), checkpoint_every=3)
    whole = trained(tmp_path / "fresh", Guessing(steps=12))
    other = trained(tmp_path, Guessing(steps=12))
    assert "other settings" in caplog.text
    assert torch.equal(whole.value, other.value)


def test_held_out_figures_come_on_their_cadence(tmp_path):
    capture, track = recording()
    asked = []

    def look(avatar, step):
        asked.append(step)
        return {"psnr": 1.0 * step}

    train(Guessing(), "guess", capture, track, tmp_path, Plan(evaluate_every=8), look=look)
    assert asked == [8, 16]
    rows = read_json(tmp_path / "log.json")["steps"]
    assert [r["psnr"] for r in rows if "psnr" in r] == [8.0, 16.0]


def test_the_bar_tells_loss_quality_and_memory(tmp_path):
    class Bar:
        def __init__(self):
            self.notes, self.total = [], 0

        def begin(self, what, total):
            self.total = total

        def advance(self, by=1, note=""):
            self.notes.append(note)

        def end(self):
            pass

    capture, track = recording()
    bar = Bar()
    method = Guessing(steps=60)
    plan = Plan(evaluate_every=20)
    with listening(bar):
        train(method, "g", capture, track, tmp_path, plan, look=lambda a, s: {"psnr": 30.5})
    assert bar.total == 60
    last = [note for note in bar.notes if note][-1]
    for word in ("loss", "psnr 30.50 dB", "GB"):
        assert word in last


def test_pictures_are_kept_on_the_cadence_and_live_ones_replace_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_FIRST_LIVE", 0.0)
    capture, track = recording()
    drawn = []

    def live(avatar, step):
        drawn.append(step)
        return {"seen": torch.full((4, 6, 3), 0.5), "psnr": 20.0}

    def look(avatar, step):
        return {"seen": torch.zeros(4, 6, 3), "psnr": 20.0}

    plan = Plan(evaluate_every=8, live_every=1e-9)
    train(Guessing(), "guess", capture, track, tmp_path, plan, look=look, live=live)
    assert drawn == list(range(1, 21))
    assert sorted(p.name for p in (tmp_path / "glances").iterdir()) == [
        "0000008_seen.png",
        "0000016_seen.png",
    ]
    assert [p.name for p in (tmp_path / "live").iterdir()] == ["seen.png"]
    plain = trained(tmp_path / "plain", Guessing())
    watched = load_avatar(tmp_path, lambda name: Guessing)
    assert torch.equal(plain.value, watched.value), "looking changes nothing"
    with pytest.raises(BadInput, match="Live pictures"):
        Plan(live_every=-1)


def test_tensorboard_gets_scalars_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    capture, track = recording()
    plan = Plan(evaluate_every=10, tensorboard=True)

    def look(avatar, step):
        return {"psnr": 1.0 * step, "seen": torch.rand(4, 6, 3)}

    train(Guessing(), "guess", capture, track, tmp_path, plan, look=look)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [e.value for e in board.Scalars("held out/psnr")] == [10.0, 20.0]
    assert board.Scalars("loss")
    assert [(e.step, e.width, e.height) for e in board.Images("held out/seen")] == [
        (10, 6, 4),
        (20, 6, 4),
    ]


def test_the_seed_decides_the_result_and_nothing_else_does(tmp_path):
    values = [trained(tmp_path / str(i), Guessing(), seed=s).value for i, s in enumerate((1, 1, 2))]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_an_avatar_of_a_newer_version_or_a_foreign_folder_is_refused(tmp_path):
    save_avatar(tmp_path / "a", "guess", Guessing(), Guess(2))

    @dataclass(frozen=True)
    class Older:
        steps: int = 1

    with pytest.raises(BadInput, match="bad_at"):
        load_avatar(tmp_path / "a", lambda name: Older)
    with pytest.raises(BadInput, match="holds no avatar"):
        load_avatar(tmp_path, lambda name: Guessing)


def test_pictures_stay_within_the_memory_they_were_given():
    source = Grey()
    kept = Kept(source, 3 * 48)
    for index in (0, 1, 2, 0, 1, 2, 3, 0):
        kept.rgb(index)
    assert source.asked == 5  # 0, 1, 2, 3, and 0 again, which was let go
    assert kept.held <= 3 * 48
    assert parse_size("2G") == 2 << 30
    with pytest.raises(BadInput, match="not an amount of memory"):
        parse_size("lots")


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_bits(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        sys.path.insert(0, sys.argv[1])
        from test_loop import Guessing, trained
        from pathlib import Path
        kill = sys.argv[3] == "kill"
        class Fatal(Guessing):
            def after_step(self, avatar, optimizer, step):
                if kill and step == 150:
                    os.kill(os.getpid(), signal.SIGKILL)
        trained(Path(sys.argv[2]), Fatal(steps=200), checkpoint_every=40)
        """
    )
    here = os.path.dirname(__file__)

    def run(folder, mode):
        command = [sys.executable, "-c", script, here, str(tmp_path / folder), mode]
        return subprocess.run(command, check=False).returncode

    assert run("a", "kill") == -signal.SIGKILL
    assert run("a", "go") == 0
    assert run("b", "go") == 0
    both = [load_avatar(tmp_path / f, lambda name: Guessing) for f in "ab"]
    assert torch.equal(both[0].value, both[1].value)
