"""How MediaPipe's face mesh errs on synthetic people: remakes `trackers/habits.npz`.

Many people are drawn, each a few times, in performances with more head turns and more single
shapes added by lot; the differences between where the mesh finds the landmarks and where the
solver's linear model of clay has them are regressed on who the person is, what they do and how they
are seen. What is left is split into what stays with a person and what comes with a frame, each by
principal components. Every picture counts mirrored as well. Seeds 0 to 99 are never looked at:
trackers are judged there.

Run: python benchmarks/face_habits.py look --out LOOKS.npz --first 110 --people 320
     python benchmarks/face_habits.py learn --looks LOOKS.npz
     python benchmarks/face_habits.py judge --looks LOOKS.npz
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from likeness.captures.synthetic import film
from likeness.captures.synthetic.film import Film
from likeness.core.batching import take
from likeness.core.geometry import axis_angle_to_matrix
from likeness.rigs.clay import clay
from likeness.rigs.clay.measures import measures
from likeness.rigs.clay.shapes import ARKIT
from likeness.trackers.habits import layout_mark
from likeness.trackers.mesh_points import FaceMesh
from likeness.trackers.point_model import point_model, view_terms

HOME = Path("src/likeness/trackers/habits.npz")
FIRST = 110
_FLIP = np.array([-1.0, 1, 1])
_IRISES = [473, 476, 475, 474, 477, 468, 471, 470, 469, 472]
_MIRROR = np.concatenate([measures().mirror, _IRISES])
_SWAP = {"Left": "Right", "Right": "Left"}
_OTHER = [
    ARKIT.index(next((n.replace(a, b) for a, b in _SWAP.items() if n.endswith(a)), n))
    for n in ARKIT
]
_WIDER = np.radians([9.0, 12.0, 4.0])  # head turns added by lot
_OWN = [i for i, n in enumerate(ARKIT) if not n.startswith("eye") and n != "tongueOut"]
# Pulls to zero: one, five views, directions, shapes; in pictures' worth of a unit feature.
_PULLS = (1e-3, 2.0, 5.0, 2.0)
_FLOOR = 0.0008  # metres: no landmark is trusted beyond this


@dataclass(frozen=True, eq=False)
class Looks:
    """Pictures looked at: landmarks found and those of the solver's linear model (metres, in the
    head), and all about them."""

    seed: np.ndarray  # N
    points: np.ndarray  # N 478 2
    camera_from_head: np.ndarray  # N 4 4
    coefficients: np.ndarray  # N E
    directions: np.ndarray  # N D
    head: np.ndarray  # N 478 3
    lens: np.ndarray  # 3 3

    @staticmethod
    def read(path: Path) -> "Looks":
        with np.load(path) as stored:
            return Looks(**{name: stored[name] for name in stored.files})

    def some(self, rows: np.ndarray) -> "Looks":
        parts = {n: v if n == "lens" else v[rows] for n, v in vars(self).items()}
        return Looks(**parts)


def look(out: Path, first: int = FIRST, people: int = 320, each: int = 5, size: int = 256) -> None:
    """Draw people and note where the mesh has its points."""
    torch.set_num_threads(1)
    rows: list[tuple] = []
    lens = np.eye(3)
    model = point_model(clay())
    with FaceMesh() as mesh:
        for seed in range(first, first + people):
            pictures, identity = _posing(seed, each, size)
            heads = model.at(identity.directions, pictures.expressions.coefficients).numpy()
            poses = pictures.cameras.camera_from_world @ pictures.expressions.world_from_head
            lens = pictures.cameras.intrinsics[0].numpy()
            for k in range(each):
                found = mesh.find(pictures.rgb(k))
                if found:
                    doing = pictures.expressions.coefficients[k].numpy()
                    who = identity.directions.numpy()
                    rows.append(
                        (seed, found[0].points[:, :2], poses[k].numpy(), doing, who, heads[k])
                    )
            print(f"person {seed}: {len(rows)} pictures", flush=True)
    names = ("seed", "points", "camera_from_head", "coefficients", "directions", "head")
    columns = dict(zip(names, (np.array(c) for c in zip(*rows)), strict=True))
    np.savez_compressed(out, lens=lens, **columns)


def _posing(seed: int, each: int, size: int):
    """A few frames of a person's performance, the head turned further in all but the first, shapes
    added in most."""
    _, truth = film(seed, 150, size)
    rng = np.random.default_rng([seed, 77])
    frames = torch.tensor(np.sort(rng.permutation(150)[:each]))
    expressions, cameras = take(truth.expressions, frames), take(truth.cameras, frames)
    turn = torch.from_numpy(_WIDER * rng.standard_normal((each, 3))).float()
    turn[0] = 0
    poses, doing = expressions.world_from_head.clone(), expressions.coefficients.clone()
    poses[:, :3, :3] = axis_angle_to_matrix(turn) @ poses[:, :3, :3]
    for k in range(1, each):
        if rng.random() < 0.6:
            for shape in rng.choice(_OWN, 3, replace=False):
                doing[k, shape] = min(1.0, float(doing[k, shape]) + rng.uniform(0, 0.8))
    expressions = replace(expressions, coefficients=doing, world_from_head=poses)
    assert isinstance(truth.maps, Film)
    return Film(truth.maps.subject, cameras, expressions), truth.identity


def strays(looks: Looks) -> np.ndarray:
    """By how much each landmark is off (N 478 2): metres at its depth, in the camera's axes."""
    turn, shift = looks.camera_from_head[:, :3, :3], looks.camera_from_head[:, :3, 3]
    at = np.einsum("tij,tkj->tki", turn, looks.head) + shift[:, None]
    focal, centre = looks.lens[0, 0], looks.lens[:2, 2]
    return (looks.points - (focal * at[..., :2] / at[..., 2:] + centre)) * at[..., 2:] / focal


