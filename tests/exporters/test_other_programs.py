"""Programs that we did not write open our splats: run where node finds them (NODE_PATH)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from likeness.core.avatar import Splats
from likeness.core.geometry import quaternion_to_matrix
from likeness.exporters.splat_ply import read_splat_ply, write_splat_ply
from likeness.exporters.spz import spz_bytes

_CLI = "@playcanvas/splat-transform/bin/cli.mjs"


def splat_transform():
    """The command's file below one of NODE_PATH's folders."""
    folders = [Path(p) for p in os.environ.get("NODE_PATH", "").split(os.pathsep) if p]
    found = [folder / _CLI for folder in folders if (folder / _CLI).is_file()]
    return found[0] if found and shutil.which("node") else None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        splat_transform() is None, reason="no @playcanvas/splat-transform in NODE_PATH"
    ),
]


@pytest.fixture(scope="module")
def splats():
    g = torch.Generator().manual_seed(0)
    count = 200
    return Splats(
        torch.randn(count, 3, generator=g) * 0.2,
        torch.nn.functional.normalize(torch.randn(count, 4, generator=g), dim=-1),
        torch.exp(torch.randn(count, 3, generator=g) * 0.5 - 5),
        torch.rand(count, generator=g) * 0.9 + 0.05,
        0.3 * torch.randn(count, 9, 3, generator=g),
    )


def ellipsoids(splats):
    """Covariances; a rotation has many quaternions that give the same one."""
    axes = quaternion_to_matrix(splats.rotation) * splats.scale[:, None]
    return axes @ axes.mT


@pytest.mark.parametrize("name", ["a.ply", "v2.spz", "v3.spz", "v4.spz"])
def test_splat_transform_finds_the_same_splats(tmp_path, splats, note, name):
    if name == "v4.spz":
        pytest.importorskip("zstandard")
    if name.endswith(".ply"):
        write_splat_ply(tmp_path / name, splats, note)
    else:
        (tmp_path / name).write_bytes(spz_bytes(splats, note, int(name[1])))
    done = subprocess.run(
        ["node", str(splat_transform()), str(tmp_path / name), str(tmp_path / "back.ply")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    back = read_splat_ply(tmp_path / "back.ply")
    coarse = name.endswith(".spz")
    assert len(back.means) == len(splats.means)
    torch.testing.assert_close(back.means, splats.means, rtol=0, atol=1e-5)
    assert (back.opacity - splats.opacity).abs().max() < (3e-3 if coarse else 1e-4)
    assert (back.scale.log() - splats.scale.log()).abs().max() < (0.04 if coarse else 1e-4)
    shape, theirs = ellipsoids(splats), ellipsoids(back)
    assert ((theirs - shape).flatten(1).norm(dim=1) / shape.flatten(1).norm(dim=1)).max() < (
        0.2 if coarse else 1e-4
    )
    assert (back.harmonics[:, 0] - splats.harmonics[:, 0]).abs().max() < (0.02 if coarse else 1e-4)
    rest = (back.harmonics - splats.harmonics)[:, 1:]
    assert (rest.clamp(-1, 1)).abs().max() < (0.45 if coarse else 1e-4)
