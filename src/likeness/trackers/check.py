"""The capture check: whether a clip is fit for an avatar, and what to record next."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from likeness.core.capture import Capture, Splits
from likeness.core.expression import Expression
from likeness.core.geometry import matrix_to_axis_angle
from likeness.rigs import RIGS
from likeness.trackers.check_pictures import PictureFigures, picture_figures
from likeness.trackers.detection import Landmarks2D
from likeness.trackers.regions import OVAL
from likeness.trackers.solve import Solution

_INNER = [i for i in range(468) if i not in OVAL]  # contour points slide: not in the residual
_STILL = 1e-4  # of 1: less change from picture to picture is no recording of somebody alive
_SLOW = 20.0  # frames a second below which blinks fall between pictures

# What a recording should show once: coefficients by name, how far, and what to ask for.
EXPRESSIONS = {
    "mouth opening": (("jawOpen",), 0.3, "Open the mouth wide once."),
    "blink": (("eyeBlinkLeft", "eyeBlinkRight"), 0.4, "Close the eyes a few times."),
    "smile": (("mouthSmileLeft", "mouthSmileRight"), 0.3, "Smile broadly once."),
    "brows up": (
        ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
        0.25,
        "Raise the brows once, as if surprised.",
    ),
    "pucker": (("mouthPucker", "mouthFunnel"), 0.25, "Say a long 'oo' once."),
}


def check_capture(
    capture: Capture,
    found: Landmarks2D,
    world_from_head: Tensor,
    expressions: Expression,
    solution: Solution,
    splits: Splits,
) -> dict[str, object]:
    """Plain figures about coverage and quality, a verdict in a sentence, and advice."""
    seen = found.confidence > 0
    use = torch.from_numpy(seen)
    angles = torch.rad2deg(matrix_to_axis_angle(world_from_head[:, :3, :3]))[use].numpy()
    most = shown(expressions, use)
    width = float(np.nanmedian(np.ptp(found.points[seen][:, :468, 0], axis=1)))
    pictures = picture_figures(capture, found)
    residual = solution.residual.norm(dim=-1)
    held = [i for i in (*splits.validation, *splits.test) if seen[i]]
    figures: dict[str, object] = {
        "frames": len(capture),
        "frames with a face": int(seen.sum()),
        "share kept": round(float(seen.mean()), 3),
        "frames a second": capture.fps,
        "cuts": int(found.shots.max()),
        "frames of other scenes": int(found.aside.sum()),
        "face width, pixels": round(width, 1),
        "yaw range, degrees": _range(angles[:, 1]),
        "pitch range, degrees": _range(angles[:, 0]),
        **{f"{name}, most": value for name, value in most.items()},
        "expressions shown, share": _share(most),
        "sharpness": round(pictures.sharp, 2),
        "blurred pictures, share": round(pictures.soft, 2),
        "light change": round(pictures.light, 3),
        "covered pictures, share": round(pictures.covered, 2),
        "eyes behind dark glasses": pictures.glasses,
        "people": pictures.people,
        "landmark residual, pixels": _rms(residual, np.flatnonzero(seen).tolist()),
        "landmark residual held out, pixels": _rms(residual, held),
        "focal": "given" if capture.focal is not None else "assumed: talking clips do not show it",
    }
    advice = [
        *_of_frames(capture, found, seen, width),
        *_of_poses(angles),
        *(ask for name, (_, least, ask) in EXPRESSIONS.items() if most.get(name, least) < least),
        *_of_pictures(pictures),
    ]
    still = pictures.moving < _STILL
    return {"verdict": verdict(seen, advice, still), "record_next": advice, **figures}


def verdict(seen: Float[np.ndarray, " T"], advice: list[str], still: bool = False) -> str:
    if float(seen.mean()) < 0.2 or int(seen.sum()) < 20:
        return "Not enough frames with a face; the result will be poor."
    if still:
        return "A still picture; an avatar of it will hardly move."
    return "Usable; better with the advice below." if advice else "Good for an avatar."


def shown(expressions: Expression, use: Tensor) -> dict[str, float]:
    """The strongest of each expression, for rigs that know it by name."""
    names = RIGS.load(expressions.rig)().shape_names if expressions.rig in RIGS else ()
    values = expressions.coefficients[use]
    found = {}
    for name, (members, _, _) in EXPRESSIONS.items():
        columns = [names.index(member) for member in members if member in names]
        if columns and len(names) == values.shape[1] and len(values):
            found[name] = round(float(values[:, columns].max()), 2)
    return found


def _share(most: dict[str, float]) -> float | None:
    if not most:
        return None
    return round(float(np.mean([v >= EXPRESSIONS[name][1] for name, v in most.items()])), 2)


def _range(values: np.ndarray) -> list[float]:
    return [round(float(values.min()), 1), round(float(values.max()), 1)]


def _rms(residual: Tensor, frames: list[int]) -> float | None:
    if not frames:
        return None
    inner = residual[frames][:, _INNER]
    return round(float(inner.square().mean().sqrt()), 3)


def _of_frames(capture: Capture, found: Landmarks2D, seen: np.ndarray, width: float) -> list[str]:
    advice = []
    lost = ~seen & ~found.aside
    if lost.mean() > 0.05:
        advice.append(f"The face is lost in {lost.sum()} of {len(seen)} frames; keep it in view.")
    if found.aside.any():
        advice.append(
            f"{found.aside.sum()} of {len(seen)} frames show another scene and are left out."
        )
    if int(seen.sum()) < 150:
        advice.append("Record longer: half a minute is a good start.")
    if width < 90:
        advice.append("The face is small in the picture; film closer.")
    if capture.fps is not None and capture.fps < _SLOW:
        advice.append(
            f"{capture.fps:g} frames a second are few: blinks fall between them. Film with 25 or "
            "more."
        )
    if found.shots.max() > 0:
        advice.append("The clip is cut; one unbroken shot tracks better.")
    return advice


def _of_poses(angles: Float[np.ndarray, "T 3"]) -> list[str]:
    pitch, yaw, roll = angles.T
    advice = []
    if np.abs(np.median(roll)) > 45:
        advice.append("The picture lies on its side; turn it upright before ingesting it.")
    if np.abs(yaw).min() > 25:
        advice.append("The face is only seen from the side; look into the camera as well.")
    elif np.ptp(yaw) < 25:
        advice.append("Turn the head slowly to both sides, about 30 degrees.")
    if np.ptp(pitch) < 12:
        advice.append("Nod slowly up and down.")
    return advice


def _of_pictures(pictures: PictureFigures) -> list[str]:
    advice = []
    if pictures.moving < _STILL:
        advice.append("Nothing moves: this is a still picture, and an avatar needs a moving face.")
    if pictures.sharp < 0.15:
        advice.append("The face is blurred: more light, or a tripod.")
    elif pictures.soft > 0.15:
        advice.append("Some pictures are blurred by motion: more light, and slower turns.")
    if pictures.light > 0.05:
        advice.append("The light changes; record where it is steady.")
    if pictures.glasses:
        advice.append("The eyes are behind dark glasses; take them off.")
    if pictures.covered > 0.05:
        advice.append("Something passes before the face; keep hands and hair away from it.")
    if pictures.people > 1:
        advice.append("Another person is in the picture; record alone (--person chooses).")
    return advice
