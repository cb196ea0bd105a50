"""How well a track's rig lies on pictures: painted from training frames, drawn in held-out ones.

    python benchmarks/textured_rig.py CAPTURE TRACK [TRACK ...] [--out FOLDER] [--check]

Each texel takes the median of the colours that training frames have where it is seen (by depth,
facing the camera, inside the matte), with shading by nine harmonics, shared by all frames, divided
out. The rig is drawn with that in held-out frames, and compared there:

- PSNR, mean over frames, in three regions: `face` is where the rig shows skin, brows, eyes, lips
  and mouth; `head` adds scalp and ears; `all` is its whole silhouette, neck included, whatever hair
  and clothes lie before it. `fronts` is the face less what is labelled hair, clothes, background.
- Dense optical flow (OpenCV's DIS) from the render, set into the frame, to the frame: RMS over
  `fronts` less a rim, in pixels as if the picture were 512 wide. What it says depends on how it is
  held together: `px` is smooth, so that skin without texture goes with what surrounds it, and tells
  a known shift an eighth too small; `px fine` tells shifts fully, but bare skin is noise to it.

`--check` also moves the drawn rig aside by 1 and 2 pixels (at 512): the mean flow must follow, and
`told` says how far it does.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from jaxtyping import Float, Int
from torch import Tensor

from likeness.core.batching import take
from likeness.core.camera import Camera, project, to_camera
from likeness.core.capture import Capture
from likeness.core.geometry import invert_rigid
from likeness.core.media import save_png
from likeness.core.regions import REGION
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.ops.mesh import Raster, interpolate, rasterise
from likeness.ops.shading import (
    light_by_harmonics,
    mip_levels,
    mip_pyramid,
    sample_texture,
    vertex_normals,
)
from likeness.rigs import RIGS
from likeness.verbs.loading import held_out, open_pair

FACE = ("skin", "brows", "eyes", "irises", "lips", "mouth", "teeth", "tongue")
PARTS = {"lips": ("lips",), "lids": ("eyes", "irises")}
LOOKS = 48  # training frames that paint the texture
BEHIND = 0.004  # metres behind what is drawn that a texel still counts as seen
FACING = 0.25  # cosine
BEFORE = ("hair", "clothes", "background")  # labels of what may lie before a face
RIM = 0.02  # of the picture's width: flow there mixes with what is beside the face


@dataclass(frozen=True, eq=False)
class Painted:
    """A rig with a person's colours."""

    rig: Rig
    pyramid: list[Tensor]
    light: Float[Tensor, "9 3"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """The painted rig in one frame; `region` is 0 where it is not."""

    rgb: Float[np.ndarray, "H W 3"]
    region: Int[np.ndarray, "H W"]


@dataclass
class Tally:
    """Figures of frames, by name."""

    rows: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.rows.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """PSNRs as the mean over frames, flow as the root of the mean square."""
        return {
            name: float(np.sqrt(np.nanmean(v))) if "px" in name else float(np.nanmean(v))
            for name, v in self.rows.items()
        }


def laid_flat(rig: Rig, size: int) -> Raster:
    """Which triangle each texel lies on, and where in it."""
    camera = Camera(torch.eye(3), torch.eye(4), size, size)
    sheet = torch.cat([rig.uv * size, torch.ones(len(rig.uv), 1)], -1)
    return rasterise(camera, sheet, rig.uv_triangles)


def posed(track: Track, rig: Rig, index: int) -> tuple[Camera, Tensor, Tensor]:
    """A frame's camera, the rig's vertices in the world and their normals."""
    vertices = rig.pose(track.identity, take(track.expressions, index)).vertices
    return take(track.cameras, index), vertices, vertex_normals(vertices, rig.triangles)


def paint(capture: Capture, track: Track, rig: Rig, frames: list[int], size: int) -> Painted:
    """Colours of every texel from training frames, and the light they are in."""
    texels = laid_flat(rig, size)
    where = texels.mask.flatten().nonzero()[:, 0]
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, LOOKS).round().astype(int)]
    colours, normals = [], []
    for index in dict.fromkeys(chosen):
        camera, world, normal = posed(track, rig, index)
        both = interpolate(texels, torch.cat([world, normal], -1), rig.triangles)
        at = both.flatten(0, 1)[where]
        colours.append(_looked_up(capture, track, rig, index, camera, world, at))
        normals.append(at[:, 3:])
    seen, facing = torch.stack(colours), torch.nn.functional.normalize(torch.stack(normals), dim=-1)
    light = torch.zeros(9, 3)
    light[0] = 1 / 0.28209479
    albedo = seen.nanmedian(0).values
    for _ in range(2):
        light = _lit(seen, facing, albedo, light)
        shade = light_by_harmonics(facing.flatten(0, 1), light).view_as(seen).clamp(min=0.2)
        albedo = (seen / shade).nanmedian(0).values
    sheet = torch.full((size * size, 3), torch.nan)
    sheet[where] = albedo
    return Painted(rig, mip_pyramid(_filled(sheet.view(size, size, 3)), 6), light)


