"""One mesh laid onto another: the same triangles, on the other's surface."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree
from torch import Tensor

from likeness.core.rig import Mesh

_NEAR, _FREE = 0.004, 0.02  # metres from held parts: up to the first nothing moves, from the second
# on freely, so that lids stay on their eyeballs and lips before their teeth
_JOIN = 0.006  # metres up to which loose parts, such as ears, hang on what is beside them
_CANDIDATES = 12  # nearest points looked through for one that faces the same way
_ROUGH, _SMOOTH = 0.6, 0.9  # length of the mean of the normals around a point: up to the first
# the surface says nothing there, from the second on it is believed
_STAY = 0.003  # pull of every vertex back to where it started
_MENDS = 20  # times that springs around folded triangles are made stiffer before a step is given up


@dataclass(frozen=True)
class Wrapping:
    """How one surface is laid onto another, from stiff to soft."""

    stiffness: tuple[float, ...] = (100.0, 10.0, 1.0, 0.2)
    """Price of a difference in displacement between neighbours, level by level; being off the
    surface by as much costs 1."""
    rounds: int = 3
    """How often nearest points are looked up anew in each level."""
    facing: float = 0.5
    """Least cosine between the normals of a vertex and of its place."""


@dataclass(frozen=True, eq=False)
class Wrapped:
    """Where vertices came to lie, and which of them were drawn onto the surface with full force:
    those free to move that have a place on the surface to go to."""

    vertices: Float[Tensor, "V 3"]
    drawn: Bool[Tensor, " V"]


def wrap(
    mesh: Mesh, onto: Mesh, reach: Float[Tensor, " V"], plan: Wrapping | None = None
) -> Wrapped:
    """`mesh` moved onto `onto`, as smoothly as its stiffness asks, without folding a triangle.

    Each vertex of its largest part is pulled to the nearest point that faces as it does, the less
    the farther that is from where it started, and not at all from beyond its `reach` (metres; where
    that is 0 it stays), nor where the surface is too rough to say where it lies. What is not
    pulled, and loose parts, go where their neighbours go. Carries no gradient.
    """
    plan = plan or Wrapping()
    start = mesh.vertices.detach().cpu().double().numpy()
    triangles = mesh.triangles.cpu().numpy()
    surface = _Surface.of(onto)
    far = reach.detach().cpu().double().numpy()
    body = _Body.of(start, triangles, far <= 0)
    moved, trust = start, np.zeros(len(start))
    for level in plan.stiffness:
        for _ in range(plan.rounds):
            place, trust = surface.places(moved, vertex_normals(moved, triangles), plan.facing)
            trust *= body.main * _nearness(np.linalg.norm(place - start, axis=1), far)
            moved = body.pulled(place, trust, level, moved)
    vertices = torch.from_numpy(moved).to(mesh.vertices)
    drawn = (trust > 0.5) & (body.ease >= 1)
    return Wrapped(vertices, torch.from_numpy(drawn).to(reach.device))


def _nearness(away: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """1 where a place is at hand, 0 from the reach on."""
    share = np.minimum(away / np.maximum(reach, 1e-9), 1)
    return (1 - share * share) ** 2


@dataclass(frozen=True, eq=False)
class _Surface:
    points: np.ndarray
    normals: np.ndarray
    tree: KDTree
    open_edge: np.ndarray

    @staticmethod
    def of(mesh: Mesh) -> "_Surface":
        points = mesh.vertices.detach().cpu().double().numpy()
        triangles = mesh.triangles.cpu().numpy()
        used = np.unique(triangles)
        return _Surface(
            points[used],
            vertex_normals(points, triangles)[used],
            KDTree(points[used]),
            _on_open_edges(triangles, len(points))[used],
        )

    def places(
        self, at: np.ndarray, normals: np.ndarray, facing: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Each vertex's place on the surface, and how sure that is. The open edge of a surface is
        no place: what lies beyond it would all gather there."""
        count = min(_CANDIDATES, len(self.points))
        _, index = self.tree.query(at, k=list(range(1, count + 1)))
        around = self.normals[index]
        good = np.einsum("vkc,vc->vk", around, normals) > facing
        first, rows = good.argmax(1), np.arange(len(at))
        chosen, normal = index[rows, first], around[rows, first]
        off = np.einsum("vc,vc->v", self.points[chosen] - at, normal)
        smooth = np.linalg.norm(around.mean(1), axis=1)
        sure = np.clip((smooth - _ROUGH) / (_SMOOTH - _ROUGH), 0, 1)
        found = good[rows, first] & ~self.open_edge[chosen]
        return at + off[:, None] * normal, np.where(found, sure, 0)


