import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from likeness.core.errors import BadInput, LikenessError
from likeness.core.files import (
    atomic,
    load_tensors,
    only_one,
    read_json,
    save_tensors,
    sha256,
    write_json,
    write_text,
)
from likeness.core.runs import finish_run, finished_alike, start_run
from likeness.core.unpickle import Inert, restricted_load


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("power cut")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = (
        "import os, signal; from likeness.core.files import atomic\n"
        f"with atomic({str(path)!r}) as t:\n"
        "    t.write_text('new'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert path.read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_one_clear_line(tmp_path):
    with pytest.raises(LikenessError, match=r"disk is full.*a\.txt"):  # noqa: SIM117
        with atomic(tmp_path / "a.txt"):
            with open("/dev/full", "w") as full:
                full.write("x" * 100_000)
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_place_of_a_parent_is_one_clear_line(tmp_path):
    write_text(tmp_path / "file", "x")
    with pytest.raises(LikenessError, match="cannot be written"):
        write_text(tmp_path / "file" / "below.txt", "x")


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_text_as_json_reads_or_is_refused_by_name(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "x.json"
    path.write_text(text, encoding="utf-8")
    try:
        assert isinstance(read_json(path), dict)
    except BadInput as error:
        assert "x.json" in str(error)


def test_a_file_of_a_newer_format_is_refused_by_name(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1}, format=7)
    with pytest.raises(BadInput, match="format 7; this version reads up to 2"):
        read_json(tmp_path / "a.json", newest=2)


def test_nan_is_never_written_as_json(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})


def test_tensors_and_plain_numbers_travel_in_json(tmp_path):
    write_json(tmp_path / "a.json", {"t": torch.arange(3), "n": np.float32(0.5), "p": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text())["t"] == [0, 1, 2]


def test_tensors_come_back_as_they_were(tmp_path):
    saved = {"a": torch.randn(3, 4).T, "b": torch.arange(5), "c": torch.zeros(0, 3)}
    save_tensors(tmp_path / "w.safetensors", saved)
    loaded = load_tensors(tmp_path / "w.safetensors")
    assert all(torch.equal(saved[k], loaded[k]) for k in saved)


@pytest.mark.parametrize("keep", [0, 3, 8, 40, 150])
def test_a_truncated_tensor_file_is_refused_by_name(tmp_path, keep):
    path = tmp_path / "w.safetensors"
    save_tensors(path, {"a": torch.randn(30)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"w\.safetensors"):
        load_tensors(path)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch /tmp/likeness-was-here",)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"f": Hostile()}))
    with pytest.raises(BadInput, match=r"refuses .*system"):
        restricted_load(path)


def test_arrays_and_containers_unpickle(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"f": np.arange(6.0).reshape(2, 3), "n": [1, "a", None]}))
    loaded = restricted_load(path)
    assert loaded["f"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded["n"] == [1, "a", None]


@given(st.binary(max_size=80))
@example(b"\x95\x00\x00\x00\x00\x00\x00\x00\x80")
@settings(max_examples=80, deadline=None)
def test_any_bytes_unpickle_to_plain_data_or_are_refused_by_name(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "x.pkl"
    path.write_bytes(data)
    try:
        loaded = restricted_load(path)
    except BadInput as error:
        assert "x.pkl" in str(error)
    else:
        assert not callable(loaded) or isinstance(loaded, type | Inert)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    code = f"from likeness.core.files import only_one\nwith only_one({str(tmp_path)!r}): pass"
    with only_one(tmp_path):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Another run is working in" in run.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_run_is_finished_only_for_the_same_settings_and_inputs(tmp_path):
    source = tmp_path / "in.txt"
    write_text(source, "one")
    start_run(tmp_path / "run", "fit", {"steps": 3}, {"source": source}, consent="me")
    assert not finished_alike(tmp_path / "run", "fit", {"steps": 3}, {"source": source})
    finish_run(tmp_path / "run", {"psnr": 30})
    assert finished_alike(tmp_path / "run", "fit", {"steps": 3}, {"source": source})
    assert not finished_alike(tmp_path / "run", "fit", {"steps": 4}, {"source": source})
    write_text(source, "two")
    assert not finished_alike(tmp_path / "run", "fit", {"steps": 3}, {"source": source})
    about = read_json(tmp_path / "run" / "run.json")
    assert about["consent"] == "me"
    assert set(about["versions"]) >= {"python", "torch", "likeness"}


def test_hashing_a_folder_sees_names_and_contents(tmp_path):
    write_text(tmp_path / "d" / "a", "1")
    first = sha256(tmp_path / "d")
    (tmp_path / "d" / "a").rename(tmp_path / "d" / "b")
    assert sha256(tmp_path / "d") != first
