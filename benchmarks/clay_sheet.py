"""Draw the clay head: views by shapes, painted as synthetic people are, and bare, to
docs/images/clay.png.

Run: python benchmarks/clay_sheet.py [--out docs/images/clay.png] [--size 300]
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import tyro

from likeness.captures.synthetic.film import draw as shoot
from likeness.captures.synthetic.subject import draw_subject
from likeness.core.camera import Camera, pinhole
from likeness.core.expression import Expression
from likeness.core.geometry import look_at
from likeness.core.media import save_png
from likeness.core.regions import REGION
from likeness.core.rig import Identity
from likeness.ops.mesh import interpolate, rasterise
from likeness.ops.shading import vertex_normals
from likeness.rigs.clay import clay

SHAPES: tuple[dict[str, float], ...] = (
    {},
    {"jawOpen": 1.0},
    {"eyeBlinkLeft": 1.0},
    {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    {"mouthPucker": 1.0},
    {"browInnerUp": 1.0},
)
VIEWS = (0.0, 40.0, 88.0)
PERSON = 4  # whose colours and hair
LAMP = np.array([-0.5, 0.6, 0.8])
COLOURS = {
    "skin": (0.80, 0.66, 0.57), "scalp": (0.78, 0.64, 0.55), "neck": (0.79, 0.65, 0.56),
    "ears": (0.80, 0.65, 0.56), "lips": (0.72, 0.46, 0.43), "brows": (0.50, 0.38, 0.30),
    "eyes": (0.95, 0.95, 0.94), "irises": (0.32, 0.28, 0.22), "teeth": (0.93, 0.91, 0.86),
    "mouth": (0.45, 0.20, 0.20), "tongue": (0.72, 0.40, 0.40),
}  # fmt: skip


def posed(coefficients: dict[str, float]) -> Expression:
    rig = clay()
    expression = rig.neutral()
    values = expression.coefficients.clone()
    for name, value in coefficients.items():
        values[rig.shape_names.index(name)] = value
    return replace(expression, coefficients=values, world_from_torso=torch.eye(4))


def looking(yaw: float, pixels: int) -> Camera:
    """From the person's right by `yaw` degrees, a little above."""
    angle = torch.deg2rad(torch.tensor(yaw))
    middle = torch.tensor([0.0, -0.045, -0.06])
    eye = middle + 1.1 * torch.stack([-torch.sin(angle), torch.tensor(0.03), torch.cos(angle)])
    pose = look_at(eye, middle, torch.tensor([0.0, 1.0, 0.0]))
    return pinhole(pixels * 2.8, pixels, pixels, pose)


def paint(coefficients: dict[str, float], yaw: float, size: int) -> torch.Tensor:
    """One picture of the neutral head with skin, hair and collar."""
    person = draw_subject(PERSON, clay().rest())
    person = replace(person, lamp=LAMP / np.linalg.norm(LAMP))
    grey = np.full((size, size, 3), 158, np.uint8)
    shot = shoot(person, looking(yaw, size), posed(coefficients), grey)
    return torch.from_numpy(shot.rgb).float() / 255


def draw(
    coefficients: dict[str, float], yaw: float, size: int, identity: Identity | None = None
) -> torch.Tensor:
    """One picture of the head, lit from the upper left, on grey; drawn at twice the size."""
    rig, camera = clay(), looking(yaw, 2 * size)
    mesh = rig.pose(identity or rig.rest(), posed(coefficients))
    pose = camera.camera_from_world
    raster = rasterise(camera, mesh.vertices, mesh.triangles)
    table = torch.tensor([COLOURS.get(n, (0.8, 0.8, 0.8)) for n in REGION])
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    inside = (mesh.vertices[:, 2:] * 1000 + 18).div(38).clamp(0.15, 1)
    deep = torch.tensor([REGION["mouth"], REGION["teeth"], REGION["tongue"]])
    shade = torch.where(torch.isin(rig.regions, deep)[:, None], inside, torch.ones_like(inside))
    drawn = interpolate(raster, torch.cat([table[rig.regions] * shade, normals], -1))
    normal = torch.nn.functional.normalize(drawn[..., 3:], dim=-1)
    lights = pose[:3, :3].T @ torch.tensor([[-0.5, -0.6, -0.7], [0.8, 0.0, -0.5]]).T
    lit = (normal @ torch.nn.functional.normalize(lights, dim=0)).clamp(min=0)
    shade = 0.32 + 0.62 * lit[..., :1] + 0.18 * lit[..., 1:]
    picture = torch.where(raster.mask[..., None], drawn[..., :3] * shade, torch.tensor(0.62))
    return picture.unflatten(0, (size, 2)).unflatten(2, (size, 2)).mean((1, 3))


def main(out: Path = Path("docs/images/clay.png"), size: int = 300) -> None:
    """Draw the sheet."""
    rows = [torch.cat([paint(shape, yaw, size) for shape in SHAPES], 1) for yaw in VIEWS]
    rows.append(torch.cat([draw(shape, VIEWS[1], size) for shape in SHAPES], 1))
    save_png(out, torch.cat(rows))


if __name__ == "__main__":
    tyro.cli(main)
