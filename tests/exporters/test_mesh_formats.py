import json
import struct

import numpy as np
import pytest
import torch
import trimesh

from likeness.core.geometry import transform
from likeness.exporters.glb import continuous, four_strongest, head_glb
from likeness.exporters.mesh_ply import MeshPly
from likeness.exporters.motion import moment
from likeness.exporters.surface import skinned
from likeness.exporters.wavefront import Wavefront
from likeness.rigs.clay import clay

pytestmark = pytest.mark.usefixtures("few_looks")


def parsed(data):
    length = struct.unpack("<I", data[12:16])[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def rows(document, blob, number):
    """An accessor's values, sparse or not."""
    item = document["accessors"][number]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[item["type"]]
    kinds = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}

    def read(view, kind, count):
        start = document["bufferViews"][view]["byteOffset"]
        return np.frombuffer(blob, kind, count, start)

    if "bufferView" in item:
        kind = kinds[item["componentType"]]
        return read(item["bufferView"], kind, item["count"] * width).reshape(-1, width)
    values = np.zeros((item["count"], width), np.float32)
    if sparse := item.get("sparse"):
        kind = kinds[sparse["indices"]["componentType"]]
        index = read(sparse["indices"]["bufferView"], kind, sparse["count"])
        found = read(sparse["values"]["bufferView"], "<f4", sparse["count"] * width)
        values[index] = found.reshape(-1, width)
    return values


@pytest.fixture(scope="module")
def document(avatar, motion):
    from likeness.exporters.notes import Note

    return parsed(head_glb(skinned(avatar), motion, Note("Ü", "yes"), torch.rand(8, 8, 3)))


def test_the_glb_names_the_52_shapes_and_says_what_it_is(document):
    mesh = document[0]["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(clay().shape_names)
    assert len(mesh["primitives"][0]["targets"]) == 52
    about = document[0]["asset"]["extras"]["likeness"]
    assert about["consent"] == "yes"
    assert "trainedAlgorithmicMedia" in about["digitalSourceType"].replace("Trained", "trained")


def test_morphing_and_skinning_the_glb_gives_the_avatars_own_mesh(avatar, motion, document):
    """The formula of the glTF specification, on the numbers in the file, against ours."""
    about, blob = document
    primitive = about["meshes"][0]["primitives"][0]
    what = motion[3]
    still = torch.zeros_like(what.coefficients)
    for i, name in enumerate(clay().shape_names):
        still[i] = 0 if name.startswith("eyeLook") else what.coefficients[i]
    places = rows(about, blob, primitive["attributes"]["POSITION"]).astype(float)
    for weight, target in zip(still.tolist(), primitive["targets"]):
        places = places + weight * rows(about, blob, target["POSITION"])
    weights = rows(about, blob, primitive["attributes"]["WEIGHTS_0"])
    joints = rows(about, blob, primitive["attributes"]["JOINTS_0"])
    inverse = rows(about, blob, about["skins"][0]["inverseBindMatrices"]).reshape(-1, 4, 4)
    nodes = [about["nodes"][n] for n in about["skins"][0]["joints"]]
    local = [np.eye(4)]
    from likeness.core.geometry import axis_angle_to_matrix

    for i, node in enumerate(nodes[1:]):
        m = np.eye(4)
        m[:3, :3] = axis_angle_to_matrix(what.joints[i]).numpy()
        m[:3, 3] = node["translation"]
        local.append(m)
    whole = np.concatenate([places, np.ones((len(places), 1))], 1)
    moved = np.zeros_like(whole)
    for slot in range(4):
        motions = np.stack([m @ b.T for m, b in zip(local, inverse)])[joints[:, slot]]
        moved += weights[:, slot : slot + 1] * np.einsum("vrc,vc->vr", motions, whole)
    world = transform(what.world_from_head, torch.from_numpy(moved[:, :3]).float())
    from dataclasses import replace

    ours = avatar.mesh(replace(what, coefficients=still)).vertices[skinned(avatar).source]
    assert (world - ours).abs().max() < 2e-5


def test_the_clip_holds_every_frame(document, motion):
    about, blob = document
    clip = about["animations"][0]
    samplers = {c["target"]["path"]: clip["samplers"][c["sampler"]] for c in clip["channels"][:2]}
    weights = rows(about, blob, samplers["weights"]["output"]).reshape(10, 52)
    np.testing.assert_allclose(weights, motion.expressions.coefficients.numpy())
    assert rows(about, blob, samplers["weights"]["input"])[-1, 0] == pytest.approx(9 / 25)


def test_quaternions_of_a_clip_never_jump_to_the_other_side():
    turns = torch.tensor([[0.9, 0.1, 0, 0], [-0.9, -0.2, 0, 0], [-0.9, -0.1, 0, 0]])
    assert (continuous(turns)[:, 3] > 0).all()


def test_four_weights_sum_to_one_with_the_rest_on_the_head():
    weights, joints = four_strongest(torch.tensor([[0.25, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(weights.sum(-1), torch.ones(3))
    assert joints[2].tolist() == [0, 0, 0, 0]
    assert weights[0, :2].tolist() == [0.75, 0.25]


def test_trimesh_opens_our_glb_obj_and_ply(tmp_path, avatar, motion, note):
    surface = skinned(avatar)
    (tmp_path / "a.glb").write_bytes(head_glb(surface, moment(motion[0]), note))
    scene = trimesh.load(tmp_path / "a.glb", process=False)
    assert sum(len(g.faces) for g in scene.geometry.values()) == len(surface.triangles)
    one = moment(motion[0])
    Wavefront(texture=32).export(avatar, tmp_path / "ä b.obj", one, note)
    found = trimesh.load(tmp_path / "ä b.obj", process=False)
    assert len(found.faces) == len(surface.triangles)
    MeshPly().export(avatar, tmp_path / "a.ply", one, note)
    plain = trimesh.load(tmp_path / "a.ply", process=False)
    expected = avatar.mesh(motion[0]).vertices.numpy()
    np.testing.assert_allclose(plain.vertices, expected, atol=1e-6)
