"""Assembly: control mesh and parts, made smooth, into one linear rig in metres."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from likeness.core.regions import REGION
from likeness.core.rig import Embedding, Identity
from likeness.rigs.clay import atlas, identity
from likeness.rigs.clay.control import EYE_CENTRE, Control, control
from likeness.rigs.clay.landmarks import classic68, mediapipe478
from likeness.rigs.clay.lids import CLEAR, LIFT, lids, outside
from likeness.rigs.clay.measures import BROW, MOUTH, measures
from likeness.rigs.clay.parts import Part, ear, eyeball, mirrored, teeth, tongue
from likeness.rigs.clay.shapes import ARKIT, jaw_moved, jaw_weights, left_and_centre
from likeness.rigs.clay.subdivide import Smooth, interpolated, subdivide
from likeness.rigs.clay.untangle import LEAST, Untangler
from likeness.rigs.linear import LinearRig

JOINTS = ("neck", "jaw", "left_eye", "right_eye")
_LOOK = np.radians(30.0), np.radians(25.0)  # of a full eyeLook: sideways, up and down
_WARY = 0.2  # eye shapes turn triangles no further (cosine): other people's turn further than ours


@cache
def clay() -> LinearRig:
    """The built-in head: ears, lids, eyeballs, teeth, tongue, 52 shapes, no licence to ask for."""
    mesh = control()
    smooth = subdivide(mesh.triangles, mesh.mirror, len(mesh.points))
    skin = smooth.matrix @ interpolated(smooth, mesh.points)
    skin = 0.5 * (skin + skin[smooth.mirror] * [-1, 1, 1])  # to the last bit
    parts = _parts()
    points = np.concatenate([skin, *[p.points for p in parts]])
    starts = np.cumsum([len(skin), *[len(p.points) for p in parts]])[:-1]
    triangles = [smooth.triangles, *[p.triangles + s for p, s in zip(parts, starts)]]
    faces = np.concatenate(triangles)
    ranges = {p.name: slice(s, s + len(p.points)) for p, s in zip(parts, starts)}
    mirror = _mirror(smooth, ranges)
    untangled = Untangler(skin, smooth.triangles)
    shapes = _all_shapes(mesh, smooth, skin, parts, ranges, mirror, len(points), untangled)
    uv, uv_faces = _uv(mesh, smooth, parts)
    directions = np.stack([identity.displaced(n, points) for n in identity.DIRECTIONS])
    directions = _rigid_eyes(directions, ranges)
    measured = LinearRig(
        name="clay",
        template=torch.from_numpy(points / 1000).float(),
        triangles=torch.from_numpy(faces.astype(np.int64)),
        uv=torch.from_numpy(uv).float(),
        uv_triangles=torch.from_numpy(uv_faces.astype(np.int64)),
        regions=torch.from_numpy(_regions(mesh, smooth, skin, parts)),
        shape_names=ARKIT,
        shape_basis=torch.from_numpy(shapes / 1000).float(),
        identity_names=tuple(identity.DIRECTIONS),
        identity_basis=torch.from_numpy(directions / 1000).float(),
        joint_names=JOINTS,
        joint_positions=_joint_positions(),
        joint_parents=(-1, -1, -1, -1),
        skin_weights=_skin_weights(smooth, ranges, points, untangled),
        shape_joints=_gaze(),
        layouts=_layouts(mesh, smooth, faces, points, ranges),
        mirror=torch.from_numpy(mirror),
        parts={name: _mask(where, len(points)) for name, where in ranges.items()},
    )
    return _neutral(_with_lids(measured, mesh, smooth), mesh, smooth)


def _neutral(measured: LinearRig, mesh: Control, smooth: Smooth) -> LinearRig:
    """The head at rest, from the one whose parts and shapes were made around the measured face."""
    weights = [identity.NEUTRAL.get(name, 0.0) for name in measured.identity_names]
    usual = measured.baked(Identity(measured.name, torch.tensor(weights)))
    own = (usual.template, usual.shape_basis, usual.joint_positions)
    names = ("template", "shape_basis", "joint_positions")
    return _with_lids(replace(measured, **dict(zip(names, own))), mesh, smooth)


def _with_lids(rig: LinearRig, mesh: Control, smooth: Smooth) -> LinearRig:
    balls = [torch.nonzero(rig.parts[name])[:, 0].numpy() for name in JOINTS[2:]]
    points, shapes, joints = (
        1000 * t.double().numpy() for t in (rig.template, rig.shape_basis, rig.joint_positions)
    )
    return replace(rig, lids=lids(mesh, smooth, points, shapes, np.stack(balls), joints[2:]))


def _mask(where: slice, count: int) -> Tensor:
    mask = torch.zeros(count, dtype=torch.bool)
    mask[where] = True
    return mask


def _parts() -> list[Part]:
    eye, left = eyeball(), ear()
    return [eye, mirrored(eye), left, mirrored(left), teeth(True), teeth(False), tongue()]


def _mirror(smooth: Smooth, ranges: dict[str, slice]) -> np.ndarray:
    parts = [smooth.mirror]
    for name, where in ranges.items():
        if name.startswith(("left_", "right_")):
            side, _, what = name.partition("_")
            other = ranges[("right_" if side == "left" else "left_") + what]
            parts.append(np.arange(other.start, other.stop))
        else:
            parts.append(_own_mirror(where, name))
    return np.concatenate(parts)


def _own_mirror(where: slice, name: str) -> np.ndarray:
    points = {"upper_teeth": lambda: teeth(True), "lower_teeth": lambda: teeth(False)}
    part = points[name]().points if name in points else tongue().points
    wanted = part * [-1, 1, 1]
    away = np.abs(part[None] - wanted[:, None]).sum(-1)
    return where.start + away.argmin(1)


def _all_shapes(
    mesh: Control,
    smooth: Smooth,
    skin: np.ndarray,
    parts: list[Part],
    ranges: dict[str, slice],
    mirror: np.ndarray,
    count: int,
    untangled: Untangler,
) -> np.ndarray:
    made = left_and_centre()
    shapes = np.zeros((len(ARKIT), count, 3))
    for index, name in enumerate(ARKIT):
        if name not in made:
            left = shapes[ARKIT.index(name.replace("Right", "Left"))]
            shapes[index] = left[mirror] * [-1, 1, 1]
            continue
        moved = smooth.matrix @ interpolated(smooth, made[name].skin, 4)
        of_eyes = name.startswith(("eye", "cheekSquint"))
        least = _WARY if of_eyes else LEAST
        if of_eyes:
            moved = _over_the_eyeball(skin, untangled(moved, least=least), mesh, smooth)
        # How lips close while the jaw is open means nothing without the open jaw.
        opened = shapes[ARKIT.index("jawOpen"), : len(skin)] if name == "mouthClose" else 0.0
        shapes[index, : len(skin)] = untangled(moved, opened, least)
        _move_parts(name, shapes[index], parts, ranges)
    return shapes


def _over_the_eyeball(
    skin: np.ndarray, moved: np.ndarray, mesh: Control, smooth: Smooth
) -> np.ndarray:
    """Skin that would sink into the left eyeball at full or half strength is lifted off it."""
    touched = (np.abs(moved).max(-1) > 1e-3) & (skin[:, 0] > 0)
    touched &= outside(mesh, smooth)
    out = moved.copy()
    for share in (0.5, 1.0):
        away = skin[touched] + share * out[touched] - EYE_CENTRE
        reach = np.linalg.norm(away, axis=-1, keepdims=True)
        rest = np.linalg.norm(skin[touched] - EYE_CENTRE, axis=-1, keepdims=True)
        least = np.minimum(LIFT, np.maximum(rest, CLEAR))
        out[touched] += np.maximum(least / reach - 1, 0) * away / share
    return out


def _move_parts(name: str, shape: np.ndarray, parts: list[Part], ranges: dict[str, slice]) -> None:
    """Lower teeth and tongue go with the jaw."""
    for part in parts:
        if part.name not in ("lower_teeth", "tongue"):
            continue
        where, full = ranges[part.name], np.ones(len(part.points))
        if name == "jawOpen":
            shape[where] = jaw_moved(part.points, full)
        elif name == "mouthFunnel":
            shape[where] = jaw_moved(part.points, full, 0.2)
        elif name == "tongueOut":
            shape[where] = jaw_moved(part.points, full, 0.5)
            if part.name == "tongue":
                tip = np.clip((part.points[:, 2] + 30) / 42, 0, 1)
                shape[where] += np.stack([0 * tip, 3.0 * tip - 9 * tip**4, 36 * tip], -1)
        elif name in ("jawForward", "jawLeft", "jawRight"):
            shape[where] = {"jawForward": (0, -1, 7), "jawLeft": (9, -0.5, 0)}.get(
                name, (-9, -0.5, 0)
            )


def _rigid_eyes(directions: np.ndarray, ranges: dict[str, slice]) -> np.ndarray:
    """Eyeballs move by the field at their middle, undistorted."""
    for name in ("left_eye", "right_eye"):
        where = ranges[name]
        directions[:, where] = directions[:, where].mean(1, keepdims=True)
    return directions


def _joint_positions() -> Tensor:
    right = EYE_CENTRE * [-1, 1, 1]
    places = np.array([[0.0, -130, -90], [0, -20, -62], EYE_CENTRE, right])
    return torch.from_numpy(places / 1000).float()


def _skin_weights(
    smooth: Smooth, ranges: dict[str, slice], points: np.ndarray, untangled: Untangler
) -> Tensor:
    weights = np.zeros((len(points), len(JOINTS)))
    skin = len(smooth.mirror)
    down = np.clip((-105 - points[:skin, 1]) / 90, 0, 1) * (points[:skin, 2] < 5)
    weights[:skin, 0] = down * down * (3 - 2 * down)
    weights[:skin, 1] = _untorn(smooth, untangled)
    weights[:skin, 1] = np.minimum(weights[:skin, 1], 1 - weights[:skin, 0]).clip(0)
    for part in ("lower_teeth", "tongue"):
        weights[ranges[part], 1] = 1
    weights[ranges["left_eye"], 2] = 1
    weights[ranges["right_eye"], 3] = 1
    return torch.from_numpy(weights).float()


def _untorn(smooth: Smooth, untangled: Untangler) -> np.ndarray:
    """The jaw's weights, smoothed where turning the joint wide or sideways would turn a triangle
    at the corners of the lips."""
    weights, skin = smooth.matrix @ jaw_weights(), untangled.points
    sideways = np.broadcast_to([9.0, 0.0, 0.0], skin.shape)
    for way in (sideways, -sideways, jaw_moved(skin, np.ones(len(skin)), 1.3)):
        moved = untangled(weights[:, None] * way)
        weights = (moved * way).sum(-1) / (way * way).sum(-1)
    return np.clip(weights, 0, 1)


def _gaze() -> Tensor:
    """What a full eyeLook adds to the eyeballs' joints. Looking left is a turn about +y."""
    turns = torch.zeros(len(ARKIT), len(JOINTS), 3)
    side, up = float(_LOOK[0]), float(_LOOK[1])
    for eye, joint, out in (("Left", 2, side), ("Right", 3, -side)):
        turns[ARKIT.index(f"eyeLookOut{eye}"), joint, 1] = out
        turns[ARKIT.index(f"eyeLookIn{eye}"), joint, 1] = -out
        turns[ARKIT.index(f"eyeLookUp{eye}"), joint, 0] = -up
        turns[ARKIT.index(f"eyeLookDown{eye}"), joint, 0] = up
    return turns


