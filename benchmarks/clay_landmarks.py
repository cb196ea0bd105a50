"""Where on clay MediaPipe's face mesh puts its points: remakes `rigs/clay/landmarks.npz`.

Synthetic people in several poses are drawn and looked at. For each landmark the point of the
surface is chosen that lies nearest, over all pictures, to where the mesh finds it, left and right
alike. `identity.NEUTRAL`, how the head at rest leaves the measured face, was chosen for the same
errors and layout: by how they change with each direction, as `face_habits.py` learns it.

Run: python benchmarks/clay_landmarks.py look --out SEEN.npz --first 1000 --people 30
     python benchmarks/clay_landmarks.py fit --seen SEEN.npz
     python benchmarks/clay_landmarks.py look --out HELD_OUT.npz --first 0 --people 16
     python benchmarks/clay_landmarks.py judge --seen HELD_OUT.npz
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import tyro

from likeness.captures.synthetic.film import DISTANCE, backdrop, draw, still_camera
from likeness.captures.synthetic.motion import VISEMES
from likeness.captures.synthetic.subject import draw_subject
from likeness.core.batching import take
from likeness.core.camera import project
from likeness.core.expression import Expression
from likeness.core.geometry import axis_angle_to_matrix, umeyama
from likeness.core.rig import Embedding, embed
from likeness.ops.shading import vertex_normals
from likeness.rigs.clay import clay
from likeness.rigs.clay.control import control
from likeness.rigs.clay.measures import EYE, MOUTH, measures
from likeness.rigs.clay.shapes import ARKIT
from likeness.rigs.clay.subdivide import subdivide
from likeness.trackers.mesh_points import FaceMesh

HOME = Path("src/likeness/rigs/clay/landmarks.npz")
YAWS = {0: 0.5, -20: 0.6, 20: 0.6, -40: 2.0, 40: 2.0}  # what the errors of a pose count for
SPOKEN, _SPOKEN_COUNT = ("a", "e", "o", "u"), 0.1
_FIXED = {*EYE[0], *measures().mirror[list(EYE[0])].tolist(), *MOUTH[0]}
_GRID = np.array([[a, b, 4 - a - b] for a in range(5) for b in range(5 - a)]) / 4


def poses() -> Iterator[tuple[str, float, Expression]]:
    """A name, what it counts for and an expression: the face at rest turned, then speaking."""
    rest = replace(clay().neutral(), world_from_torso=torch.eye(4))
    for yaw, count in YAWS.items():
        turned = torch.eye(4)
        turned[:3, :3] = axis_angle_to_matrix(torch.tensor([0.0, np.radians(yaw), 0.0]))
        yield f"yaw {abs(yaw)}", count, replace(rest, world_from_head=turned)
    for sound in SPOKEN:
        coefficients = torch.zeros(len(ARKIT))
        for shape, weight in VISEMES[sound][0].items():
            coefficients[ARKIT.index(shape)] = weight
        yield f"speaking '{sound}'", _SPOKEN_COUNT, replace(rest, coefficients=coefficients)


def look(out: Path, first: int = 1000, people: int = 30, size: int = 384) -> None:
    """Draw the people of the seeds from `first` on, and note where the mesh has its points."""
    torch.set_num_threads(1)
    camera = take(still_camera(size, 1), 0)
    seen = np.full((people, len(list(poses())), 468, 2), np.nan, np.float32)
    with FaceMesh() as mesh:
        for person in range(people):
            subject = draw_subject(first + person)
            behind = backdrop(subject, size, size)
            for k, (_, _, expression) in enumerate(poses()):
                found = mesh.find(draw(subject, camera, expression, behind).rgb)
                if found:
                    seen[person, k] = found[0].points[:468, :2]
            hits = int(np.isfinite(seen[person]).all((1, 2)).sum())
            print(f"person {first + person}: found in {hits} of {len(seen[0])}", flush=True)
            np.savez_compressed(out, points=seen[: person + 1], first=first, size=size)


def fit(seen: Path, out: Path = HOME, reach: float = 16.0, rms: float = 1.47) -> None:
    """Choose each landmark's place from the `seen` pictures, and write them to `out`.

    Leaving the layout of the mean face costs; a move of all landmarks together does not. The price
    is the least that keeps the layout within `rms` millimetres of the mean face, aligned with it.
    """
    points, places, taken = _read(seen)
    counts = np.array([count for _, count, _ in poses()])[taken]
    mirror = measures().mirror
    half = np.flatnonzero(measures().landmarks[:, 0] > -1e-6)
    share = np.where(mirror[half] == half, 1, 2) / 468
    among = [_candidates(k, reach) for k in half]
    errors = [_errors(k, *a, points, places, counts) for k, a in zip(half, among)]
    spots = [_spots(*a) for a in among]

    def chosen(price: float) -> tuple[list[int], float]:
        wanted, best = np.stack([s[0] for s in spots]), []
        for _ in range(20):
            moves = [((s - w) ** 2).sum(-1) for s, w in zip(spots, wanted)]
            best = [int((e + price * m).argmin()) for e, m in zip(errors, moves)]
            wanted = _laid_on(half, np.stack([s[c] for s, c in zip(spots, best)]))
        at = np.stack([s[c] for s, c in zip(spots, best)])
        return best, float(np.sqrt((share * ((at - wanted) ** 2).sum(-1)).sum()))

    price = next(p for p in (0.0, *np.geomspace(1e-3, 10, 120)) if chosen(p)[1] <= rms)
    best, moved = chosen(price)
    vertices, weights = np.zeros((468, 3), np.int16), np.zeros((468, 3), np.float32)
    for k, c, (corners, shares) in zip(half, best, among):
        vertices[mirror[k]], weights[mirror[k]] = clay().mirror.numpy()[corners[c]], shares[c]
        vertices[k], weights[k] = corners[c], shares[c]
    np.savez_compressed(out, vertices=vertices, weights=weights)
    print(f"{moved:.2f} mm from the mean face (RMS; {chosen(0.0)[1]:.2f} if it were free)")


def _laid_on(half: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The mean face's landmarks `half`, laid on the points `at` as well as a similarity can that
    keeps left and right apart."""
    given, mirror = measures().mean, measures().mirror
    target = np.empty((468, 3))
    target[mirror[half]] = at * [-1, 1, 1]
    target[half] = at
    scale, turn, shift = umeyama(torch.from_numpy(given), torch.from_numpy(target))
    return (scale * torch.from_numpy(given) @ turn.T + shift).numpy()[half]