def _features(poses: np.ndarray, directions: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    turn, shift = (torch.from_numpy(p) for p in (poses[:, :3, :3], poses[:, :3, 3]))
    views = view_terms(turn, shift).numpy()
    return np.concatenate([np.ones((len(views), 1)), views, directions, coefficients], 1)


def regressed(looks: Looks) -> np.ndarray:
    """Features x 478 x 3: by how much landmarks stray in the head's frame, per unit of a feature.
    What lies along the line of sight is seen only as heads turn; the ridge settles the rest."""
    turned = looks.camera_from_head * _signs()
    poses = np.concatenate([looks.camera_from_head, turned])
    features = _features(
        poses,
        np.concatenate([looks.directions] * 2),
        np.concatenate([looks.coefficients, looks.coefficients[:, _OTHER]]),
    )
    off = strays(looks)
    off = np.concatenate([off, off[:, _MIRROR] * _FLIP[:2]])
    heads = np.concatenate([looks.head, looks.head[:, _MIRROR] * _FLIP])
    counts = (1, 5, looks.directions.shape[1], looks.coefficients.shape[1])
    pull = np.repeat(np.concatenate([np.full(c, p) for c, p in zip(counts, _PULLS)]), 3)
    solved = np.empty((features.shape[1], 478, 3))
    for k in range(478):
        moved = _on_screen(poses, heads[:, k])
        design = (moved[:, :, None] * features[:, None, :, None]).reshape(2 * len(off), -1)
        system = design.T @ design + np.diag(pull)
        solved[:, k] = np.linalg.solve(system, design.T @ off[:, k].reshape(-1)).reshape(-1, 3)
    return solved


def _on_screen(poses: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Takes small moves in the head to moves across the view, perspective included (N 2 3)."""
    at = np.einsum("tij,tj->ti", poses[:, :3, :3], places) + poses[:, :3, 3]
    flat = at[:, :2] / at[:, 2:]
    return poses[:, :2, :3] - flat[:, :, None] * poses[:, 2:3, :3]


def _signs() -> np.ndarray:
    """Multiplies a pose to make it that of the mirrored world."""
    flip = np.ones((4, 4))
    flip[0, 1:] = flip[1:, 0] = -1
    return flip


def left_over(looks: Looks, weights: np.ndarray) -> np.ndarray:
    """What the regression leaves, carried into the head's frame (N 478 3)."""
    features = _features(looks.camera_from_head, looks.directions, looks.coefficients)
    foretold = np.einsum("tf,fkj->tkj", features, weights)
    turn, poses = looks.camera_from_head[:, :3, :3], looks.camera_from_head
    moved = np.stack([_on_screen(poses, looks.head[:, k]) for k in range(478)], 1)
    off = strays(looks) - np.einsum("tkij,tkj->tki", moved, foretold)
    return np.einsum("tji,tkj->tki", turn[:, :2], off)


def learned(looks: Looks, people: int, moments: int) -> dict[str, np.ndarray]:
    """All the habits. Components come one standard deviation each."""
    weights = regressed(looks)
    left = left_over(looks, weights)
    names = np.unique(looks.seed)
    means = np.stack([left[looks.seed == n].mean(0) for n in names])
    apart = np.concatenate([left[looks.seed == n] - left[looks.seed == n].mean(0) for n in names])
    each = len(left) / len(names)
    apart *= np.sqrt(each / (each - 1))
    out = {"people": _components(means, people), "moments": _components(apart, moments)}
    known = sum((out[name] ** 2).sum(0).sum(-1) for name in out)
    rest = np.maximum((left**2).mean(0).sum(-1) - known, 0) / 2 + _FLOOR**2
    rest = 0.5 * (rest + rest[_MIRROR])
    count = looks.directions.shape[1]
    parts = np.split(weights, [1, 6, 6 + count])
    out |= dict(zip(("base", "views", "directions", "shapes"), parts))
    out["base"] = out["base"][0]
    out["worth"] = 1e-6 / rest
    return out


def _components(rows: np.ndarray, count: int) -> np.ndarray:
    both = np.concatenate([rows, rows[:, _MIRROR] * _FLIP])
    _, spread, basis = np.linalg.svd(both.reshape(len(both), -1), full_matrices=False)
    scaled = basis[:count] * spread[:count, None] / np.sqrt(len(both))
    return scaled.reshape(-1, 478, 3)


def learn(looks: Path, out: Path = HOME, people: int = 48, moments: int = 24) -> None:
    """Learn from all pictures; write bytes with a scale a row."""
    stored: dict[str, np.ndarray] = {}
    for name, values in learned(Looks.read(looks), people, moments).items():
        if name == "worth":
            stored[name] = values.astype(np.float32)
            continue
        scale = np.abs(values).max((-2, -1), keepdims=True) / 127 + 1e-12
        stored[name] = np.round(values / scale).astype(np.int8)
        stored[f"{name}_scale"] = scale.astype(np.float32)
    stored["layout"] = np.frombuffer(layout_mark(clay()), np.uint8)
    np.savez_compressed(out, **stored)
    print(f"{out}: {out.stat().st_size / 1024:.0f} KiB")


def judge(looks: Path, share: float = 0.75) -> None:
    """What is foretold of people not learned from."""
    every = Looks.read(looks)
    names = np.unique(every.seed)
    first = every.seed < names[int(share * len(names))]
    habits = learned(every.some(first), 48, 24)
    weights = np.concatenate(
        [habits["base"][None], habits["views"], habits["directions"], habits["shapes"]]
    )
    for label, rows in (("learned from", first), ("others", ~first)):
        part = every.some(rows)
        before, after = strays(part), left_over(part, weights)
        rms = [1000 * np.sqrt((x**2).sum(-1).mean()) for x in (before, after)]
        print(f"{label}: {rms[0]:.2f} mm RMS off, {rms[1]:.2f} with what is foretold")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"look": look, "learn": learn, "judge": judge})