@dataclass(frozen=True, eq=False)
class _Body:
    """What is moved. `main` is its largest connected part, `ease` how far a vertex may leave its
    start (0 near held ones), `pairs` are springs, `firm` how many times stiffer than asked a
    vertex's springs had to become so that no triangle folds."""

    start: np.ndarray
    triangles: np.ndarray
    main: np.ndarray
    ease: np.ndarray
    pairs: np.ndarray
    firm: np.ndarray

    @staticmethod
    def of(start: np.ndarray, triangles: np.ndarray, held: np.ndarray) -> "_Body":
        edges = _edges(triangles)
        count = len(start)
        graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count))
        _, part = connected_components(graph, directed=False)
        main = part == np.bincount(part).argmax()
        pairs = np.concatenate([edges, _joins(start, main)])
        pairs = np.unique(np.sort(pairs, 1), axis=0)
        return _Body(start, triangles, main, _ease(start, held), pairs, np.ones(count))

    def pulled(
        self, place: np.ndarray, pull: np.ndarray, stiff: float, before: np.ndarray
    ) -> np.ndarray:
        """Where the springs let the vertices go. Around triangles that would fold, they are made
        stiffer, until those move as one; where that does not help, all stays as it was before."""
        upright = _cross(self.start, self.triangles)
        wish = (place - self.start) * pull[:, None]
        for _ in range(_MENDS):
            springs = self._springs(stiff) + diags(pull + _STAY)
            moved = self.start + self.ease[:, None] * splu(springs.tocsc()).solve(wish)
            folded = (_cross(moved, self.triangles) * upright).sum(-1) < 0
            if not folded.any():
                return moved
            around = np.isin(self.triangles, self.triangles[folded]).any(1)
            self.firm[np.unique(self.triangles[around])] *= 4
        return before

    def _springs(self, stiff: float) -> csr_matrix:
        """The graph's Laplacian."""
        a, b = self.pairs.T
        weight = stiff * np.maximum(self.firm[a], self.firm[b])
        both = csr_matrix((weight, (a, b)), shape=(len(self.start),) * 2)
        both = both + both.T
        return csr_matrix(diags(both @ np.ones(len(self.start))) - both)


def _ease(start: np.ndarray, held: np.ndarray) -> np.ndarray:
    """How far each vertex may move: 0 near what is held, 1 away from it."""
    if not held.any():
        return np.ones(len(start))
    away = KDTree(start[held]).query(start)[0]
    share = np.clip((away - _NEAR) / (_FREE - _NEAR), 0, 1)
    return share * share * (3 - 2 * share)


def _joins(start: np.ndarray, main: np.ndarray) -> np.ndarray:
    """Pairs of the vertices of loose parts and the nearest one of the main part."""
    body, loose = main.nonzero()[0], (~main).nonzero()[0]
    if not len(loose):
        return np.zeros((0, 2), dtype=np.int64)
    away, nearest = KDTree(start[body]).query(start[loose])
    return np.stack([loose, body[nearest]], -1)[np.less(away, _JOIN)]


def _edges(triangles: np.ndarray) -> np.ndarray:
    return np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])


def _on_open_edges(triangles: np.ndarray, count: int) -> np.ndarray:
    pairs, seen = np.unique(np.sort(_edges(triangles), 1), axis=0, return_counts=True)
    marked = np.zeros(count, dtype=bool)
    marked[pairs[np.equal(seen, 1)].ravel()] = True
    return marked


def _cross(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals."""
    faces, total = _cross(points, triangles), np.zeros_like(points)
    for corner in range(3):
        np.add.at(total, triangles[:, corner], faces)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
