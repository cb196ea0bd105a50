"""NeRFace against recorded outputs of the original implementation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from likeness.captures import open_capture
from likeness.core.batching import take
from likeness.core.camera import Camera, pixel_grid
from likeness.core.errors import BadInput, Unsupported
from likeness.core.expression import Expression
from likeness.methods.nerface.method import Nerface, length, pixel_weights
from likeness.methods.nerface.original import RIG, read_checkpoint, read_config, settings_of
from likeness.methods.nerface.rendering import Rays, look_twice

PARITY = Path(__file__).parents[1] / "parity" / "nerface"
CONFIG = PARITY / "person_tiny" / "person_tiny_config.yml"


def recorded(name: str) -> dict[str, torch.Tensor]:
    with np.load(PARITY / f"{name}.npz") as file:
        return {k: torch.from_numpy(file[k]) for k in file.files}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A file of the original layout, from the recorded weights."""
    held = load_file(PARITY / "network_weights_fp16.safetensors")

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): v.float() for k, v in held.items() if k.startswith(prefix)}

    path = tmp_path_factory.mktemp("nerface") / "checkpoint400000.ckpt"
    torch.save(
        {
            "iter": 400000,
            "model_coarse_state_dict": part("coarse."),
            "model_fine_state_dict": part("fine."),
            "optimizer_state_dict": {"state": {}, "param_groups": []},
            "loss": torch.tensor(0.1),
            "psnr": 20.0,
            "background": held["background"].float(),
            "latent_codes": held["latent_codes"].float(),
        },
        path,
    )
    return path


def settings(direction: str = "released") -> Nerface:
    return settings_of(read_config(CONFIG), direction)


def camera_of(r: dict[str, torch.Tensor]) -> Camera:
    height, width = int(r["H"]), int(r["W"])
    fx, fy, cx, cy = r["intrinsics"].float().tolist()
    k = torch.tensor([[fx, 0, cx * width + 0.5], [0, fy, cy * height + 0.5], [0, 0, 1]])
    turned = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    return Camera(k, turned @ torch.linalg.inv(r["pose"]), width, height)


def saying(r: dict[str, torch.Tensor]) -> Expression:
    return Expression(RIG, r["expression"].float(), torch.zeros(0, 3), torch.eye(4))


def test_a_config_gives_the_settings_it_names():
    found = settings()
    assert (found.steps, found.rays, found.coarse, found.fine) == (12, 128, 64, 64)
    assert (found.near, found.far, found.decay_steps) == (0.2, 0.8, 250_000)


