"""Blender opens our GLB and USD: run where its `bpy` module is installed."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from likeness.exporters.glb import Glb
from likeness.exporters.usd import Usd

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("bpy") is None, reason="bpy is not installed"),
]

SCRIPT = """
import json, sys
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
path = sys.argv[1]
(bpy.ops.wm.usd_import if path.endswith("usdc") else bpy.ops.import_scene.gltf)(filepath=path)
meshes = [o for o in bpy.data.objects if o.type == "MESH" and o.data.shape_keys]
bones = [len(o.data.bones) for o in bpy.data.objects if o.type == "ARMATURE"]
keys = [k.name for k in meshes[0].data.shape_keys.key_blocks]
ends = [list(a.frame_range) for a in bpy.data.actions]
size = [len(meshes[0].data.vertices), len(meshes[0].data.polygons)]
told = {"keys": keys, "bones": bones, "ends": ends, "size": size, "images": len(bpy.data.images)}
print("FOUND" + json.dumps(told))
"""


@pytest.mark.parametrize("exporter", [Glb(texture=16), Usd(texture=16)], ids=["glb", "usd"])
def test_blender_finds_the_head_its_shapes_bones_and_motion(
    tmp_path, avatar, motion, note, exporter
):
    if exporter.suffix == ".usdc":
        pytest.importorskip("pxr")
    path = tmp_path / f"a{exporter.suffix}"
    exporter.export(avatar, path, motion, note)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, timeout=120
    )
    assert "FOUND" in done.stdout, done.stdout + done.stderr
    found = json.loads(done.stdout.partition("FOUND")[2].splitlines()[0])
    assert len(found["keys"]) == 53  # a basis, and the 52
    assert "jawOpen" in found["keys"]
    assert found["bones"] == [1 + avatar.surface.joints.shape[0]]
    assert found["size"][1] == len(avatar.surface.triangles)
    assert found["images"] == 1
    assert any(end - start > 5 for start, end in found["ends"])
