"""The capture check: whether a clip is fit for an avatar, and what to record next."""

import cv2
import numpy as np
import torch
from torch import Tensor

from likeness.core.capture import Capture, Splits
from likeness.core.expression import Expression
from likeness.core.geometry import matrix_to_axis_angle
from likeness.trackers.detection import Landmarks2D
from likeness.trackers.regions import OVAL
from likeness.trackers.solve import Solution

_LOOKS = 30
_INNER = [i for i in range(468) if i not in OVAL]  # contour points slide: not in the residual


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
    angles = torch.rad2deg(matrix_to_axis_angle(world_from_head[:, :3, :3]))[torch.from_numpy(seen)]
    pitch, yaw = angles[:, 0].numpy(), angles[:, 1].numpy()
    coefficients = expressions.coefficients[torch.from_numpy(seen)]
    width = np.nanmedian(np.ptp(found.points[seen][:, :468, 0], axis=1))
    sharp, light = _pictures(capture, found)
    residual = solution.residual.norm(dim=-1)
    held = [i for i in (*splits.validation, *splits.test) if seen[i]]
    figures: dict[str, object] = {
        "frames": len(capture),
        "frames with a face": int(seen.sum()),
        "cuts": int(found.shots.max()),
        "face width, pixels": round(float(width), 1),
        "yaw range, degrees": [round(float(v), 1) for v in (yaw.min(), yaw.max())],
        "pitch range, degrees": [round(float(v), 1) for v in (pitch.min(), pitch.max())],
        "mouth opening, most": _most(coefficients, 17),
        "blink, most": _most(coefficients, 0),
        "sharpness": round(sharp, 2),
        "light change": round(light, 3),
        "landmark residual, pixels": _rms(residual, np.flatnonzero(seen).tolist()),
        "landmark residual held out, pixels": _rms(residual, held),
        "focal": "given" if capture.focal is not None else "assumed: talking clips do not show it",
    }
    advice = _advice(
        len(capture), seen, yaw, pitch, coefficients, float(width), sharp, light, found
    )
    kept = float(seen.mean())
    verdict = "Good for an avatar."
    if kept < 0.2 or int(seen.sum()) < 20:
        verdict = "Not enough frames with a face; the result will be poor."
    elif advice:
        verdict = "Usable; better with the advice below."
    return {"verdict": verdict, "record_next": advice, **figures}


def _most(coefficients: Tensor, index: int) -> float:
    if coefficients.shape[1] <= index or len(coefficients) == 0:
        return 0.0
    return round(float(coefficients[:, index].max()), 2)


def _rms(residual: Tensor, frames: list[int]) -> float | None:
    if not frames:
        return None
    inner = residual[frames][:, _INNER]
    return round(float(inner.square().mean().sqrt()), 3)


def _pictures(capture: Capture, found: Landmarks2D) -> tuple[float, float]:
    """Median sharpness of the face (Laplacian against its contrast), and how its light varies."""
    seen = np.flatnonzero(found.confidence > 0)
    chosen = seen[np.linspace(0, len(seen) - 1, min(_LOOKS, len(seen))).round().astype(int)]
    sharp, light = [], []
    for index in dict.fromkeys(chosen.tolist()):
        picture = capture[index].rgb8
        points = found.points[index, :468, :2]
        height, width = picture.shape[:2]
        x0, y0 = np.clip(points.min(0), 0, [width - 2, height - 2]).astype(int)
        x1, y1 = np.clip(points.max(0), [x0 + 2, y0 + 2], [width, height]).astype(int)
        face = cv2.cvtColor(picture[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
        face = cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32)
        sharp.append(float(cv2.Laplacian(face, cv2.CV_32F).std() / (face.std() + 1)))
        light.append(float(face.mean() / 255))
    return float(np.median(sharp)), float(np.std(light))


def _advice(
    count: int,
    seen: np.ndarray,
    yaw: np.ndarray,
    pitch: np.ndarray,
    coefficients: Tensor,
    width: float,
    sharp: float,
    light: float,
    found: Landmarks2D,
) -> list[str]:
    advice = []
    if seen.mean() < 0.95:
        advice.append(f"The face is lost in {(~seen).sum()} of {count} frames; keep it in view.")
    if int(seen.sum()) < 150:
        advice.append("Record longer: half a minute is a good start.")
    if width < 90:
        advice.append("The face is small in the picture; film closer.")
    if np.ptp(yaw) < 25:
        advice.append("Turn the head slowly to both sides, about 30 degrees.")
    if np.ptp(pitch) < 12:
        advice.append("Nod slowly up and down.")
    if _most(coefficients, 17) < 0.3:
        advice.append("Open the mouth wide once.")
    if _most(coefficients, 0) < 0.4:
        advice.append("Close the eyes a few times.")
    if max(_most(coefficients, 23), _most(coefficients, 24)) < 0.3:
        advice.append("Smile broadly once.")
    if sharp < 0.15:
        advice.append("The face is blurred: more light, or a tripod.")
    if light > 0.05:
        advice.append("The light changes; record where it is steady.")
    if found.shots.max() > 0:
        advice.append("The clip is cut; one unbroken shot tracks better.")
    return advice
