"""The page's own maths, run in node, against the avatar in Python."""

import base64
import gzip
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

from likeness.core.errors import Unsupported
from likeness.core.geometry import look_at
from likeness.exporters.motion import moment
from likeness.exporters.motion_csv import write_motion_csv
from likeness.exporters.motion_json import write_motion_json
from likeness.exporters.notes import Note
from likeness.exporters.page import Page
from likeness.exporters.page.export import WEB, page, payload, script
from likeness.ops.harmonics import splat_colour

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

PRELUDE = """
import fs from "node:fs";
import { decode, unpack } from "WEB/codec.js";
import { STRIDE, neutral, pose, prepare } from "WEB/animate.js";
import { packedMotion, readMotion } from "WEB/motion.js";
import { farthestFirst } from "WEB/order.js";
import { portrait } from "WEB/controls.js";
import * as algebra from "WEB/algebra.js";
const data = fs.readFileSync("model.bin");
const model = decode(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
const work = prepare(model);
const say = (value) => console.log(JSON.stringify(value));
"""


@pytest.fixture(scope="module")
def node(avatar, motion, tmp_path_factory):
    """Runs a few lines of JavaScript with the page's modules and model; gives what they say."""
    folder = tmp_path_factory.mktemp("page")
    packed = gzip.decompress(payload(avatar, motion, Note("a")).packed())
    (folder / "model.bin").write_bytes(packed)
    write_motion_csv(folder / "m.csv", motion)
    write_motion_json(folder / "m.json", motion)

    def run(lines):
        text = PRELUDE.replace("WEB", WEB.as_uri()) + lines
        (folder / "case.mjs").write_text(text)
        done = subprocess.run(
            ["node", "case.mjs"], cwd=folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@needs_node
def test_the_page_poses_every_splat_as_the_avatar_does(node, avatar, motion):
    said = node("say([0, 4].map((i) => Array.from(pose(model, work, packedMotion(model)"
                ".expression(i)))));")  # fmt: skip
    for i, flat in zip((0, 4), said):
        table = torch.tensor(flat).view(-1, 16)
        ours = avatar.splats(motion[i])
        turn = torch.nn.functional.normalize(table[:, 4:8], dim=-1)
        assert (table[:, :3] - ours.means).abs().max() < 1e-4
        assert (table[:, 3] - ours.opacity).abs().max() < 1e-3
        assert (turn * ours.rotation).sum(-1).abs().min() > 0.9999
        torch.testing.assert_close(table[:, 8:11], ours.scale, rtol=2e-3, atol=0)
        colour = 0.5 + 0.28209479177387814 * ours.harmonics[:, 0]
        assert (table[:, 12:15] - colour).abs().max() < 1e-3


@needs_node
def test_the_page_has_the_colours_that_an_eye_sees(node, avatar, motion):
    eye = [0.3, 0.1, 0.2]
    said = node(f"say(Array.from(pose(model, work, packedMotion(model).expression(4), {eye})));")
    table = torch.tensor(said).view(-1, 16)
    ours = avatar.splats(motion[4])
    along = torch.nn.functional.normalize(ours.means - torch.tensor(eye), dim=-1)
    colour = splat_colour(ours.harmonics, along)
    assert (table[:, 12:15].clamp(min=0) - colour).abs().max() < 2e-3
    assert (0.5 + 0.28209479177387814 * ours.harmonics[:, 0] - colour).abs().max() > 0.1


@needs_node
def test_the_page_knows_where_each_splat_of_the_closed_head_faces(node, avatar, motion):
    flat = node("say(Array.from(pose(model, work, packedMotion(model).expression(4))));")
    table = torch.tensor(flat).view(-1, 16)
    u, v = table[:, 11], table[:, 15]
    up = 1 - u.abs() - v.abs()
    x = torch.where(up < 0, (1 - v.abs()) * torch.where(u < 0, -1.0, 1.0), u)
    y = torch.where(up < 0, (1 - u.abs()) * torch.where(v < 0, -1.0, 1.0), v)
    found = torch.nn.functional.normalize(torch.stack([x, y, up], -1), dim=-1)
    seen = avatar.corrected(motion[4], avatar.regression(avatar.features(motion[4])))
    corners = avatar.surface.with_free(avatar.surface.head_vertices(seen))[avatar.corners]
    a, b, c = corners.unbind(1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    normal = normal @ seen.world_from_head[:3, :3].T
    faces = avatar.closed & (normal.norm(dim=-1) > 0.5)
    assert torch.equal(u < 1.5, faces)
    assert (found * normal).sum(-1)[faces].min() > 0.999


@needs_node
def test_the_pages_rest_is_ours(node, avatar):
    from likeness.rigs.clay import clay

    still = clay().neutral()
    rest = type(still)(
        still.rig,
        still.coefficients,
        still.joints,
        avatar.rest_head,
        avatar.rest_head @ avatar.rest_torso,
    )
    table = torch.tensor(node("say(Array.from(pose(model, work, neutral(model))));")).view(-1, 16)
    assert (table[:, :3] - avatar.splats(rest).means).abs().max() < 1e-4


@needs_node
def test_splats_are_ordered_from_the_farthest_and_those_behind_are_left_out(node):
    said = node("""
        const n = 1000;
        const splats = new Float32Array(STRIDE * n).map((_, i) => Math.sin(i * 12.9898));
        const order = new Uint32Array(n);
        const drawn = farthestFirst(splats, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], 0.01, order,
          new Float32Array(n));
        say([drawn, Array.from(order), Array.from(order, (i) => splats[STRIDE * i + 2])]);
    """)
    drawn, order, depth = said[0], said[1], np.array(said[2])
    assert sorted(order) == list(range(1000))
    assert drawn == (depth > 0.01).sum()
    assert (np.diff(depth[:drawn]) < 1e-4).all()
    assert (depth[drawn:] <= 0.01).all()


@needs_node
def test_the_pages_camera_is_ours(node, avatar):
    said = node("say(portrait(model, { yaw: 0, pitch: 0, zoom: 1 }, 640, 480));")
    head = avatar.rest_head
    target = head[:3, :3] @ torch.tensor([0.0, -0.03, -0.07]) + head[:3, 3]
    pose = look_at(target + 0.9 * head[:3, 2], target, torch.tensor([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(said["pose"], pose.flatten().numpy(), atol=1e-5)
    assert said["fx"] == pytest.approx(480 * 0.9 / 0.36)


@needs_node
def test_dropped_motions_give_the_coefficients_they_hold(node, motion):
    said = node("""
        const read = (name) => readMotion(model, name, fs.readFileSync(name, "utf8"));
        say(["m.csv", "m.json"].map((name) => {
          const motion = read(name);
          return [motion.frames, Array.from(motion.expression(7).coefficients)];
        }));
    """)
    for frames, coefficients in said:
        assert frames == 10
        expected = motion[7].coefficients.numpy()
        np.testing.assert_allclose(coefficients, expected, atol=1e-6)


@needs_node
def test_rotations_in_the_page_are_those_of_core_geometry(node):
    from likeness.core.geometry import se3_exp

    vectors = [[0.3, -1.2, 0.5, 0.1, 0.2, -0.3], [1e-6, 0, 2e-6, 1, 2, 3], [0, 3.1, 0, 0, 0, 0]]
    said = node(f"say({vectors}.map((v) => [algebra.exponential(v), "
                "algebra.axisAngle(algebra.exponential(v))]));")  # fmt: skip
    for vector, (matrix, angle) in zip(vectors, said):
        expected = se3_exp(torch.tensor(vector).double()).flatten().numpy()
        np.testing.assert_allclose(matrix, expected, atol=1e-7)
        np.testing.assert_allclose(angle, vector[:3], atol=1e-7)


@needs_node
def test_the_modules_make_one_script_without_clashing_names(tmp_path):
    (tmp_path / "all.mjs").write_text(script())
    done = subprocess.run(
        ["node", "--check", str(tmp_path / "all.mjs")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "import {" not in script()


def test_the_page_is_one_file_that_asks_nobody_for_anything(tmp_path, avatar, motion):
    note = Note("<b>Ü</b> & co", '"yes"</script>')
    Page().export(avatar, tmp_path / "a.html", moment(motion[0]), note)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<b>Ü</b>" not in text
    assert text.count("</script>") == 3
    assert not re.search(r"(src|href)\s*=\s*[\"']", text)
    assert not re.search(r"\b(fetch|import)\s*\(", text)
    assert "Synthetic media of" in text
    packed = re.search(r'id="model">([^<]*)<', text)[1]
    assert gzip.decompress(base64.b64decode(packed))


def test_an_avatar_with_numbers_that_are_not_finite_gets_no_page(avatar, motion):
    import copy

    broken = copy.deepcopy(avatar)
    with torch.no_grad():
        broken.colour[3] = torch.nan
    with pytest.raises(Unsupported, match="colour"):
        page(payload(broken, motion, Note()), Note())
