"""NeRFBlendShape subjects: the full layout, and the small one that has only a video."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int
from torch import Tensor

from likeness.captures.fields import array, items, matrix, number, pose, reading
from likeness.captures.head_poses import camera_to_head, intrinsics_matrix, still_camera, track_of
from likeness.captures.label_colours import three_part_alpha, three_part_regions
from likeness.captures.landmark_files import read_landmark_files
from likeness.captures.picture_files import PictureFiles, load_picture
from likeness.captures.transforms_json import fitted, one_size, sniff
from likeness.captures.video import VideoPictures
from likeness.core.capture import Capture, Pictures, Splits
from likeness.core.errors import BadInput
from likeness.core.files import read_any_json
from likeness.core.track import Track

RIG = "facewarehouse46"
BOX_SCALE = 0.33
"""Box units per data-set unit, in the method's own frame."""


def recognises(path: Path) -> bool:
    return path.is_dir() and '"exp_ori"' in sniff(path / "transforms.json")


def read(
    path: Path,
    test_start: int = -500,
    pictures: Literal["head", "ori"] = "head",
    fps: float = 25.0,
) -> Capture:
    """Frames in order of their number, with the authors' track (rig "facewarehouse46").

    Training frames are those before `test_start` (negative: counted from the end; a clip shorter
    than that keeps its last fifth), every 70th of the others validates. `notes` hold the range of
    each coefficient over the training frames, `coefficient_min` and `coefficient_max`.
    """
    folder = Path(path)
    file = folder / "transforms.json"
    data = read_any_json(file)
    frames = [_frame(f, file, i) for i, f in enumerate(items(data, "frames", file))]
    frames.sort(key=lambda f: f[0])
    ids = [f[0] for f in frames]
    source = _pictures(folder, ids, pictures)
    size = _size(source, file)
    stated = (int(number(data, "w", file)), int(number(data, "h", file)))
    fx, fy, cx, cy = (number(data, k, file) for k in ("fx", "fy", "cx", "cy"))
    intrinsics = fitted(intrinsics_matrix(fx, fy, cx + 0.5, cy + 0.5), stated, size, file)
    camera, world_from_head = still_camera(np.stack([f[1] for f in frames]), intrinsics, *size)
    backdrop = folder / "bc.jpg"
    background = load_picture(backdrop)[0] if backdrop.is_file() else None
    landmarks = read_landmark_files(folder, ids, 478)
    coefficients = np.stack([f[2] for f in frames])
    splits = _splits(len(frames), test_start)
    low, high = _ranges(folder, coefficients, splits)
    return Capture(
        name=folder.name,
        pictures=source,
        times=tuple(i / fps for i in ids),
        size=size,
        fps=fps,
        names=tuple(str(i) for i in ids),
        splits=splits,
        focal=float(intrinsics[0, 0]),
        background=background,
        track=track_of(
            camera,
            RIG,
            world_from_head,
            coefficients,
            landmarks=landmarks,
            backdrop=background,
        ),
        source=str(folder),
        notes={
            "layout": "nerfblendshape",
            "coefficient_min": low.tolist(),
            "coefficient_max": high.tolist(),
        },
    )


def _frame(frame: Any, file: Path, index: int) -> tuple[int, np.ndarray, np.ndarray]:
    where = f"{file}, frame {index}"
    return (
        int(number(frame, "img_id", where)),
        pose(matrix(frame, "transform_matrix", where), where, "'transform_matrix'"),
        array(frame.get("exp_ori"), where, "'exp_ori'", (46,)),
    )


