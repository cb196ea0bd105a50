"""`verify` on signed files: whole, changed, and where only the manifest is left."""

from importlib.util import find_spec

import pytest
from PIL import Image

from likeness.core import media
from likeness.core.credentials import sign
from likeness.verbs.export import export
from likeness.verbs.verify import verify

pytestmark = pytest.mark.skipif(
    find_spec("c2pa") is None, reason="c2pa-python is not installed (likeness[provenance])"
)


@pytest.mark.parametrize("to", ["png", "mp4", "gif", "webp"])
def test_an_exported_picture_is_signed(folder, tmp_path, to):
    path = tmp_path / f"a.{to}"
    export(folder, to, path, options=("size=64",))
    told = verify(path)
    assert "marked as synthetic media" in told
    assert "C2PA: signed as synthetic media by likeness" in told
    assert "no authority" in told


def test_a_film_changed_after_signing_is_told(folder, tmp_path):
    export(folder, "mp4", tmp_path / "a.mp4", options=("size=64",))
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    data[-200] ^= 1
    (tmp_path / "b.mp4").write_bytes(data)
    told = verify(tmp_path / "b.mp4")
    assert "changed after signing" in told
    assert "unchanged since" not in told


def test_a_manifest_alone_is_enough_of_a_mark(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.jpg")
    assert "no mark was found" in verify(tmp_path / "a.jpg")
    assert sign(tmp_path / "a.jpg", media.SYNTHETIC, '{"subject": "Zoe"}')
    told = verify(tmp_path / "a.jpg")
    assert "marked as synthetic media" in told
    assert "subject: Zoe" in told
