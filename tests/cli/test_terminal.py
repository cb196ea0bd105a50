"""The terminal's manners: one clear line, exit code 2, no traceback, nothing damaged."""

import contextlib
import errno
import signal
import subprocess
import sys

import pytest

from likeness.captures.synthetic.film import Film
from likeness.cli.main import main
from likeness.core.files import only_one
from likeness.core.track_files import read_track


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main([str(w) for w in words])
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_help_lists_every_verb_with_a_sentence(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    from likeness.verbs import VERBS

    for verb in VERBS.names():
        line = next(one for one in out.splitlines() if one.startswith(f"  {verb} "))
        assert line.rstrip().endswith(".")


def test_an_unknown_verb_suggests_the_nearest(capsys):
    code, _, err = run(capsys, "biuld")
    assert code == 2
    assert "Did you mean 'build'?" in err


def test_the_version_is_told(capsys):
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("likeness ")


BAD = {
    "missing": None,
    "empty.mp4": b"",
    "noise.mp4": bytes(range(256)) * 40,
    "text.txt": b"this is not a recording",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("verb", ["ingest", "build"])
def test_a_bad_recording_is_one_line_that_names_it(capsys, tmp_path, name, verb):
    path = tmp_path / name
    if BAD[name] is not None:
        path.write_bytes(BAD[name])
    code, _, err = run(capsys, verb, path, "--out", tmp_path / "out")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert name in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ingest", "{clip}", "--out", "{out}", "--size", "7"], "--size 7"),
        (["build", "{clip}", "--out", "{out}", "--minutes", "-1"], "--minutes"),
        (["track", "{clip}", "--out", "{out}", "--rig", "clya"], "Did you mean 'clay'?"),
        (["fit", "{clip}", "{clip}", "--out", "{out}", "--method", "splat"], "'splats'"),
        (["synth", "--out", "{out}", "--frames", "0"], "0 frames"),
        (["report", "{out}"], "metrics.json"),
        (["render", "{out}", "--out", "{out}/x.mp4"], "no avatar"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_remedy(capsys, tmp_path, words, said):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    filled = [w.format(clip=clip, out=tmp_path / "out") for w in words]
    code, _, err = run(capsys, *filled)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_doctor_reports_and_exits_well(capsys):
    main(["doctor"])
    out = capsys.readouterr().out
    for word in ("python", "torch", "device", "video", "face tracker", "fix:"):
        assert word in out


def _interrupted_while_filming(monkeypatch, swallow):
    drawn = Film.rgb

    def rgb(film, index):
        if index == 2:
            with contextlib.suppress(*((KeyboardInterrupt,) if swallow else ())):
                signal.raise_signal(signal.SIGINT)
        return drawn(film, index)

    monkeypatch.setattr(Film, "rgb", rgb)


@pytest.mark.parametrize("swallow", [False, True])
def test_an_interrupt_is_one_line_and_nothing_is_half_written(
    capsys, tmp_path, monkeypatch, swallow
):
    out = tmp_path / "o"
    words = ["synth", "--out", out, "--frames", 5, "--size", 32]
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        _interrupted_while_filming(patched, swallow)
        code, _, err = run(capsys, *words)
    assert code == 130
    assert err.strip().splitlines()[-1].startswith("likeness synth: stopped.")
    assert "Traceback" not in err
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(out.rglob("*.mp4"))
    assert not [p for p in out.rglob(".*") if p.name != ".lock"]
    assert len(list((out / "capture" / "frames").iterdir())) in (2, 3)
    main([str(w) for w in words])  # and goes on from there
    assert (out / "subject.mp4").is_file()
    assert len(read_track(out / "truth")) == 5


def test_a_second_run_in_a_folder_is_refused_in_one_line(capsys, tmp_path):
    with only_one(tmp_path / "o"):
        words = ["synth", "--out", tmp_path / "o", "--frames", 2, "--size", 32]
        code, _, err = run(capsys, *words)
    assert code == 2
    assert "Another run is working in" in err
    assert len(err.strip().splitlines()) == 1
    assert not list((tmp_path / "o").rglob("*.png"))


def test_a_full_disk_is_one_line_that_names_the_file(capsys, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("likeness.core.files.os.fsync", full)
        words = ["synth", "--out", tmp_path / "o", "--frames", 2, "--size", 32]
        code, _, err = run(capsys, *words)
    assert code == 2
    assert "The disk is full" in err
    assert "Traceback" not in err
    left = [p for p in (tmp_path / "o").rglob("*") if p.is_file() and p.name != ".lock"]
    assert left == []


def test_an_interrupt_while_libraries_load_ends_at_once_even_if_they_swallow_it():
    code = (
        "import contextlib, signal, sys\n"
        "from likeness.cli.main import main\n"
        "from likeness.verbs import VERBS\n"
        "def load(*_):\n"
        "    with contextlib.suppress(BaseException):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    sys.exit(5)\n"
        "type(VERBS).load = load\n"
        "main(['synth', '--out', 'nowhere'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr.startswith("likeness synth: stopped.")
    assert len(done.stderr.splitlines()) == 1