def _read(seen: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points found and the skin's vertices, both pictures x N x 2, in % of the face's width, and
    the number of the pose. Pictures in which no face was found are left out."""
    with np.load(seen) as stored:
        points, first, size = stored["points"], int(stored["first"]), int(stored["size"])
    rig, camera = clay(), take(still_camera(size, 1), 0)
    found, places, taken = [], [], []
    for person, k in np.argwhere(np.isfinite(points).all((2, 3))):
        identity = draw_subject(first + person).identity
        ears = rig.shaped(identity)[[234, 454]]
        width = float((ears[0] - ears[1]).norm() * camera.intrinsics[0, 0] / DISTANCE)
        world = rig.pose(identity, list(poses())[k][2]).vertices[: len(_skin())]
        places.append(project(camera, world).numpy() * 100 / width)
        found.append(points[person, k] * 100 / width)
        taken.append(k)
    return np.stack(found), np.stack(places), np.array(taken)


@cache
def _skin() -> np.ndarray:
    """The skin's vertices (all before those of the parts): may a landmark lie there?"""
    mesh = control()
    smooth = subdivide(mesh.triangles, mesh.mirror, len(mesh.points))
    hidden = np.zeros(len(mesh.points), bool)
    hidden[mesh.lids.ravel()] = hidden[mesh.bag.ravel()] = hidden[mesh.bag_end] = True
    return ~np.concatenate([hidden, hidden[smooth.edges].any(-1)])


def _candidates(k: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners and weights of places landmark `k` may have: near, facing the same way, moving with
    the jaw as it does; in the middle plane for those that are their own mirror image. The landmark
    itself comes first; margins of lids and lips have no other."""
    own = np.array([[k, k, k]]), np.array([[1.0, 0, 0]])
    if k in _FIXED:
        return own
    rig, allowed = clay(), _skin()
    at = 1000 * rig.template.double().numpy()
    faces = rig.triangles.numpy()
    faces = faces[(faces < len(allowed)).all(-1)]
    faces = faces[allowed[faces].all(-1)]
    near = np.linalg.norm(at[faces].mean(1) - at[k], axis=-1) < reach
    normal = vertex_normals(rig.template, rig.triangles).numpy()
    near &= (normal[faces].mean(1) * normal[k]).sum(-1) > 0.4
    jaw = 1000 * rig.shape_basis[ARKIT.index("jawOpen")].numpy()
    near &= np.abs(jaw[faces].mean(1) - jaw[k]).max(-1) < 4
    corners = np.repeat(faces[near], len(_GRID), 0)
    weights = np.tile(_GRID, (int(near.sum()), 1))
    x = (at[corners, 0] * weights).sum(-1)
    middle = measures().mirror[k] == k
    keep = np.abs(x) < 1e-4 if middle else x > 0.5
    return np.concatenate([own[0], corners[keep]]), np.concatenate([own[1], weights[keep]])


def _errors(
    k: int,
    corners: np.ndarray,
    weights: np.ndarray,
    points: np.ndarray,
    places: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """Mean distance from each candidate to landmark `k`, and from its mirror image to the other."""
    counts = counts / counts.sum()
    mirror, total = clay().mirror.numpy(), np.zeros(len(corners))
    for mark, corner in ((k, corners), (measures().mirror[k], mirror[corners])):
        for start in range(0, len(corner), 256):
            part = slice(start, start + 256)
            at = np.einsum("ncjx,cj->ncx", places[:, corner[part]], weights[part])
            total[part] += 0.5 * counts @ np.linalg.norm(at - points[:, mark, None], axis=-1)
    return total


def _spots(corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Where the candidates lie on the head at rest, in millimetres."""
    at = 1000 * clay().template.double().numpy()
    return (at[corners] * weights[..., None]).sum(1)


def judge(seen: Path) -> None:
    """What the pictures say of the bare landmarks and of the embedding in use: distances, and how
    a rigid fit of the true head to the points found leans."""
    points, places, taken = _read(seen)
    names = np.array([name for name, _, _ in poses()])[taken]
    layout = clay().landmarks("mediapipe478")
    corners = clay().triangles[layout.triangles[:468]].numpy()
    used = np.einsum("nkjx,kj->nkx", places[:, corners], layout.weights[:468].numpy())
    away = [np.linalg.norm(at - points, axis=-1).mean(1) for at in (places[:, :468], used)]
    columns = [*away, *_leans(seen, layout)]
    print("| pose | pictures | bare % | embedded % | bare lean | embedded lean |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in [*dict.fromkeys(n for n, _, _ in poses()), "all"]:
        rows = (names == name) | (name == "all")
        a, b, before, after = (column[rows].mean() for column in columns)
        print(f"| {name} | {rows.sum()} | {a:.2f} | {b:.2f} | {before:+.1f} | {after:+.1f} |")


def _leans(seen: Path, layout: Embedding) -> list[np.ndarray]:
    """Degrees about the head's own x by which a rigid fit is off that knows focal length,
    expression and identity, per picture: of the bare landmarks, then of the embedding."""
    import cv2

    with np.load(seen) as stored:
        points, first, size = stored["points"], int(stored["first"]), int(stored["size"])
    camera, rig, out = take(still_camera(size, 1), 0), clay(), ([], [])
    lens = camera.intrinsics.double().numpy()
    for person, k in np.argwhere(np.isfinite(points).all((2, 3))):
        expression = list(poses())[k][2]
        mesh = rig.pose(
            draw_subject(first + person).identity, replace(expression, world_from_head=torch.eye(4))
        )
        truth = (camera.camera_from_world @ expression.world_from_head).double().numpy()
        for which, model in zip(out, (mesh.vertices[:468], embed(mesh, layout)[:468])):
            _, turn, _ = cv2.solvePnP(
                model.double().numpy(), points[person, k].astype(np.float64), lens, None,
                cv2.Rodrigues(truth[:3, :3])[0], truth[:3, 3:].copy(), True,
            )  # fmt: skip
            off = truth[:3, :3].T @ cv2.Rodrigues(turn)[0]
            which.append(float(np.degrees(cv2.Rodrigues(off)[0][0, 0])))
    return [np.array(o) for o in out]


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"look": look, "fit": fit, "judge": judge})
