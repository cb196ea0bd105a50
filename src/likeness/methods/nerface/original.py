"""What the authors' program reads and writes: YAML configs and `.ckpt` checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from likeness.core.errors import BadInput, Unsupported
from likeness.core.expression import Expression
from likeness.core.rig import Identity
from likeness.methods.nerface.avatar import NerfaceAvatar
from likeness.methods.nerface.method import PUBLISHED, Nerface
from likeness.methods.nerface.network import Field
from likeness.nn.subject import Subject

RIG = "nerface76"
_MODEL = "ConditionalBlendshapePaperNeRFModel"
_UNUSED = "layers_dir.3."  # a layer that exists in every file and is never asked


def read_config(path: str | Path) -> dict[str, Any]:
    """A config of nested keys and plain values, which is all of YAML that these files use."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as a config ({error}).") from error
    root: dict[str, Any] = {}
    open_blocks: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    for number, line in enumerate(lines, 1):
        text = line.split(" #")[0].rstrip()
        if not text.strip() or text.lstrip().startswith("#") or text.strip() == "---":
            continue
        key, colon, value = text.strip().partition(":")
        if not colon:
            raise BadInput(f"{path}, line {number}: {text.strip()!r} is no `key: value`.")
        depth = len(text) - len(text.lstrip())
        while open_blocks[-1][0] >= depth:
            open_blocks.pop()
        block = open_blocks[-1][1]
        if value.strip():
            block[key] = plain(value.strip())
        else:
            block[key] = {}
            open_blocks.append((depth, block[key]))
    return root


def plain(text: str) -> Any:
    """A YAML scalar."""
    words = {"true": True, "false": False, "null": None, "~": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip("\"'")


def settings_of(config: dict[str, Any], direction: str = "released") -> Nerface:
    """The settings that a config asks for. Its checkpoints want `released` directions, unless the
    program was repaired before training."""
    model = config.get("models", {}).get("coarse", {})
    kind = model.get("type", _MODEL)
    if kind != _MODEL:
        raise Unsupported(f"The config's model is {kind!r}; only {_MODEL!r} is read.")
    for key in ("include_input_xyz", "log_sampling_xyz", "log_sampling_dir"):
        if model.get(key, True) is not True:
            raise Unsupported(f"The config sets {key} to {model[key]!r}; only True is read.")
    data, run = config.get("dataset", {}), config.get("nerf", {}).get("train", {})
    if data.get("no_ndc") is False:
        raise Unsupported("The config asks for NDC rays (no_ndc: False), which heads do not fit.")
    schedule = config.get("scheduler", {})
    return replace(
        Nerface(**PUBLISHED),
        steps=int(config.get("experiment", {}).get("train_iters", 400_000)),
        rays=int(run.get("num_random_rays", 2048)),
        coarse=int(run.get("num_coarse", 64)),
        fine=int(run.get("num_fine", 64)) if "fine" in config.get("models", {}) else 0,
        width=256,
        colour_width=128,
        octaves=int(model.get("num_encoding_fn_xyz", 10)),
        direction_octaves=int(model.get("num_encoding_fn_dir", 4)),
        direction_given=bool(model.get("include_input_dir", False)),
        near=float(data.get("near", 0.2)),
        far=float(data.get("far", 0.8)),
        noise=float(run.get("radiance_field_noise_std", 0.1)),
        rate=float(config.get("optimizer", {}).get("lr", 5e-4)),
        decay=float(schedule.get("lr_decay_factor", 0.1)),
        decay_steps=1000 * int(schedule.get("lr_decay", 250)),
        direction=direction,
        inverse=bool(run.get("lindisp", False)),
        clamp=False,
        mask=0.0,
        torso=False,
        learn_backdrop=False,
    )


def read_checkpoint(path: str | Path, settings: Nerface) -> NerfaceAvatar:
    """The avatar in a `.ckpt` file. Nothing in the file is run."""
    path = Path(path)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error
    except Exception as error:  # torch raises many kinds for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path} is not a whole checkpoint ({reason}). Copy it again.") from error
    if not isinstance(held, dict) or "model_coarse_state_dict" not in held:
        raise BadInput(f"{path} is no NeRFace checkpoint: it has no 'model_coarse_state_dict'.")
    first = _field(held["model_coarse_state_dict"], settings, path)
    fine = held.get("model_fine_state_dict")
    second = None if fine is None or settings.fine == 0 else _field(fine, settings, path)
    codes = held.get("latent_codes")
    codes = torch.zeros(1, settings.codes) if codes is None else codes.float()
    backdrop = held.get("background")
    backdrop = torch.zeros(0, 0, 3) if backdrop is None else backdrop.float()
    width = first.shape.condition - codes.shape[1]
    subject = _stranger(width)
    frame = torch.zeros(3), torch.tensor(1.0)
    return NerfaceAvatar(settings.drawing(), subject, first, second, codes, backdrop, *frame)


def _field(state: dict[str, Tensor], settings: Nerface, path: Path) -> Field:
    weights = {k: v.float() for k, v in state.items() if not k.startswith(_UNUSED)}
    first = weights.get("layers_xyz.0.weight")
    places = 3 + 6 * settings.octaves
    if first is None or first.shape[1] <= places:
        raise BadInput(f"{path} holds no field of {_MODEL}. Was it trained with another model?")
    field = Field(settings.shape(first.shape[1] - places))
    try:
        field.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise BadInput(f"{path} does not fit its config: {reason}") from error
    return field


def _stranger(width: int) -> Subject:
    """A subject of whom only the number of coefficients is known."""
    endless = torch.full((width,), torch.inf)
    pose = torch.eye(4)
    still = Expression(RIG, torch.zeros(width), torch.zeros(0, 3), pose)
    return Subject(RIG, Identity(RIG, torch.zeros(0)), still, -endless, endless)
