"""Filming a synthetic person: pictures, sound, and the truth behind both."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from likeness.captures.synthetic.motion import Motion, perform
from likeness.captures.synthetic.paint import albedo
from likeness.captures.synthetic.subject import Subject, draw_subject
from likeness.captures.synthetic.voice import speak
from likeness.core.batching import take
from likeness.core.camera import Camera, pinhole, project, resized
from likeness.core.capture import Capture, last_fifth
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, look_at, rigid, transform
from likeness.core.media import to_bytes
from likeness.core.regions import REGION
from likeness.core.rig import embed
from likeness.core.track import Track
from likeness.ops.mesh import interpolate, rasterise
from likeness.ops.shading import vertex_normals
from likeness.rigs.clay import clay

FOCAL = 2.0  # of the picture's width
DISTANCE = 0.78  # metres from the camera to the eyes
KEEP = 400 << 20  # bytes of drawn frames
_CHUNK = 16  # heads posed at a time: a clay head and its shapes are about a megabyte
_FINE = 2  # samples a pixel in each direction


@dataclass(frozen=True, eq=False)
class Shot:
    """One drawn frame: everything a pixel knows, at the picture's size."""

    rgb: UInt8[np.ndarray, "H W 3"]
    alpha: UInt8[np.ndarray, "H W"]
    regions: UInt8[np.ndarray, "H W"]
    normal: Float[np.ndarray, "H W 3"]
    albedo: Float[np.ndarray, "H W 3"]


