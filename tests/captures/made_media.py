"""Tiny clips, pictures and projects made on the spot, and a capture held in memory."""

import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from likeness.captures.head_poses import OPENGL
from likeness.core.camera import pinhole
from likeness.core.capture import Capture
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, matrix_to_quaternion, rigid
from likeness.core.rig import Identity
from likeness.core.track import Track


def picture(index: int, width: int = 32, height: int = 24) -> np.ndarray:
    """A grey that says which frame it is, redder to the right and greener downwards."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 120, width).astype(np.uint8)
    rgb[..., 1] = np.linspace(0, 120, height).astype(np.uint8)[:, None]
    return rgb + np.uint8(8 * (index % 12))


def make_clip(
    path: Path,
    count: int = 12,
    size: tuple[int, int] = (32, 24),
    codec: str = "libx264",
    layout: str = "yuv420p",
    rate: int = 25,
    times: list[int] | None = None,
    rotation: int = 0,
    sound: bool = False,
    group: int = 4,
) -> Path:
    """A clip of `picture`s; `times` are in ticks of 1/1000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, layout
        stream.gop_size = group
        if codec == "libx264":
            stream.options = {"crf": "4", "preset": "ultrafast", "bf": "2"}
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        voice = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            frame = frame.reformat(format=layout)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            add_tone(container, voice, seconds=count / rate)
    return path


def add_tone(container, voice, seconds: float) -> None:
    """A 440 Hz tone of half loudness."""
    when = np.arange(int(16000 * seconds)) / 16000
    wave = (0.5 * np.sin(2 * np.pi * 440 * when)).astype(np.float32)[None]
    for start in range(0, wave.shape[1], 1024):
        frame = av.AudioFrame.from_ndarray(wave[:, start : start + 1024], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        container.mux(voice.encode(frame))
    container.mux(voice.encode(None))


class Held:
    """Pictures in memory, with a round matte and two regions."""

    def __init__(self, count: int, size: tuple[int, int] = (32, 24)) -> None:
        self.count, self.size, self.touched = count, size, []

    def rgb(self, index: int) -> np.ndarray:
        self.touched.append(index)
        return picture(index, *self.size)

    def alpha(self, index: int) -> np.ndarray:
        y, x = np.mgrid[: self.size[1], : self.size[0]]
        return np.where((x - 16) ** 2 + (y - 12) ** 2 < 80 + index, 255, 0).astype(np.uint8)

    def regions(self, index: int) -> np.ndarray:
        return np.where(self.alpha(index) > 0, 1, 0).astype(np.uint8)


def held_track(count: int, rig: str = "flame", coefficients: int = 5) -> Track:
    """A head that turns and wanders in front of a still camera a metre away."""
    g = torch.Generator().manual_seed(4)
    world_from_head = rigid(
        axis_angle_to_matrix(0.3 * torch.randn(count, 3, generator=g)),
        0.02 * torch.randn(count, 3, generator=g),
    )
    pose = rigid(torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.tensor([0.0, 0.0, 1.0]))
    camera = pinhole(60.0, 32, 24, pose.expand(count, 4, 4), centre=(15.5, 12.25))
    expression = Expression(
        rig,
        torch.rand(count, coefficients, generator=g),
        0.1 * torch.randn(count, 4, 3, generator=g),
        world_from_head,
    )
    identity = Identity(rig, torch.randn(7, generator=g), torch.randn(9, 3, generator=g))
    return Track(camera, expression, identity, torch.ones(count))


def held_capture(count: int = 6, **fields) -> Capture:
    pictures = Held(count)
    times = tuple(i / 25 for i in range(count))
    return Capture("held", pictures, times, (32, 24), 25.0, **fields)


def save(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def random_poses(count: int) -> np.ndarray:
    """OpenGL camera-to-world, about a metre from the origin."""
    g = np.random.default_rng(7)
    poses = np.tile(np.eye(4), (count, 1, 1))
    for pose in poses:
        turn, _ = np.linalg.qr(g.normal(size=(3, 3)))
        pose[:3, :3] = turn * np.sign(np.linalg.det(turn))
        pose[:3, 3] = g.normal(size=3) * 0.1 + [0, 0, 1]
    return poses


def colmap_project(folder, binary: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures; returns OpenCV world-to-camera and the intrinsics."""
    poses = OPENGL @ np.linalg.inv(random_poses(2))
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    for i in range(2):
        save(folder / "images" / f"im {i}.png", picture(i))
    turns = matrix_to_quaternion(torch.from_numpy(poses[:, :3, :3])).numpy()
    if binary:
        lens = struct.pack("<iiQQ4d", 7, 1, 32, 24, 40.0, 41.0, 15.0, 12.5)
        (sparse / "cameras.bin").write_bytes(struct.pack("<Q", 1) + lens)
        views = b""
        for i in (1, 0):
            views += struct.pack("<i7di", i + 1, *turns[i], *poses[i, :3, 3], 7)
            views += f"im {i}.png".encode() + b"\0" + struct.pack("<Q", 2) + bytes(48)
        (sparse / "images.bin").write_bytes(struct.pack("<Q", 2) + views)
    else:
        (sparse / "cameras.txt").write_text("# cameras\n7 PINHOLE 32 24 40 41 15 12.5\n")
        lines = ["# images"]
        for i in (1, 0):
            numbers = " ".join(repr(float(v)) for v in [*turns[i], *poses[i, :3, 3]])
            lines += [f"{i + 1} {numbers} 7 im {i}.png", "" if i else "1.0 2.0 -1"]
        (sparse / "images.txt").write_text("\n".join(lines) + "\n")
    return poses, np.array([[40, 0, 15], [0, 41, 12.5], [0, 0, 1]])


def insta_folder(folder: Path, count: int) -> np.ndarray:
    """Pictures with alpha and FLAME coefficients, the first half to train; returns the poses."""
    poses, frames = random_poses(count), []
    (folder / "flame" / "exp").mkdir(parents=True)
    for i, pose in enumerate(poses):
        save(folder / "images" / f"{i:05d}.png", np.dstack([picture(i), picture(i)[..., 0]]))
        np.savetxt(folder / "flame" / "exp" / f"{i:05d}.txt", np.arange(100) + i)
        frames.append(
            {
                "transform_matrix": pose.tolist(),
                "file_path": f"images/{i:05d}.png",
                "mesh_path": f"meshes/{i:05d}.obj",
                "exp_path": f"flame/exp/{i:05d}.txt",
                "seg_mask_path": f"seg_mask/{i:05d}.png",
            }
        )
    top = {"w": 32.0, "h": 24.0, "fl_x": 50.0, "fl_y": 51.0, "cx": 16.0, "cy": 12.0}
    frames = frames[::2] + frames[1::2]  # its tool writes them as they get ready
    splits = {"": frames, "_train": frames[: count // 2], "_test": frames[count // 2 :]}
    for name, chosen in splits.items():
        (folder / f"transforms{name}.json").write_text(json.dumps({**top, "frames": chosen}))
    return poses
