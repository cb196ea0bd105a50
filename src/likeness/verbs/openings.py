"""Whether lids and lips are as far open in a render as in the recording.

MediaPipe's face mesh looks at both pictures, enlarged in the same square. The lid gap is the mean
of three pairs of points over the eye's width, the lip gap the mean of three pairs of the inner lips
over the distance of the outer eye corners in the recording. A frame is right when they differ by
no more than the tolerance.
"""

from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from likeness.core.media import to_bytes
from likeness.trackers.mesh_points import FaceMesh

LID_TOLERANCE = 0.08
"""Of the eye's width; an open eye's gap is about 0.3, a closed one's about 0.1."""
LIP_TOLERANCE = 0.05
"""Of the distance of the outer eye corners, which is about 9 cm."""
CLOSED, OPEN = 0.6, 0.08
"""A lid is down below this share of the clip's median gap; a mouth is open above this gap."""

_EYES = (
    ((160, 144), (159, 145), (158, 153), (33, 133)),
    ((385, 380), (386, 374), (387, 373), (362, 263)),
)
_LIPS = ((82, 87), (13, 14), (312, 317))
_OUTER = (33, 263)
_AROUND = 1.8  # side of the square in face widths


class Openings:
    """Compares lid and lip gaps, picture by picture. Use in a `with` block."""

    def __enter__(self) -> "Openings":
        self._mesh = FaceMesh().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mesh.__exit__(kind, error, trace)

    def compare(
        self, drawn: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]
    ) -> dict[str, Any] | None:
        """Gaps of both pictures; None where the recording shows no face. A render in which no
        face is found has None for its gaps, and counts as wrong."""
        recorded = to_bytes(truth)
        found = self._mesh.find(recorded)
        if not found:
            return None
        centre, side = found[0].centre, _AROUND * found[0].width
        ours = self._mesh.find_in(recorded, centre, side)
        theirs = self._mesh.find_in(to_bytes(drawn), centre, side)
        if ours is None:
            return None
        unit = _apart(ours.points, *_OUTER)
        row: dict[str, Any] = {"lids": lid_gaps(ours.points), "lips": lip_gap(ours.points, unit)}
        row["drawn_lids"] = None if theirs is None else lid_gaps(theirs.points)
        row["drawn_lips"] = None if theirs is None else lip_gap(theirs.points, unit)
        return row


def lid_gaps(points: Float[np.ndarray, "K 3"]) -> list[float]:
    """Of the right and the left eye, over each one's width."""
    gaps = []
    for *pairs, corners in _EYES:
        gap = np.mean([_apart(points, *pair) for pair in pairs])
        gaps.append(float(gap / max(_apart(points, *corners), 1e-6)))
    return gaps


def lip_gap(points: Float[np.ndarray, "K 3"], unit: float) -> float:
    return float(np.mean([_apart(points, *pair) for pair in _LIPS]) / max(unit, 1e-6))


def _apart(points: Float[np.ndarray, "K 3"], a: int, b: int) -> float:
    return float(np.linalg.norm(points[a, :2] - points[b, :2]))


def summed_up(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of frames with the right openings, over all frames and over those that matter:
    lids down, mouth open."""
    if not rows:
        return {"frames": 0, "note": "MediaPipe found no face in the recorded frames"}
    lids = np.array([r["lids"] for r in rows])
    drawn = np.array(
        [[np.nan, np.nan] if r["drawn_lids"] is None else r["drawn_lids"] for r in rows]
    )
    lips = np.array([r["lips"] for r in rows])
    shown = np.array([np.nan if r["drawn_lips"] is None else r["drawn_lips"] for r in rows])
    lid_error, lip_error = np.abs(drawn - lids).max(-1), np.abs(shown - lips)
    down = (lids < CLOSED * np.median(lids, 0)).any(-1)
    return {
        "frames": len(rows),
        "not_found_in_render": int(np.isnan(shown).sum()),
        "blink": {"tolerance": LID_TOLERANCE, **_shares(lid_error, LID_TOLERANCE, down, "down")},
        "mouth": {
            "tolerance": LIP_TOLERANCE,
            **_shares(lip_error, LIP_TOLERANCE, lips > OPEN, "open"),
        },
    }


def _shares(error: np.ndarray, tolerance: float, which: np.ndarray, word: str) -> dict[str, Any]:
    right = np.nan_to_num(error, nan=np.inf) <= tolerance
    known = error[~np.isnan(error)]
    return {
        "right": float(right.mean()),
        "error": float(known.mean()) if len(known) else None,
        f"{word}_frames": int(which.sum()),
        f"{word}_right": float(right[which].mean()) if which.any() else None,
    }