def _uv(mesh: Control, smooth: Smooth, parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Texture places and their triangles. Lids and bag are cut from the disc along the margins."""
    control_uv = atlas.control_uv(mesh)
    count = len(mesh.points)
    inside = np.zeros(count, bool)
    inside[mesh.lids.ravel()] = inside[mesh.bag.ravel()] = inside[mesh.bag_end] = True
    rims = atlas.island_rims(mesh)
    islands = control_uv.copy()
    for vertex, place in rims.items():
        islands[vertex] = place
    main = _linear(control_uv, smooth)
    cut = _linear(islands, smooth)
    inside_fine = np.concatenate([inside, inside[smooth.edges].any(-1)])
    faces = smooth.triangles
    on_island = inside_fine[faces].any(-1)
    uv = [main, cut]
    uv_faces = [np.where(on_island[:, None], faces + len(main), faces)]
    start = 2 * len(main)
    for part in parts:
        uv.append(atlas.tile(part.name, part.uv, part.triangles))
        uv_faces.append(part.triangles + start)
        start += len(part.uv)
    return np.nan_to_num(np.concatenate(uv)), np.concatenate(uv_faces)


def _linear(values: np.ndarray, smooth: Smooth) -> np.ndarray:
    return np.concatenate([values, values[smooth.edges].mean(1)])


def _regions(mesh: Control, smooth: Smooth, skin: np.ndarray, parts: list[Part]) -> np.ndarray:
    labels = np.full(len(mesh.points), REGION["skin"])
    labels[[v for ring in MOUTH[:4] for v in ring]] = REGION["lips"]
    labels[mesh.bag[2:].ravel()] = labels[mesh.bag_end] = REGION["mouth"]
    labels[mesh.bag[:2].ravel()] = REGION["lips"]
    y = mesh.points[:, 1]
    back = np.zeros(len(labels), bool)
    back[mesh.annulus.ravel()] = True
    columns = np.zeros(len(labels), np.int64)
    columns[mesh.annulus] = np.arange(36)[None]
    rows = np.zeros(len(labels), np.int64)
    rows[mesh.annulus] = np.arange(len(mesh.annulus))[:, None]
    side = np.minimum(columns, 36 - columns)
    hair = back & (y > -78) & ((side <= 6) | ((rows > 2) & (side <= 9) & (y > -70)))
    labels[hair] = REGION["scalp"]
    labels[back & ~hair & (y < -60)] = REGION["neck"]
    edge = labels[smooth.edges]
    same = edge[:, 0] == edge[:, 1]
    fine = np.concatenate([labels, np.where(same, edge[:, 0], REGION["skin"])])
    lips_bag = np.sort(edge, -1) == [REGION["lips"], REGION["mouth"]]
    fine[len(labels) :][lips_bag.all(-1)] = REGION["mouth"]
    neck_scalp = ~same & np.isin(edge, [REGION["neck"], REGION["scalp"]]).all(-1)
    fine[len(labels) :][neck_scalp] = REGION["neck"]
    _brows(fine, skin)
    return np.concatenate([fine, *[[REGION[r] for r in p.regions] for p in parts]]).astype(np.int64)


def _brows(labels: np.ndarray, skin: np.ndarray) -> None:
    from likeness.rigs.clay.control import _within

    face = measures().landmarks
    ring = atlas.unroll(face[list(BROW)])
    ring = ring[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    flat = atlas.unroll(skin * np.where(skin[:, :1] < 0, [-1, 1, 1], [1, 1, 1]))
    inside = _within(flat, ring) & (skin[:, 2] > -45) & (labels == REGION["skin"])
    labels[inside] = REGION["brows"]


def _layouts(
    mesh: Control, smooth: Smooth, faces: np.ndarray, points: np.ndarray, ranges: dict[str, slice]
) -> dict[str, Embedding]:
    whole = mediapipe478(faces, points, ranges)
    return {"mediapipe478": whole, "classic68": classic68(whole)}
