"""NeRFBlendShape against recorded numbers, and its checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch

from likeness.captures import open_capture
from likeness.core.batching import take
from likeness.core.camera import pixel_grid
from likeness.core.errors import BadInput
from likeness.methods.nerfblendshape.avatar import HALF, BlendAvatar, Rays
from likeness.methods.nerfblendshape.original import read_checkpoint
from likeness.methods.nerfblendshape.patches import patch_pixels
from likeness.methods.nerfblendshape.unit import unit

PARITY = Path(__file__).parents[1] / "parity" / "nerfblendshape"


def recorded(name: str) -> dict[str, torch.Tensor]:
    with np.load(PARITY / f"{name}.npz") as file:
        return {k: torch.from_numpy(file[k]) for k in file.files}


def model_of(r: dict[str, torch.Tensor], table: int) -> dict[str, torch.Tensor]:
    """A state dict as the authors' program names it, with one base that is zero."""
    bits = np.unpackbits(r["occupied"].numpy())[: 129**3]
    return {
        "density_grid": torch.from_numpy(bits.reshape(129, 129, 129)).float(),
        "step_counter": torch.zeros(64, 2, dtype=torch.int32),
        "encoder.embeddings_mean": r["tables"][table][None],
        "encoder.embeddings": torch.zeros_like(r["tables"][:1]),
        "encoder.offsets": r["offsets"],
        "sigma_net.params": r["sigma_net"],
        "encoder_dir.params": torch.zeros(0),
        "color_net.params": r["color_net"],
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder, r = tmp_path_factory.mktemp("blend"), recorded("network_mixed")
    paths = [folder / f"ngp_{n}.pth.tar" for n in ("0", "1")]
    for table, path in enumerate(paths):
        whole = {"epoch": 3, "global_step": 9, "mean_density": 1.0, "model": model_of(r, table)}
        torch.save(whole, path)
    return paths


def test_points_have_the_recorded_density_and_colour(files):
    r = recorded("network_mixed")
    _, avatar = read_checkpoint(files[0])
    with torch.no_grad():
        density, colour = avatar.field(unit(r["x"], avatar.box), r["dirs"], torch.ones(1, 1))
    torch.testing.assert_close(density, r["sigma"], atol=0.1, rtol=1e-4)
    torch.testing.assert_close(colour, r["rgb"], atol=1e-4, rtol=0)


def test_a_picture_is_as_recorded(files):
    r = recorded("network_mixed")
    settings, avatar = read_checkpoint(files[1])
    assert (settings.levels, settings.log2_size, settings.cells) == (16, 8, 128)
    origins = r["rays_o"].expand(1024, 3).contiguous()
    rays = Rays(origins, r["rays_d"], torch.zeros(1024, dtype=torch.long))
    seen = avatar.draw(rays, torch.zeros(1, 1))
    image = seen.values + (1 - seen.opacity[:, None])
    torch.testing.assert_close(image.view(32, 32, 3), r["image"], atol=5e-4, rtol=0)
    torch.testing.assert_close(seen.opacity.view(32, 32), r["weights_sum"], atol=5e-4, rtol=0)
    torch.testing.assert_close(seen.depth.view(32, 32), r["depth_raw"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("columns", "name"), [("intended", "integer_rows"), ("released", "original")]
)
def test_patches_lie_where_they_were_recorded(columns, name):
    r = recorded("patch_sampling")
    draws = torch.stack([r["rand_h"], r["rand_w"]])
    found = patch_pixels(r["rect"].long(), draws, (512, 512), columns)
    assert torch.equal(found, r[f"select_inds_{name}"].long())


def test_rays_of_a_users_data_set_are_as_recorded(files):
    capture = open_capture(PARITY / "id1")
    assert capture.track is not None
    track, r = capture.track, recorded("dataset_expected")
    _, avatar = read_checkpoint(files[0])
    camera, expression = take(track.cameras, 1), take(track.expressions, 1)
    rays = avatar.rays(camera, expression, pixel_grid(camera))
    torch.testing.assert_close(rays.origins.double(), r["frame1_rays_o"], atol=1e-6, rtol=0)
    torch.testing.assert_close(rays.directions.double(), r["frame1_rays_d"], atol=2e-6, rtol=0)


def test_an_avatar_is_whole_in_its_state(files):
    settings, avatar = read_checkpoint(files[0])
    again = settings.restore(avatar.state_dict())
    assert isinstance(again, BlendAvatar)
    assert all(torch.equal(v, avatar.state_dict()[k]) for k, v in again.state_dict().items())
    assert float(again.box[1, 0]) == pytest.approx(HALF)


def test_what_is_no_checkpoint_of_it_is_refused(tmp_path, files):
    torch.save({"model": {"weights": torch.zeros(3)}}, tmp_path / "other.pth.tar")
    with pytest.raises(BadInput, match="no NeRFBlendShape checkpoint"):
        read_checkpoint(tmp_path / "other.pth.tar")
    (tmp_path / "cut.pth.tar").write_bytes(files[0].read_bytes()[:9000])
    with pytest.raises(BadInput, match="not a whole checkpoint"):
        read_checkpoint(tmp_path / "cut.pth.tar")
