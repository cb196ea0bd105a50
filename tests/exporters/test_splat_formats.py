import gzip
import struct
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from likeness.core.avatar import Splats
from likeness.core.errors import BadInput, LikenessError, Missing, Unsupported
from likeness.exporters.gltf_splats import splat_glb
from likeness.exporters.ply_files import read_ply
from likeness.exporters.splat_data import harmonic_signs, turned_over
from likeness.exporters.splat_ply import SplatPly, read_splat_ply, write_splat_ply
from likeness.exporters.splat_records import SplatRecords, splat_bytes
from likeness.exporters.spz import Spz, read_spz, spz_bytes
from likeness.ops.harmonics import spherical_harmonics

needs_zstandard = pytest.mark.skipif(
    find_spec("zstandard") is None, reason="zstandard is not installed (likeness[spz])"
)


def some_splats(degree, count=50, seed=0):
    g = torch.Generator().manual_seed(seed)
    turn = torch.nn.functional.normalize(torch.randn(count, 4, generator=g), dim=-1)
    return Splats(
        torch.randn(count, 3, generator=g) * 0.2,
        turn,
        torch.exp(torch.randn(count, 3, generator=g) - 5),
        torch.rand(count, generator=g) * 0.98 + 0.01,
        0.3 * torch.randn(count, (degree + 1) ** 2, 3, generator=g),
    )


def same_turn(a, b):
    return (a * b).sum(-1).abs().min()


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("axes", ["3dgs", "world"])
def test_splats_come_back_from_ply_as_they_went(tmp_path, degree, axes, note):
    splats = some_splats(degree)
    write_splat_ply(tmp_path / "ä head.ply", splats, note, axes)
    back = read_splat_ply(tmp_path / "ä head.ply")
    torch.testing.assert_close(back.means, splats.means)
    torch.testing.assert_close(back.harmonics, splats.harmonics)
    torch.testing.assert_close(back.scale, splats.scale)
    torch.testing.assert_close(back.opacity, splats.opacity)
    assert same_turn(back.rotation, splats.rotation) > 1 - 1e-6


def test_splats_turned_over_show_the_same_colours_in_turned_directions():
    splats, flip = some_splats(3), torch.tensor([1.0, -1.0, -1.0])
    direction = torch.nn.functional.normalize(torch.tensor([0.2, -0.5, 0.7]), dim=0)
    here = torch.einsum("h,nhc->nc", spherical_harmonics(direction, 3), splats.harmonics)
    over = turned_over(splats)
    there = torch.einsum("h,nhc->nc", spherical_harmonics(direction * flip, 3), over.harmonics)
    torch.testing.assert_close(there, here)
    assert harmonic_signs(0, flip).tolist() == [1.0]


@pytest.mark.parametrize("version", [2, 3, pytest.param(4, marks=needs_zstandard)])
def test_spz_keeps_splats_within_its_own_quantisation(tmp_path, version, note):
    splats = some_splats(3, count=300)
    (tmp_path / "a.spz").write_bytes(spz_bytes(splats, note, version))
    back = read_spz(tmp_path / "a.spz")
    assert (back.means - splats.means).abs().max() < 1e-6
    assert (back.scale.log() - splats.scale.log()).abs().max() <= 1 / 32 + 1e-4
    assert (back.opacity - splats.opacity).abs().max() <= 0.5 / 255 + 1e-5
    assert same_turn(back.rotation, splats.rotation) > (0.99 if version == 2 else 0.99999)
    rest = splats.harmonics.clamp(-1, 1) - back.harmonics
    assert rest[:, 0].abs().max() < 0.5 / (255 * 0.15) + 1e-4
    assert rest[:, 1:4].abs().max() <= 8.6 / 128
    assert rest[:, 4:].abs().max() <= 16.6 / 128


def test_spz_is_plain_gzip_that_others_can_open(note):
    body = gzip.decompress(spz_bytes(some_splats(1, count=7), note))
    assert body[:4] == b"NGSP"
    assert len(body) == 16 + 7 * (9 + 1 + 3 + 3 + 4 + 9)


