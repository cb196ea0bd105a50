"""Signed manifests: what is told, that a change shows, and how it is without the library."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.core.animations import writer
from likeness.core.credentials import read_manifest, sign
from likeness.core.errors import BadInput
from likeness.core.media import SYNTHETIC, save_png

NOTE = json.dumps({"subject": "Zoë", "digitalSourceType": SYNTHETIC})
needs_c2pa = pytest.mark.skipif(
    find_spec("c2pa") is None, reason="c2pa-python is not installed (likeness[provenance])"
)


def made(path, note=NOTE):
    g = torch.Generator().manual_seed(0)
    picture = torch.rand(32, 32, 3, generator=g)
    if path.suffix == ".png":
        save_png(path, picture, note)
    else:
        with writer(path, 25, note=note) as film:
            for _ in range(3):
                film.write(picture)
    return path


@needs_c2pa
@pytest.mark.parametrize("name", ["ä.png", "a.mp4", "a.mov", "a.gif", "a.webp"])
def test_every_picture_with_a_note_is_signed_as_synthetic(tmp_path, name):
    found = read_manifest(made(tmp_path / name))
    assert found["source"] == SYNTHETIC
    assert json.loads(found["note"])["subject"] == "Zoë"
    assert found["generator"].startswith("likeness")
    assert found["state"] == "Valid"
    assert found["wrong"] == []
    assert [path.name for path in tmp_path.iterdir()] == [name]


@needs_c2pa
def test_a_changed_picture_shows_and_a_copy_without_metadata_has_no_manifest(tmp_path):
    data = bytearray(made(tmp_path / "a.png").read_bytes())
    place = data.index(b"IDAT") + 20
    data[place] ^= 1
    (tmp_path / "b.png").write_bytes(data)
    assert "assertion.dataHash.mismatch" in read_manifest(tmp_path / "b.png")["wrong"]
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "c.png")
    assert read_manifest(tmp_path / "c.png") is None


def test_without_the_library_files_are_written_unsigned(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    path = made(tmp_path / "a.png")
    assert not sign(path, SYNTHETIC)
    assert read_manifest(path) is None
    with Image.open(path) as picture:
        assert picture.info["digitalSourceType"] == SYNTHETIC


@needs_c2pa
@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.gif"])
def test_a_certificate_that_is_none_is_said_and_no_file_is_left(tmp_path, monkeypatch, name):
    for part in ("CERTIFICATE", "KEY"):
        (tmp_path / part).write_text("rubbish")
        monkeypatch.setenv(f"LIKENESS_C2PA_{part}", str(tmp_path / part))
    with pytest.raises(BadInput, match="could not be signed"):
        made(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"CERTIFICATE", "KEY"}
    monkeypatch.delenv("LIKENESS_C2PA_KEY")
    with pytest.raises(BadInput, match="both are needed"):
        made(tmp_path / name)
    monkeypatch.setenv("LIKENESS_C2PA_KEY", str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="cannot be read"):
        made(tmp_path / name)