class Film:
    """Frames drawn when asked for: the pictures and the maps of a synthetic capture.

    The last `keep` bytes of them stay in memory; who reads each frame once needs none.
    """

    def __init__(
        self, subject: Subject, cameras: Camera, expressions: Expression, keep: int = KEEP
    ) -> None:
        self.subject, self.cameras, self.expressions = subject, cameras, expressions
        self.keep = keep
        self.backdrop = backdrop(subject, cameras.width, cameras.height)
        self.shot = lru_cache(maxsize=4)(self._shot)
        self._kept: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def rgb(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return self._planes(index)[0]

    def alpha(self, index: int) -> UInt8[np.ndarray, "H W"]:
        return self._planes(index)[1]

    def regions(self, index: int) -> UInt8[np.ndarray, "H W"]:
        return self._planes(index)[2]

    def _planes(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if index not in self._kept:
            shot = self.shot(index)
            while self._kept and (len(self._kept) + 1) * 5 * shot.alpha.size > self.keep:
                self._kept.pop(next(iter(self._kept)))
            self._kept[index] = (shot.rgb, shot.alpha, shot.regions)
        return self._kept[index]

    def _shot(self, index: int) -> Shot:
        camera = take(self.cameras, index)
        return draw(self.subject, camera, take(self.expressions, index), self.backdrop)


def film(
    seed: int,
    frames: int = 150,
    size: int = 256,
    fps: float = 25.0,
    view: int = 0,
    keep: int = KEEP,
) -> tuple[Capture, Track]:
    """A talking synthetic person and the truth. Views differ in where the camera stands; `keep`
    is how many bytes of drawn frames stay in memory."""
    subject = draw_subject(seed)
    motion = perform(frames, fps, np.random.default_rng([seed, 2]))
    expressions = expressions_of(motion)
    cameras = still_camera(size, frames, yaw=(0.0, 0.5, -0.5, 1.0, -1.0)[view % 5])
    pictures = Film(subject, cameras, expressions, keep)
    sound = speak(motion, fps, np.random.default_rng([seed, 3]))
    truth = Track(
        cameras,
        expressions,
        subject.identity,
        torch.ones(frames),
        _landmarks(subject, cameras, expressions),
        pictures,
        pictures.backdrop,
        {"verdict": "Synthetic: this is the truth."},
    )
    capture = Capture(
        f"synthetic person {seed}",
        pictures,
        tuple(i / fps for i in range(frames)),
        (size, size),
        fps=fps,
        splits=last_fifth(frames),
        sound=sound,
        focal=FOCAL * size,
        background=pictures.backdrop,
        consent=f"Synthetic person, seed {seed}; no consent is needed.",
        source="likeness synth",
    )
    return capture, truth


def _landmarks(
    subject: Subject, cameras: Camera, expressions: Expression
) -> Float[Tensor, "T 478 2"]:
    """Where the face's points are in every picture, a few heads at a time."""
    rig, found = clay(), []
    layout = rig.landmarks("mediapipe478")
    for frames in torch.arange(len(expressions.coefficients)).split(_CHUNK):
        heads = rig.pose(subject.identity, take(expressions, frames))
        found.append(project(take(cameras, frames), embed(heads, layout)))
    return torch.cat(found)


def expressions_of(motion: Motion) -> Expression:
    rig = clay()
    count = len(motion.loudness)
    still = rig.neutral(count)

    def moved(rows: np.ndarray, pivot: Tensor) -> Tensor:
        six = torch.from_numpy(rows).float()
        turn = axis_angle_to_matrix(six[:, :3])
        return rigid(turn, six[:, 3:] + pivot - (turn @ pivot[:, None])[..., 0])

    neck = torch.tensor([0.0, -0.11, -0.08])
    return replace(
        still,
        coefficients=torch.from_numpy(motion.coefficients).float(),
        world_from_head=moved(motion.head, neck),
        world_from_torso=moved(motion.torso, torch.tensor([0.0, -0.4, -0.08])),
    )


def still_camera(size: int, frames: int, yaw: float = 0.0) -> Camera:
    """A camera at eye height, a little above the middle of head and shoulders."""
    middle = torch.tensor([0.0, -0.04, 0.0])
    turn = torch.tensor([float(np.sin(yaw)), 0.02, float(np.cos(yaw))])
    pose = look_at(middle + DISTANCE * turn, middle, torch.tensor([0.0, 1.0, 0.0]))
    many = pose.expand(frames, 4, 4).contiguous()
    return pinhole(torch.full((frames,), FOCAL * size), size, size, many)


def posed(subject: Subject, expression: Expression) -> Tensor:
    """All vertices in the world: the head by the rig, hair on it, the bust by the torso."""
    rig = clay()
    head = rig.pose_head(subject.identity, expression)
    hair = head[subject.hair_from] + subject.hair_lift
    bust = subject.rest[subject.part == 2]
    vertices = torch.cat([head, hair, bust])
    torso = expression.world_from_torso
    assert torso is not None
    with_head = transform(expression.world_from_head, vertices)
    with_torso = transform(torso, vertices)
    return with_torso + subject.follow[:, None] * (with_head - with_torso)


def draw(subject: Subject, camera: Camera, expression: Expression, behind: np.ndarray) -> Shot:
    """A picture, drawn at twice the size and averaged, with its maps."""
    size = (camera.width, camera.height)
    vertices = posed(subject, expression)
    normals = vertex_normals(vertices, subject.triangles)
    rest = _painted(subject)
    fine = resized(camera, _FINE * size[0], _FINE * size[1])
    raster = rasterise(fine, vertices, subject.triangles)
    carried = interpolate(raster, torch.cat([rest, normals, vertices, subject.soft], -1))
    mask = raster.mask.numpy()
    here = carried[raster.mask].double().numpy()
    region = subject.region[raster.seen[raster.mask]].numpy()
    normal = here[:, 3:6] / np.linalg.norm(here[:, 3:6], axis=-1, keepdims=True).clip(1e-9)
    eye = -(camera.camera_from_world[:3, :3].T @ camera.camera_from_world[:3, 3]).double().numpy()
    to_eye = eye - here[:, 6:9]
    to_eye /= np.linalg.norm(to_eye, axis=-1, keepdims=True)
    normal = np.where((normal * to_eye).sum(-1, keepdims=True) < 0, -normal, normal)
    colour, region = albedo(subject, here[:, :3], region, here[:, 9:])
    lit = _lit(subject, colour, normal, to_eye, here[:, :3], region, here[:, 10])
    whole = np.repeat(np.repeat(behind / 255.0, _FINE, 0), _FINE, 1)
    whole[mask] = lit
    return Shot(
        to_bytes(torch.from_numpy(_averaged(whole))),
        to_bytes(torch.from_numpy(_averaged(mask[..., None].astype(float))))[..., 0],
        _scattered(mask, region[:, None].astype(np.uint8))[::_FINE, ::_FINE, 0],
        _scattered(mask, normal)[::_FINE, ::_FINE],
        _scattered(mask, colour)[::_FINE, ::_FINE],
    )


def _painted(subject: Subject) -> Tensor:
    """Where paint is looked up: the clay head at rest in millimetres, whoever the person is."""
    rig = clay()
    head = 1000 * rig.template
    hair = 1000 * (rig.template[subject.hair_from] + subject.hair_lift)
    return torch.cat([head, hair, 1000 * subject.rest[subject.part == 2]])


def _scattered(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = np.zeros((*mask.shape, values.shape[-1]), values.dtype)
    out[mask] = values
    return out


def _averaged(fine: np.ndarray) -> np.ndarray:
    height, width = fine.shape[0] // _FINE, fine.shape[1] // _FINE
    return fine.reshape(height, _FINE, width, _FINE, -1).mean((1, 3))


def _lit(
    subject: Subject,
    colour: np.ndarray,
    normal: np.ndarray,
    to_eye: np.ndarray,
    place: np.ndarray,
    region: np.ndarray,
    sky_seen: np.ndarray,
) -> np.ndarray:
    """sRGB: albedo in linear light times sky and lamp, less where little light comes, and a
    little gloss on eyes, lips and skin."""
    x, y, z = normal.T
    basis = np.stack([0.5 + 0 * x, y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)
    sky = np.clip(basis @ subject.light, 0.05, None)
    cosine = (normal @ subject.lamp)[:, None]
    skin = np.isin(region, [REGION[n] for n in ("skin", "ears", "neck", "lips")])[:, None]
    wrap = np.where(skin, np.array([0.30, 0.14, 0.10]), 0.0)  # light that spreads under the skin
    facing = np.clip((cosine + wrap) / (1 + wrap), 0, 1)
    head = region != REGION["clothes"]
    below = np.clip((-100 - place[:, 1]) / 22, 0, 1) * np.clip((22 - place[:, 2]) / 18, 0, 1)
    open_sky = sky_seen * (1 - 0.5 * head * below * below * (3 - 2 * below))
    open_sky = open_sky * np.where(y < -0.3, 1 + 0.4 * (y + 0.3), 1.0)
    light = (0.62 * sky + 0.75 * facing) * open_sky[:, None]
    half = subject.lamp + to_eye
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    shine = np.clip((normal * half).sum(-1), 0, 1)
    gloss = np.full(len(region), 0.05)
    power = np.full(len(region), 18.0)
    for name, strength, sharp in (
        ("eyes", 0.5, 180), ("irises", 0.7, 220), ("lips", 0.12, 35), ("hair", 0.06, 14),
        ("clothes", 0.0, 10), ("teeth", 0.1, 60),
    ):  # fmt: skip
        here = region == REGION[name]
        gloss[here], power[here] = strength, sharp
    gloss = gloss * sky_seen
    linear = np.clip(colour, 0, 1) ** 2.2 * light + (gloss * shine**power)[:, None]
    return np.clip(linear, 0, 1) ** (1 / 2.2)


def backdrop(subject: Subject, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """A soft room: a gradient between two colours with out-of-focus shapes."""
    v, u = np.mgrid[0:height, 0:width] / height
    rng = np.random.default_rng([subject.seed, 4])
    first, second = 0.6 * subject.backdrop + 0.4 * subject.backdrop.mean(-1, keepdims=True)
    colour = first + np.clip(0.2 + 0.6 * v, 0, 1)[..., None] * (second - first)
    for _ in range(9):
        x, y, wide, tall = rng.uniform([0, 0, 0.08, 0.1], [1, 1, 0.35, 0.5])
        away = np.hypot((u - x) / wide, (v - y) / tall)
        shape = 1 / (1 + np.exp((away - 1) * rng.uniform(4, 12)))
        colour = colour + shape[..., None] * (
            rng.uniform(-0.10, 0.10) + rng.uniform(-0.04, 0.04, 3)
        )
    return to_bytes(torch.from_numpy(np.clip(colour, 0.02, 0.98)))
