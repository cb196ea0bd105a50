"""How lids follow a person's eyes: shut they meet, whatever the eyes' opening, over the eyeball."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

_LEAST = 0.05  # cosine between a triangle before and after; 0 stands on its edge
_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Lids:
    """What a rig's eye shapes owe to the opening they were made for. Constants, left eye first.

    `vertices` are the skin around each eye, `rest` their places on the template, `triangles` lie
    between them (places in `vertices`); `balls` are the vertices of the eyeballs. `shapes` are
    the shapes that move lids, a blink first, and `basis` what they do here. `meeting` says by how
    much a blink falls short of the lower lid, per displacement of this skin at rest. `clear` is
    how far skin at rest stays from the middle of the eyeball at least (0 behind the lids), and
    `over` the same at each of `SHARES` of each shape.
    """

    SHARES: ClassVar[tuple[float, ...]] = (0.5, 1.0)

    vertices: Int[Tensor, "2 Z"]
    rest: Float[Tensor, "2 Z 3"]
    triangles: Int[Tensor, "T 3"]
    balls: Int[Tensor, "2 B"]
    ball_rest: Float[Tensor, "2 B 3"]
    centres: Float[Tensor, "2 3"]
    shapes: Int[Tensor, "2 S"]
    basis: Float[Tensor, "2 S Z 3"]
    meeting: Float[Tensor, "2 Z Z"]
    clear: Float[Tensor, "2 Z"]
    over: Float[Tensor, "2 K S Z"]

    def seated(self, rest: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
        """A person whose eyeballs lie far enough back for their lids to lie over them.

        Landmarks hardly tell depth: fitted lids may lie a millimetre inside the eyeball.
        """
        away = rest[self.vertices] - self._middles(rest)[:, None]
        across = self.clear.square() - away[..., :2].square().sum(-1)
        back = torch.where(across > 0, across.clamp(min=1e-12).sqrt() - away[..., 2], 0.0)
        back = back.amax(-1).clamp(min=0)
        shift = torch.zeros_like(rest[self.balls])
        shift[..., 2] = -back[:, None]
        return rest.index_add(0, self.balls.flatten(), shift.flatten(0, 1))

    def fitted(self, rest: Float[Tensor, "V 3"]) -> Float[Tensor, "2 S Z 3"]:
        """What to add to the rig's eye shapes for a person whose eyeballs are seated."""
        here, middles = rest[self.vertices][:, None], self._middles(rest)[:, None, None]
        blink = self.meeting @ (here[:, 0] - self.rest)
        moved = torch.cat([self.basis[:, :1] + blink[:, None], self.basis[:, 1:]], 1)
        still = torch.maximum((here - middles).norm(dim=-1), self.clear[:, None])
        for share, least in zip(self.SHARES, self.over.unbind(1), strict=True):
            away = here + share * moved - middles
            least = torch.minimum(least, still)
            short = (least / away.norm(dim=-1).clamp(min=1e-6) - 1).clamp(min=0)
            moved = moved + short[..., None] * away / share
        return self._untangled(here, moved) - self.basis

    def added(
        self, shapes: Float[Tensor, "E V 3"], rest: Float[Tensor, "V 3"]
    ) -> Float[Tensor, "E V 3"]:
        """All shapes of a person, eye shapes fitted."""
        at = self.shapes[:, :, None].expand(-1, -1, self.vertices.shape[1])
        on = self.vertices[:, None].expand_as(at)
        return shapes.index_put((at, on), self.fitted(rest), accumulate=True)

    def moved(
        self,
        vertices: Float[Tensor, "*b V 3"],
        coefficients: Float[Tensor, "*b E"],
        rest: Float[Tensor, "V 3"],
    ) -> Float[Tensor, "*b V 3"]:
        """Vertices that the rig's own shapes displaced, brought to where the fitted ones do."""
        share = coefficients[..., self.shapes]
        more = torch.einsum("...ks,kszc->...kzc", share, self.fitted(rest)).flatten(-3, -2)
        return vertices.index_add(-2, self.vertices.flatten(), more)

    def _untangled(self, here: Tensor, moved: Tensor) -> Tensor:
        """Corners of needles that would turn inside out go together."""
        before = _normals(here, self.triangles)
        for _ in range(_ROUNDS):
            after = _normals(here + moved, self.triangles)
            turned = ((before * after).sum(-1) < _LEAST).nonzero().tolist()
            if not turned:
                break
            moved = moved.clone()
            for eye, shape, triangle in turned:
                corners = self.triangles[triangle]
                moved[eye, shape, corners] = moved[eye, shape, corners].mean(0)
        return moved

    def _middles(self, rest: Tensor) -> Tensor:
        return self.centres + (rest[self.balls] - self.ball_rest).mean(1)


def _normals(places: Tensor, triangles: Tensor) -> Tensor:
    a, b, c = places[..., triangles, :].unbind(-2)
    return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=1e-20)