def test_ply_of_an_ascii_or_big_endian_stranger_is_read(tmp_path):
    write_splat_ply(tmp_path / "ours.ply", some_splats(1))
    vertex = read_ply(tmp_path / "ours.ply")[0][0].columns
    ours = read_splat_ply(tmp_path / "ours.ply")
    names = [*vertex, "confidence"]
    table = np.stack([*vertex.values(), np.ones(50)], -1)
    head = "ply\nformat {}\nobj_info stranger\nelement vertex 50\n{}end_header\n"
    fields = "".join(f"property double {n}\n" for n in names)
    big = head.format("binary_big_endian 1.0", fields).encode() + table.astype(">f8").tobytes()
    (tmp_path / "big.ply").write_bytes(big)
    rows = "\r\n".join(" ".join(f"{v:.9g}" for v in row) for row in table)
    (tmp_path / "ascii.ply").write_text(head.format("ascii 1.0", fields) + rows + "\n")
    for name in ("big.ply", "ascii.ply"):
        theirs = read_splat_ply(tmp_path / name)
        torch.testing.assert_close(theirs.means, ours.means)
        torch.testing.assert_close(theirs.harmonics, ours.harmonics)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: b"solid" + data, "not a whole PLY"),
        (lambda data: data[:-40], "truncated"),
        (lambda data: data[:60], "header"),
        (
            lambda data: data.replace(b"float opacity", b"float opaque_"),
            "opacity",
        ),
        (lambda data: data.replace(b"float f_dc_0", b"float g_dc_0"), "colour"),
        (lambda data: data.replace(b"little_endian", b"middle_endian"), "format"),
        (lambda data: data.replace(b"property float x", b"property quad x"), "header line"),
    ],
)
def test_a_broken_or_foreign_ply_is_one_clear_line(tmp_path, change, says):
    write_splat_ply(tmp_path / "a.ply", some_splats(0))
    (tmp_path / "b.ply").write_bytes(change((tmp_path / "a.ply").read_bytes()))
    with pytest.raises(BadInput, match=says) as told:
        read_splat_ply(tmp_path / "b.ply")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a whole SPZ"),
        (b"not gzip at all", "not a whole SPZ"),
        (gzip.compress(b"short"), "not a whole SPZ"),
        (gzip.compress(bytes(40)), "no SPZ"),
        (spz_bytes(some_splats(0))[:200], "truncated"),
        (b"NGSP" + bytes(28), "Version 4, 6 streams"),
        (b"NGSP", "ends in its header"),
    ],
)
def test_a_broken_spz_is_one_clear_line(tmp_path, data, says):
    (tmp_path / "a.spz").write_bytes(data)
    with pytest.raises(LikenessError, match=says):
        read_spz(tmp_path / "a.spz")


@needs_zstandard
def test_spz_of_version_4_begins_with_a_plain_header_and_a_table_of_its_streams():
    data = spz_bytes(some_splats(2, count=9), version=4)
    magic, version, count, degree, _, flags, streams, table = struct.unpack_from("<4sIIBBBBI", data)
    assert (magic, version, count, degree, flags, streams) == (b"NGSP", 4, 9, 2, 0, 6)
    sizes = np.frombuffer(data, "<u8", 12, table).reshape(6, 2)
    assert sizes[:, 1].tolist() == [81, 9, 27, 27, 36, 9 * 24]
    assert table + 96 + sizes[:, 0].sum() == len(data)


@needs_zstandard
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:60], "table of contents"),
        (lambda data: data[:-3], "truncated"),
        (lambda data: data[:8] + b"\xff\xff\xff\xff" + data[12:], "should unpack to"),
        (lambda data: data[:-40] + bytes(40), "damaged"),
    ],
)
def test_a_broken_spz_of_version_4_is_one_clear_line(tmp_path, change, says):
    (tmp_path / "a.spz").write_bytes(change(spz_bytes(some_splats(1), version=4)))
    with pytest.raises(BadInput, match=says) as told:
        read_spz(tmp_path / "a.spz")
    assert "\n" not in str(told.value)


def test_spz_of_version_4_names_the_extra_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(Missing, match=r"likeness\[spz\]"):
        spz_bytes(some_splats(0), version=4)


def test_splats_that_are_not_finite_are_left_out_and_said(tmp_path, caplog):
    splats = some_splats(0)
    splats.means[3, 1] = torch.nan
    write_splat_ply(tmp_path / "a.ply", splats)
    assert len(read_splat_ply(tmp_path / "a.ply").means) == 49
    assert "1 splats are not finite" in caplog.text
    splats.means[:] = torch.inf
    with pytest.raises(BadInput, match="finite"):
        write_splat_ply(tmp_path / "b.ply", splats)
    assert not list(tmp_path.glob("*b.ply"))


def test_splat_records_are_32_bytes_with_the_largest_first():
    splats = some_splats(0)
    data = np.frombuffer(splat_bytes(splats), np.uint8)
    assert len(data) == 32 * 50
    scale = data.view("<f4").reshape(50, 8)[:, 3:6].prod(-1) * data.reshape(50, 32)[:, 27]
    assert scale[0] >= scale[-1]


def test_an_avatar_goes_to_every_splat_format(tmp_path, avatar, motion, note):
    one = type(motion)(type(motion.expressions)(**_first(motion)), motion.fps)
    for exporter, name in ((SplatPly(), "a.ply"), (SplatRecords(), "a.splat"), (Spz(), "a.spz")):
        exporter.export(avatar, tmp_path / name, one, note)
        assert (tmp_path / name).stat().st_size > 1000
    assert splat_glb(avatar.splats(motion[0]), note)[:4] == b"glTF"
    folder = SplatPly().export(avatar, tmp_path / "all.ply", motion, note)
    assert len(list(folder.glob("*.ply"))) == 10
    with pytest.raises(Unsupported, match="one moment"):
        Spz().export(avatar, tmp_path / "b.spz", motion, note)


def _first(motion):
    what = motion.expressions
    rows = {n: getattr(what, n)[:1] for n in what.BATCHED if getattr(what, n) is not None}
    return {"rig": what.rig, **rows}
