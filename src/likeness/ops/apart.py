"""How far a person who is drawn before a backdrop is from a frame of the recording."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from likeness.core.errors import BadInput
from likeness.ops.image import l1_dssim
from likeness.ops.twins import one_place, pick


@dataclass(frozen=True, eq=False)
class Apart:
    """Four figures, each a mean over pixels: the `picture` against the frame (L1 and structure,
    weighed); what is `behind` against the frame where nobody is; alpha against the `matte`; and
    alpha of what is `floating` where nobody is."""

    picture: Float[Tensor, ""]
    behind: Float[Tensor, ""]
    matte: Float[Tensor, ""]
    floating: Float[Tensor, ""]


def apart(
    person: Float[Tensor, "H W C"],
    alpha: Float[Tensor, "H W"],
    behind: Float[Tensor, "H W C"],
    frame: Float[Tensor, "H W C"],
    matte: Float[Tensor, "H W"],
    weight: Float[Tensor, "H W"],
    structure: float,
    nobody: float,
) -> Apart:
    """Compare a premultiplied `person` before what is `behind` with a `frame` and its matte.

    `structure` is the share of the structural term (see `ops.image`); there is nobody where the
    matte is below `nobody`. Gradients reach the person, alpha and what is behind.
    """
    for name, value in (("person", person), ("backdrop", behind)):
        _fits(name, value[..., 0], frame)
    for name, value in (("alpha", alpha), ("matte", matte), ("weight", weight)):
        _fits(name, value, frame)
    one_place(person, alpha, behind, frame, matte, weight)
    twin = pick(_apart, person.device.type)
    return Apart(*twin(person, alpha, behind, frame, matte, weight, structure, nobody))


def _apart(
    person: Tensor,
    alpha: Tensor,
    behind: Tensor,
    frame: Tensor,
    matte: Tensor,
    weight: Tensor,
    structure: float,
    nobody: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    empty = matte < nobody
    return (
        l1_dssim(person + (1 - alpha[..., None]) * behind, frame, structure, weight),
        ((behind - frame).abs() * empty[..., None]).mean(),
        (alpha - matte).abs().mean(),
        (alpha * empty).mean(),
    )


def _fits(name: str, plane: Tensor, frame: Tensor) -> None:
    if plane.shape != frame.shape[:2]:
        raise BadInput(f"The {name} has {tuple(plane.shape)}, its frame {tuple(frame.shape)}.")
