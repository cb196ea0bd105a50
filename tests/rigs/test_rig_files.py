"""Head models from files: partial, damaged, hostile, or absent."""

import json
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.core.errors import BadInput, Missing
from likeness.rigs.flame import flame, read_model
from likeness.rigs.flame_teeth import with_teeth
from likeness.rigs.ict import ict, missing_shapes
from likeness.rigs.wavefront import read_wavefront

MODEL = Path(__file__).parent.parent / "parity" / "flame" / "generic_model_V200.npz"


@pytest.fixture
def tables():
    with np.load(MODEL) as archive:
        return {name: archive[name] for name in archive.files}


def _pickled(tmp_path, value, name="model.pkl"):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(value, protocol=2))
    return path


def test_a_pickle_and_an_archive_give_one_rig(tmp_path, tables):
    from scipy.sparse import csc_matrix

    sparse = {**tables, "J_regressor": csc_matrix(tables["J_regressor"])}
    one, other = flame(_pickled(tmp_path, sparse)), flame(MODEL)
    torch.testing.assert_close(one.joint_weights, other.joint_weights)
    assert torch.equal(one.shape_basis, other.shape_basis)


def test_chumpy_arrays_and_selections_are_read_without_chumpy(tmp_path, tables, monkeypatch):
    module = types.ModuleType("chumpy")
    for name in ("Ch", "Select"):
        kind = type(name, (), {"__module__": "chumpy"})
        setattr(module, name, kind)
    monkeypatch.setitem(sys.modules, "chumpy", module)
    shapes, template = module.Ch(), module.Select()  # type: ignore[attr-defined]
    shapes.x = tables["shapedirs"]
    source = module.Ch()  # type: ignore[attr-defined]
    source.x = np.concatenate([tables["v_template"], np.zeros((4, 3), np.float32)])
    template.a, template.idxs, template.preferred_shape = source, np.arange(600), (200, 3)
    path = _pickled(tmp_path, {**tables, "shapedirs": shapes, "v_template": template})
    monkeypatch.delitem(sys.modules, "chumpy")
    found = read_model(path)
    assert (found["v_template"] == tables["v_template"]).all()
    assert (found["shapedirs"] == tables["shapedirs"]).all()


def test_a_pickle_that_would_run_a_command_is_refused_and_does_not(tmp_path):
    sign = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {sign}",)

    with pytest.raises(BadInput, match="refuses"):
        flame(_pickled(tmp_path, Hostile()))
    assert not sign.exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.9])
def test_a_truncated_pickle_is_refused(tmp_path, tables, share):
    path = _pickled(tmp_path, tables)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BadInput):
        flame(path)


@pytest.mark.parametrize(
    ("key", "spoil", "words"),
    [
        ("weights", lambda a: a[:, :4], "'weights' of shape"),
        ("v_template", lambda a: a * np.nan, "not finite"),
        ("f", lambda a: a + 500, "beyond its 200 vertices"),
        ("posedirs", lambda a: np.array(["x"]), "not numbers"),
        ("kintree_table", lambda a: a[:, ::-1], "another order"),
    ],
)
def test_tables_of_wrong_shape_or_value_are_named(tmp_path, tables, key, spoil, words):
    with pytest.raises(BadInput, match=words):
        flame(_pickled(tmp_path, {**tables, key: spoil(tables[key])}))


def test_a_missing_flame_says_how_to_come_by_it():
    with pytest.raises(Missing, match="fetch it yourself"):
        flame()


def test_lids_beside_the_model_become_two_more_shapes(tmp_path, tables):
    for side, value in (("l", 1.0), ("r", 2.0)):
        np.save(tmp_path / f"{side}_eyelid.npy", np.full((200, 3), value))
    rig = flame(_pickled(tmp_path, tables))
    assert rig.shape_names[-2:] == ("eyelid_left", "eyelid_right")
    assert (rig.shape_basis[-1] == 2).all()


def test_a_toothed_head_bends_without_a_joint_moving():
    bare = flame(MODEL)
    toothed = with_teeth(bare, tuple(range(15)), tuple(range(15, 30)))
    expression = bare.neutral()
    expression.joints[1, 0] = 0.3
    with_, without = toothed.pose(toothed.rest(), expression), bare.pose(bare.rest(), expression)
    torch.testing.assert_close(with_.vertices[:200], without.vertices)
    assert (with_.vertices[-120:] - toothed.template[-120:]).abs().max() > 0


def _kit(folder, shapes=("jawOpen", "browInnerUp_L", "browInnerUp_R", "cheekPuff_L")):
    """A square of four vertices; every shape lifts it by 1 cm."""
    folder.mkdir()

    def write(name, lift):
        corners = [(-2, 0), (2, 0), (2, 2), (-2, 2)]
        lines = [f"v {x} {y} {lift}" for x, y in corners] + ["vt 0 0", "vt 1 0", "vt 1 1"]
        lines += ["usemtl M_Face", "f 1/1 2/2 3/3 4/1"]
        (folder / f"{name}.obj").write_text("\n".join(lines))

    write("generic_neutral_mesh", 0)
    for name in (*shapes, "identity000"):
        write(name, 1)
    corners = [0] * 68
    corners[45] = 1
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": corners}))
    return folder


def test_a_partial_kit_reports_what_it_lacks_and_invents_nothing(tmp_path, caplog):
    rig = ict(_kit(tmp_path / "kit"))
    assert set(rig.shape_names) == {"jawOpen", "browInnerUp"}
    assert "cheekPuff" in caplog.text
    assert missing_shapes(tmp_path / "kit")["cheekPuff"] == ("cheekPuff_R.obj",)


def test_a_kit_comes_out_in_metres_with_halves_summed_and_the_origin_between_the_eyes(tmp_path):
    rig = ict(_kit(tmp_path / "kit"))
    assert rig.template[0].tolist() == pytest.approx([-0.02, 0, 0])
    lift = rig.shape_basis[:, :, 2]
    assert lift[rig.shape_names.index("jawOpen")].tolist() == pytest.approx([0.01] * 4)
    assert lift[rig.shape_names.index("browInnerUp")].tolist() == pytest.approx([0.02] * 4)
    torch.testing.assert_close(rig.pose(rig.rest(), rig.neutral()).vertices, rig.template)


def test_a_shape_of_another_kit_is_refused(tmp_path):
    kit = _kit(tmp_path / "kit")
    (kit / "jawOpen.obj").write_text("v 0 0 0\nv 1 1 1\n")
    with pytest.raises(BadInput, match="has 2 vertices"):
        ict(kit)


@pytest.mark.parametrize(
    "text", ["v 1 2\nf 1 1 1", "v a b c", "v 0 0 0\nf 1 2 3", "v 0 0 nan\n", "v 0 0 0\nf x y z"]
)
def test_damaged_meshes_are_refused(tmp_path, text):
    (tmp_path / "bad.obj").write_text(text)
    with pytest.raises(BadInput):
        read_wavefront(tmp_path / "bad.obj")
