"""What faces do before one looks: how far each named shape usually goes, and both sides together.

Landmarks alone leave many ways to say one mouth: a smile is nearly a dimple, a stretch and a
squint. Talking people open their jaws, purse and smile; they hardly ever shove the jaw sideways.
"""

import torch
from jaxtyping import Float
from torch import Tensor

# Usual strength (root mean square over talking faces); shapes not named here have `_OTHER`.
_USUAL = {
    "jawOpen": 0.30, "jawForward": 0.08, "jawLeft": 0.06, "jawRight": 0.06, "mouthClose": 0.10,
    "mouthFunnel": 0.30, "mouthPucker": 0.35, "mouthLeft": 0.08, "mouthRight": 0.08,
    "mouthSmile": 0.30, "mouthFrown": 0.15, "mouthDimple": 0.12, "mouthStretch": 0.20,
    "mouthRollLower": 0.25, "mouthRollUpper": 0.12, "mouthShrugLower": 0.12,
    "mouthShrugUpper": 0.12, "mouthPress": 0.25, "mouthLowerDown": 0.25, "mouthUpperUp": 0.20,
    "browDown": 0.30, "browInnerUp": 0.35, "browOuterUp": 0.30, "cheekPuff": 0.10,
    "cheekSquint": 0.20, "noseSneer": 0.12, "tongueOut": 0.03, "eyeSquint": 0.15, "eyeWide": 0.12,
}  # fmt: skip
_OTHER = 0.29
_SIDES = 0.10  # by how much the two sides of a face usually differ
_ALONE = ("eyeLook", "eyeBlink", "jaw", "mouthLeft", "mouthRight")  # those that take sides


def usual_pull(names: tuple[str, ...]) -> Float[Tensor, "E E"]:
    """The inverse covariance of named shapes: a pull to rest, and one of each side to the other."""
    pull = torch.zeros(len(names), len(names))
    for i, name in enumerate(names):
        stem = name.removesuffix("Left").removesuffix("Right")
        pull[i, i] += _USUAL.get(name, _USUAL.get(stem, _OTHER)) ** -2
        other = f"{stem}Right"
        if name.endswith("Left") and other in names and not name.startswith(_ALONE):
            j = names.index(other)
            tie = _SIDES**-2
            pull[i, i] += tie
            pull[j, j] += tie
            pull[i, j] -= tie
            pull[j, i] -= tie
    return pull