def _looked_up(
    capture: Capture, track: Track, rig: Rig, index: int, camera: Camera, world: Tensor, at: Tensor
) -> Float[Tensor, "N 3"]:
    """A picture's colours at texels' places with normals; NaN for those it does not show."""
    depth = rasterise(camera, world, rig.triangles).depth
    eye = invert_rigid(camera.camera_from_world)[:3, 3]
    cosine = (torch.nn.functional.normalize(eye - at[:, :3], dim=-1) * at[:, 3:]).sum(-1)
    xy, z = project(camera, at[:, :3]), to_camera(camera, at[:, :3])[:, 2]
    x, y = (xy[:, k].long().clamp(0, n - 1) for k, n in enumerate((camera.width, camera.height)))
    shown = (cosine > FACING) & (z < depth[y, x] + BEHIND)
    alpha = None if track.maps is None else track.maps.alpha(index)
    if alpha is not None:
        shown &= torch.from_numpy(alpha)[y, x] > 200
    grid = (2 * xy / torch.tensor([camera.width, camera.height]) - 1)[None, None]
    picture = capture[index].rgb.permute(2, 0, 1)[None]
    found = torch.nn.functional.grid_sample(picture, grid, align_corners=False)[0, :, 0].T
    return torch.where(shown[:, None], found, torch.nan)


def _lit(seen: Tensor, normals: Tensor, albedo: Tensor, before: Tensor) -> Tensor:
    """Harmonics of light by which the albedo comes nearest to what was seen, pulled to `before`."""
    basis = light_by_harmonics(normals.flatten(0, 1), torch.eye(9)).double()
    out = before.double().clone()
    for c in range(3):
        value, own = seen[..., c].flatten().double(), albedo[:, c].repeat(len(seen)).double()
        known = value.isfinite() & own.isfinite()
        design = basis[known] * own[known, None]
        missed = value[known] - design @ out[:, c]
        design = design * (1 + (missed / 0.1).square()).reciprocal()[:, None]
        missed = missed / (1 + (missed / 0.1).square())
        gram = design.T @ design + 1e-3 * len(missed) * torch.eye(9).double()
        out[:, c] += torch.linalg.solve(gram, design.T @ missed)
    return out.float()