def test_both_fields_answer_as_recorded(checkpoint):
    avatar, r = read_checkpoint(checkpoint, settings()), recorded("network")
    condition = torch.cat([r["expression"] / 3, r["latent"]]).float()
    for field, name in ((avatar.coarse, "coarse"), (avatar.fine, "fine")):
        colour, density = field(r["positions"][:, None], r["dirs"], condition)
        raw = torch.cat([colour[:, 0], density], -1)
        torch.testing.assert_close(raw, r[f"{name}_raw"], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("direction", ["released", "unit"])
def test_a_picture_is_as_recorded(checkpoint, direction):
    avatar = read_checkpoint(checkpoint, settings(direction))
    r = recorded(f"render_16x16_{direction}")
    rays = avatar.rays(camera_of(r), saying(r), pixel_grid(camera_of(r)))
    torch.testing.assert_close(
        rays.seen_from, r["direction_input"].view(-1, 3), atol=1e-6, rtol=1e-5
    )
    with torch.no_grad():
        condition = avatar.condition(saying(r), r["latent"].float())
        first, second = look_twice(
            avatar.coarse, avatar.fine, rays, condition, r["background"].view(-1, 3), (64, 64)
        )
    close = {"atol": 1e-4, "rtol": 0}
    torch.testing.assert_close(first.rgb, r["rgb_coarse"].view(-1, 3), **close)
    torch.testing.assert_close(second.rgb, r["rgb_fine"].view(-1, 3), **close)
    torch.testing.assert_close(second.behind, r["weight_bg_fine"].view(-1), **close)
    shown = r["ray_select"].long()
    torch.testing.assert_close(first.composite.weights[shown], r["weights_coarse"], **close)
    torch.testing.assert_close(second.z[shown], r["z_fine"], atol=1e-3, rtol=0)


def test_a_picture_without_code_and_one_without_backdrop_are_as_recorded(checkpoint):
    avatar, r = read_checkpoint(checkpoint, settings()), recorded("render_16x16_released")
    rays = avatar.rays(camera_of(r), saying(r), pixel_grid(camera_of(r)))
    for name, code, backdrop in (
        ("zero_latent", torch.zeros(32), r["background"].view(-1, 3)),
        ("no_background", r["latent"].float(), None),
    ):
        expected = recorded(f"render_16x16_released_{name}")
        with torch.no_grad():
            condition = avatar.condition(saying(r), code)
            _, seen = look_twice(avatar.coarse, avatar.fine, rays, condition, backdrop, (64, 64))
        torch.testing.assert_close(seen.rgb, expected["rgb_fine"].view(-1, 3), atol=1e-4, rtol=0)


def test_the_avatar_draws_the_recorded_picture_itself(checkpoint):
    r = recorded("render_16x16_released")
    avatar = read_checkpoint(checkpoint, replace(settings(), latent="1"))
    picture = avatar.render(camera_of(r), saying(r))
    torch.testing.assert_close(picture.over(r["background"]), r["rgb_fine"], atol=1e-4, rtol=0)
    torch.testing.assert_close(1 - picture.alpha, r["weight_bg_fine"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("direction", ["released", "unit"])
def test_a_training_step_is_as_recorded(checkpoint, direction):
    method, r = settings(direction), recorded(f"train_step_{direction}")
    avatar = read_checkpoint(checkpoint, method)
    d = r["ray_directions"]
    near, far = torch.full((48,), 0.2), torch.full((48,), 0.8)
    seen = torch.stack([d[:, 2], near, far], -1)
    if direction == "unit":
        seen = torch.nn.functional.normalize(d, dim=-1)
    rays = Rays(r["ray_origins"], d, seen, near, far)
    code = avatar.codes[int(r["frame_index"])]
    first, second = look_twice(
        avatar.coarse, avatar.fine, rays, avatar.condition(saying(r), code), r["background"],
        (64, 64),
    )  # fmt: skip
    losses = [(x.rgb - r["target"]).square().mean() for x in (first, second)]
    optimizer = method.optimizer(avatar)
    (losses[0] + losses[1] + method.code_weight * length(code)).backward()
    torch.testing.assert_close(losses[0], r["loss_coarse"], atol=1e-6, rtol=0)
    torch.testing.assert_close(losses[1], r["loss_fine"], atol=1e-6, rtol=0)
    close = {"atol": 1e-7, "rtol": 1e-3}
    torch.testing.assert_close(avatar.codes.grad, r["grad_latent_codes"], **close)
    torch.testing.assert_close(
        avatar.fine.fc_alpha.weight.grad, r["grad_fine_fc_alpha_weight"], **close
    )
    torch.testing.assert_close(
        avatar.fine.layers_xyz[0].weight.grad[:4],
        r["grad_fine_layers_xyz_0_weight_first4rows"],
        **close,
    )
    optimizer.step()
    torch.testing.assert_close(avatar.codes.data, r["after_latent_codes"], atol=2e-6, rtol=0)
    after = r["after_coarse_fc_rgb_bias"]
    torch.testing.assert_close(avatar.coarse.fc_rgb.bias.data, after, atol=2e-6, rtol=0)


def test_pixels_are_drawn_as_intended_or_as_released():
    r = recorded("ray_importance")
    box = tuple(r["bbox"].tolist())
    for sampling, name in (("intended", "intended"), ("released", "effective")):
        weights = pixel_weights(6, 8, box, 0.9, sampling)
        torch.testing.assert_close(weights, r[f"{name}_probability"], atol=1e-12, rtol=0)


def test_a_users_data_set_and_checkpoint_draw_together(checkpoint):
    capture = open_capture(PARITY / "person_tiny")
    assert capture.track is not None
    avatar = read_checkpoint(checkpoint, settings())
    camera, expression = take(capture.track.cameras, 1), take(capture.track.expressions, 1)
    picture = avatar.render(camera, expression)
    assert 0.02 < float(picture.alpha.mean()) < 0.98


def test_what_is_no_checkpoint_or_another_model_is_refused(tmp_path, checkpoint):
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(BadInput, match="not a whole checkpoint"):
        read_checkpoint(broken, settings())
    with pytest.raises(Unsupported, match="only"):
        settings_of({"models": {"coarse": {"type": "OtherModel"}}})
    with pytest.raises(Unsupported, match="76 coefficients"):
        r = recorded("render_16x16_released")
        short = replace(saying(r), coefficients=torch.zeros(50))
        read_checkpoint(checkpoint, settings()).render(camera_of(r), short)
