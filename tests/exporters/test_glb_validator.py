"""The Khronos validator on our GLB, where node finds the package `gltf-validator` (NODE_PATH)."""

import json
import shutil
import subprocess

import pytest

from likeness.exporters.glb import Glb

pytestmark = pytest.mark.usefixtures("few_looks")

CHECK = """
const fs = require("fs");
require("gltf-validator").validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))
  .then((report) => console.log(JSON.stringify(report.issues)));
"""


def finds_validator():
    if shutil.which("node") is None:
        return False
    found = subprocess.run(["node", "-e", 'require("gltf-validator")'], capture_output=True)
    return found.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not finds_validator(), reason="node finds no gltf-validator; set NODE_PATH")
def test_the_khronos_validator_finds_nothing_wrong(tmp_path, avatar, motion, note):
    Glb(texture=64).export(avatar, tmp_path / "a.glb", motion, note)
    done = subprocess.run(
        ["node", "-e", CHECK, str(tmp_path / "a.glb")], capture_output=True, text=True
    )
    issues = json.loads(done.stdout)
    assert issues["numErrors"] == 0, issues["messages"]
    assert issues["numWarnings"] == 0, issues["messages"]
