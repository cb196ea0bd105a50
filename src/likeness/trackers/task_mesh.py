"""MediaPipe's newer face landmarker, for those who bring its model: `face_landmarker.task`."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from likeness.core.errors import BadInput
from likeness.trackers.mesh_points import POINTS, Found, close_look, quietly

WHERE = (
    "It is Google's face_landmarker.task (Apache-2.0), which MediaPipe's web page "
    "'Face landmark detection guide' links to."
)


class TaskMesh:
    """The same questions as `FaceMesh`, answered by a model file; its 52 scores as well."""

    def __init__(self, model: Path, faces: int = 1, confidence: float = 0.5) -> None:
        model = Path(model)
        if not model.is_file():
            raise BadInput(f"There is no file {model}. {WHERE}")
        if not zipfile.is_zipfile(model):
            raise BadInput(
                f"{model} is no MediaPipe task bundle ({model.stat().st_size} bytes). {WHERE}"
            )
        from mediapipe.tasks import python as tasks
        from mediapipe.tasks.python import vision

        options = vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_buffer=model.read_bytes()),
            num_faces=faces,
            min_face_detection_confidence=confidence,
            min_face_presence_confidence=confidence,
            output_face_blendshapes=True,
        )
        try:
            with quietly():
                self._mesh: Any = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            words = " ".join(str(error).split())[:160]
            raise BadInput(f"{model} is no face landmarker ({words}). {WHERE}") from error
        self.scores: dict[str, float] = {}
        """Of the largest face that was last found, by MediaPipe's names."""

    def __enter__(self) -> "TaskMesh":
        return self

    def __exit__(self, *_: object) -> None:
        with quietly():
            self._mesh.close()

    def find(self, picture: UInt8[np.ndarray, "H W 3"]) -> list[Found]:
        """All faces, largest first."""
        import mediapipe as mp

        image = mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(picture))
        with quietly():
            answer = self._mesh.detect(image)
        return self.told(answer, picture.shape[1], picture.shape[0])

    def told(self, answer: Any, width: int, height: int) -> list[Found]:
        """Faces out of MediaPipe's answer, largest first."""
        size = np.array([width, height, width], np.float32)
        faces = []
        scores = answer.face_blendshapes or [[]] * len(answer.face_landmarks)
        for points, row in zip(answer.face_landmarks, scores, strict=True):
            own = np.array([(p.x, p.y, p.z) for p in points], np.float32) * size
            if len(own) == POINTS and np.isfinite(own).all():
                faces.append((Found(own), {c.category_name: float(c.score) for c in row}))
        faces.sort(key=lambda face: -face[0].width)
        self.scores = faces[0][1] if faces else {}
        return [face for face, _ in faces]

    def find_in(
        self,
        picture: UInt8[np.ndarray, "H W 3"],
        centre: Float[np.ndarray, " 2"],
        side: float,
        size: int = 384,
    ) -> Found | None:
        """The largest face in a square of the picture, looked at enlarged or reduced."""
        return close_look(self.find, picture, centre, side, size)