def _filled(sheet: Float[Tensor, "S S 3"]) -> Float[Tensor, "S S 3"]:
    """Texels nobody saw take the nearest one's colour."""
    unknown = torch.isnan(sheet).any(-1).numpy().astype(np.uint8)
    _, label = cv2.distanceTransformWithLabels(
        unknown, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = np.zeros((int(label.max()) + 1, 3), np.float32)
    known[label[unknown == 0]] = sheet.numpy()[unknown == 0]
    return torch.from_numpy(known[label])


def draw(painted: Painted, track: Track, index: int, aside: float = 0.0) -> Drawn:
    """The painted rig in a frame, moved to the right by so many pixels."""
    rig = painted.rig
    camera, world, normals = posed(track, rig, index)
    lens = camera.intrinsics.clone()
    lens[0, 2] += aside
    raster = rasterise(replace(camera, intrinsics=lens), world, rig.triangles)
    uv = interpolate(raster, rig.uv, rig.uv_triangles)
    sides = painted.pyramid[0].shape[:2]
    level = mip_levels(raster, rig.uv, rig.uv_triangles, (sides[0], sides[1]))
    albedo = sample_texture(painted.pyramid, uv, level)
    facing = torch.nn.functional.normalize(interpolate(raster, normals), dim=-1)
    shade = light_by_harmonics(facing.flatten(0, 1), painted.light).view_as(albedo)
    corner = raster.weights.argmax(-1, keepdim=True)
    vertex = rig.triangles[raster.seen.clamp(min=0)].gather(-1, corner)[..., 0]
    region = torch.where(raster.mask, rig.regions[vertex], 0)
    return Drawn((albedo * shade).clamp(0, 1).numpy(), region.numpy())


def flow(a: Float[np.ndarray, "H W 3"], b: Float[np.ndarray, "H W 3"], fine: bool) -> np.ndarray:
    """Where what is in `a` went in `b`, both brought to 512 pixels."""
    greys = []
    for picture in (a, b):
        grey = cv2.cvtColor((255 * picture).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        greys.append(cv2.resize(grey, (512, 512), interpolation=cv2.INTER_CUBIC))
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    finder.setFinestScale(1)
    if fine:
        finder.setPatchSize(12)
        finder.setPatchStride(4)
    else:
        finder.setVariationalRefinementAlpha(100)
        finder.setVariationalRefinementIterations(20)
    return np.asarray(finder.calc(greys[0], greys[1], None))


def _psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    if not where.any():
        return float("nan")
    return float(-10 * np.log10(np.square(a - b)[where].mean() + 1e-12))


def _inside(where: np.ndarray) -> np.ndarray:
    """Less a rim and without pinholes, at 512 pixels."""
    where = cv2.morphologyEx(where.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    large = cv2.resize(where, (512, 512), interpolation=cv2.INTER_NEAREST)
    reach = 2 * round(512 * RIM) + 1
    round_one = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return cv2.erode(large, round_one, borderValue=0) > 0


def judge(tally: Tally, truth: np.ndarray, drawn: Drawn, labels: np.ndarray | None) -> np.ndarray:
    """Add one frame's figures; the flow and where it counts, for looking at."""
    face = np.isin(drawn.region, [REGION[name] for name in FACE])
    whole = drawn.region > 0
    fronts = face.copy()
    if labels is not None:
        fronts &= ~np.isin(labels, [REGION[name] for name in BEFORE])
    tally.add("dB face", _psnr(truth, drawn.rgb, face))
    tally.add("dB fronts", _psnr(truth, drawn.rgb, fronts))
    tally.add("dB head", _psnr(truth, drawn.rgb, whole & (drawn.region != REGION["neck"])))
    tally.add("dB all", _psnr(truth, drawn.rgb, whole))
    over, inner = np.where(face[..., None], drawn.rgb, truth), _inside(fronts)
    if not inner.any():
        return np.zeros((512, 512, 2), np.float32)
    found = flow(over, truth, fine=False)
    tally.add("px", float(np.square(found[inner]).sum(-1).mean()))
    noisy = flow(over, truth, fine=True)[inner]
    tally.add("px fine", float(np.square(noisy).sum(-1).mean()))
    for name, members in PARTS.items():
        part = np.isin(drawn.region, [REGION[m] for m in members]).astype(np.uint8)
        part = cv2.resize(cv2.dilate(part, np.ones((5, 5))), (512, 512)) > 0
        if (part & inner).any():
            tally.add(f"px {name}", float(np.square(found[part & inner]).sum(-1).mean()))
    tally.add("right", float(found[inner][:, 0].mean()))
    tally.add("right, fine", float(noisy[:, 0].mean()))
    return np.where(inner[..., None], found, 0)


def _shown(found: np.ndarray, size: int) -> np.ndarray:
    """Flow as colour: hue is the way, full colour two pixels."""
    length, angle = cv2.cartToPolar(found[..., 0], found[..., 1], angleInDegrees=True)
    hsv = np.stack([angle / 2, np.clip(length / 2, 0, 1) * 255, np.full_like(angle, 255)], -1)
    rgb = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    return cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)


def measured(
    capture: Capture,
    track: Track,
    painted: Painted,
    frames: list[int],
    aside: float = 0.0,
    pictures: Path | None = None,
) -> dict[str, float]:
    """The figures of held-out frames, and a few strips to look at: frame, render, error, flow."""
    tally, strips = Tally(), []
    shown = set(frames[:: max(1, len(frames) // 4)])
    for index in frames:
        truth = capture[index].rgb.numpy()
        drawn = draw(painted, track, index, aside)
        labels = None if track.maps is None else track.maps.regions(index)
        found = judge(tally, truth, drawn, labels)
        if pictures is not None and index in shown:
            over = np.where((drawn.region > 0)[..., None], drawn.rgb, truth)
            error = np.clip(4 * np.abs(over - truth), 0, 1)
            row = (255 * np.concatenate([truth, over, error], 1)).astype(np.uint8)
            strips.append(np.concatenate([row, _shown(found, len(truth))], 1))
    if pictures is not None:
        save_png(pictures, np.concatenate(strips))
    return tally.means()


def main(
    capture: tyro.conf.Positional[Path],
    tracks: tyro.conf.Positional[list[Path]],
    out: Path | None = None,
    every: int = 2,
    size: int = 512,
    check: bool = False,
) -> None:
    """Print a row for each track of a capture.

    Args:
        capture: The capture folder.
        tracks: Track folders of it.
        out: Where strips of frame, render, error and flow go, one picture a track.
        every: Of the held-out frames, each so-manyth is compared.
        size: Texels a side.
        check: Also with the rig moved aside by known amounts.
    """
    head = False
    for folder in tracks:
        recording, track = open_pair(capture, folder)
        rig = RIGS.load(track.rig)()
        frames = held_out(recording, track)[::every]
        painted = paint(recording, track, rig, held_out(recording, track, "train"), size)
        pictures = None if out is None else out / f"{folder.name}.png"
        row = measured(recording, track, painted, frames, 0.0, pictures)
        if not head:
            print("| track |", " | ".join(row), "|")
            print("|---" * (len(row) + 1) + "|")
            head = True
        print(f"| {folder.name} |", " | ".join(f"{v:.3g}" for v in row.values()), "|", flush=True)
        for pixels in (1.0, 2.0) if check else ():
            moved = measured(recording, track, painted, frames, pixels * recording.size[0] / 512)
            told = [(row[k] - moved[k]) / pixels for k in ("right", "right, fine")]
            print(f"moved by {pixels:g}: told {told[0]:.2f} of it, fine {told[1]:.2f}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