def _pictures(folder: Path, ids: list[int], kind: str) -> Pictures:
    """The frames as files or, in the small release, as the video of the subject."""
    paths = tuple(folder / f"{kind}_imgs" / f"{i}.jpg" for i in ids)
    labels = tuple(folder / "parsing" / f"{i}.png" for i in ids)
    lost = [p for p in paths if not p.is_file()]
    if not lost:
        return PictureFiles(paths, labels, labels, three_part_alpha, three_part_regions)
    videos = sorted(folder.glob("*.mp4"))
    if len(lost) < len(paths) or not videos:
        raise BadInput(
            f"{folder} lacks {len(lost)} of {len(paths)} pictures, first {lost[0]}. Copy them, "
            "or put the subject's video beside transforms.json."
        )
    video = VideoPictures(videos[0])
    if max(ids) >= len(video):
        raise BadInput(
            f"{videos[0]} has {len(video)} frames but transforms.json speaks of frame {max(ids)}. "
            "Use the video that belongs to it."
        )
    return Renumbered(video, tuple(ids))


class Renumbered:
    """Some of the pictures of another source, in another order."""

    def __init__(self, pictures: Pictures, ids: tuple[int, ...]) -> None:
        self.pictures, self.ids = pictures, ids

    def rgb(self, index: int) -> np.ndarray:
        return self.pictures.rgb(self.ids[index])

    def alpha(self, index: int) -> np.ndarray | None:
        return self.pictures.alpha(self.ids[index])

    def regions(self, index: int) -> np.ndarray | None:
        return self.pictures.regions(self.ids[index])


def _size(pictures: Pictures, file: Path) -> tuple[int, int]:
    if isinstance(pictures, PictureFiles):
        return one_size(pictures.rgb_paths, file)
    height, width = pictures.rgb(0).shape[:2]
    return width, height


def _splits(count: int, test_start: int) -> Splits:
    cut = test_start if test_start >= 0 else count + test_start
    if not 0 < cut < count:
        cut = max(1, count - count // 5)
    return Splits(tuple(range(cut)), tuple(range(cut, count, 70)), tuple(range(cut, count)))


def _ranges(
    folder: Path, coefficients: np.ndarray, splits: Splits
) -> tuple[np.ndarray, np.ndarray]:
    """The text files beside the JSON or, without them, the extremes over the training frames."""
    train = coefficients[list(splits.train)]
    bounds = []
    for name, computed in (("min_46.txt", train.min(0)), ("max_46.txt", train.max(0))):
        file = folder / name
        if not file.is_file():
            bounds.append(computed)
            continue
        with reading(file):
            words = file.read_text().split()
        bounds.append(array(words, file, "coefficient bounds", (46,)))
    return bounds[0], bounds[1]


def box_poses(track: Track) -> Float32[np.ndarray, "T 4 4"]:
    """Camera poses in the method's own frame: axes (y, z, x) of the head, lengths times 0.33."""
    m = camera_to_head(track).double().numpy()
    signs = np.array([1.0, -1.0, -1.0, BOX_SCALE])
    whole = np.zeros_like(m)
    for row, source in enumerate((1, 2, 0)):
        whole[:, row] = m[:, source] * signs
    whole[:, 3, 3] = 1.0
    return whole.astype(np.float32)


def face_boxes(
    landmarks: Tensor | np.ndarray, width: int, height: int
) -> dict[str, Int[np.ndarray, "T 4"]]:
    """Boxes [x0, y0, x1, y1] of head, mouth and eyes, from 478 landmarks in whole pixels."""
    points = np.asarray(landmarks).astype(np.int32)
    low, high = points.min(1), points.max(1)
    centre = (low + high) / 2
    reach = 1.2 * np.linalg.norm(high - low, axis=-1) / 2
    head = np.stack(
        [
            centre[:, 0] - reach,
            centre[:, 1] - 1.2 * reach,
            centre[:, 0] + reach,
            centre[:, 1] + 0.8 * reach,
        ],
        -1,
    )
    mouth = np.stack([points[:, 57, 0], points[:, 0, 1], points[:, 287, 0], points[:, 17, 1]], -1)
    eyes = np.stack(
        [
            points[:, 130, 0],
            points[:, [27, 257], 1].min(1),
            points[:, 359, 0],
            points[:, [23, 253], 1].max(1),
        ],
        -1,
    )
    limits = np.array([width - 1, height - 1] * 2)
    return {
        name: np.clip(box.astype(np.int32), 1, limits)
        for name, box in (("head", head), ("mouth", mouth), ("eyes", eyes))
    }
