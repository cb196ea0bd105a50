"""The terminal's manners: one clear line, exit code 2, no traceback, nothing damaged."""

import os
import subprocess
import sys

import pytest

from likeness.cli.main import main


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


@pytest.mark.slow
def test_an_interrupt_says_that_work_is_kept(tmp_path):
    code = (
        "import os, signal, threading, time\n"
        "from likeness.cli.main import main\n"
        "threading.Timer(4.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        f"main(['synth', '--out', {str(tmp_path / 'o')!r}, '--frames', '400'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 130
    assert "stopped" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "o").glob("*.mp4"))
