"""Which way eyes look, from the pixels between their lids.

Every such pixel shows a place of the eyeball. How far that place lies from the line of sight says
what is there: pupil, iris, white. These rings of colour are learned from the clip, one row an eye,
and each frame's line of sight is that about which its pixels have them. Rings are round, so they
have one middle, and half of an iris is enough to find it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from likeness.ops.jit import njit
from likeness.trackers.eyeballs import struck

_MARGIN, _SOFT = 0.0005, 0.0010  # metres inside the lids at which pixels begin to count, and do
_FINE = 0.0008  # metres between pixels that are looked at, at least
_DOUBT = 0.08  # usual difference of colours
_RING = np.radians(2.5)  # between one colour of a row and the next
_RINGS = 26
_FEW = 8.0  # pixels: fewer say nothing
_PIXELS = 9  # of a ring, for its colour to be known
_ROBUST = 0.15  # colour difference beyond which a pixel is doubted: a highlight, a lash
_AHEAD = 1.0  # pull of a radian, squared: only decides where nothing is to be seen
_STEP = np.radians(5.0)  # at most, in one round
_ROUNDS = 8
_ALIKE = 0.9  # of the cost of a gaze: less than that elsewhere is clearly better
_LEARNED = 256  # frames that colours are learned from
_TRIES = np.radians(
    np.stack(np.meshgrid(np.arange(-40, 41, 4), np.arange(-28, 29, 4), indexing="ij"), -1)
).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class EyePixels:
    """What one frame shows of both eyeballs. `places` are unit directions from the middle of an
    eyeball to what a pixel shows of it, in the frame of the head; `eye` is 0 right, 1 left."""

    places: Float[np.ndarray, "P 3"]
    colours: Float[np.ndarray, "P 3"]
    weight: Float[np.ndarray, " P"]
    eye: Int[np.ndarray, " P"]

    @property
    def enough(self) -> bool:
        return float(self.weight.sum()) > _FEW

    def of(self, eye: int) -> "EyePixels":
        """One eye alone."""
        return EyePixels(self.places, self.colours, self.weight * (self.eye == eye), self.eye)

    @staticmethod
    def together(parts: "list[EyePixels]") -> "EyePixels":
        none = (np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64))
        rows = [none, *((p.places, p.colours, p.weight, p.eye) for p in parts)]
        return EyePixels(*(np.concatenate(columns) for columns in zip(*rows, strict=True)))


def between_lids(
    picture: UInt8[np.ndarray, "H W 3"],
    lens: Float[np.ndarray, "3 3"],
    rim: Float[np.ndarray, "16 2"],
    middle: Float[np.ndarray, " 3"],
    radius: float,
    turn: Float[np.ndarray, "3 3"],
    eye: int,
) -> EyePixels:
    """What a picture shows of an eyeball: `rim` are its lids (pixels), `middle` its place in the
    camera (metres), `turn` is `camera_from_head`, and `lens` makes pixels of the picture, be it a
    whole frame or a patch of one."""
    fine = middle[2] / np.sqrt(abs(np.linalg.det(lens[:2, :2])))  # metres a pixel
    step = int(np.ceil(_FINE / fine))
    low = np.clip(np.floor(rim.min(0)).astype(int), 0, None)
    high = np.clip(np.ceil(rim.max(0)).astype(int), low, picture.shape[1::-1])
    x, y = np.meshgrid(*(np.arange(a, b, step) for a, b in zip(low, high, strict=True)))
    x, y = x.ravel(), y.ravel()
    loop = rim[:, None].astype(np.float32)
    deep = [
        cv2.pointPolygonTest(loop, (a + 0.5, b + 0.5), True) for a, b in zip(x.tolist(), y.tolist())
    ]
    rays = np.stack([x + 0.5, y + 0.5, np.ones(len(x))], -1) @ np.linalg.inv(lens).T
    places, inside = struck(rays, middle, radius)
    weight = np.clip((fine * np.array(deep) - _MARGIN) / _SOFT, 0, 1) * (inside > 0)
    keep = weight > 0
    colours = picture[y[keep], x[keep]].astype(np.float64) / 255
    return EyePixels(places[keep] @ turn, colours, weight[keep], np.full(keep.sum(), eye))


def line_of_sight(gaze: Float[np.ndarray, "*b 2"]) -> Float[np.ndarray, "*b 3"]:
    """Where an eye looks that turns by `gaze` (left, up; radians) as the rig's eyeballs do."""
    turn = np.linalg.norm(gaze, axis=-1, keepdims=True)
    return np.concatenate([gaze * np.sinc(turn / np.pi), np.cos(turn)], -1)


_LINES = line_of_sight(_TRIES)


@dataclass(frozen=True, eq=False)
class Rings:
    """A person's eyes: the colour at each angle from the line of sight, and by how much (left, up;
    radians) each eye of the rig has to be turned for the two to look the same way."""

    colours: Float[np.ndarray, "2 R 3"]
    apart: Float[np.ndarray, "2 2"]

    @staticmethod
    def unknown() -> "Rings":
        return Rings(np.full((2, _RINGS, 3), 0.5, np.float32), np.zeros((2, 2)))

    def look(
        self, frame: EyePixels, before: Float[np.ndarray, " 2"] | None = None
    ) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
        """Where both eyes look, and how much the frame says of it (an inverse covariance). Given
        where they looked `before` they go on from there, unless elsewhere is clearly better: of a
        narrow eye, gazes up and down can look alike."""
        frame = _turned(frame, self.apart)
        gaze, system = _solved(frame, self.colours, _searched(frame, self.colours))
        if before is not None:
            near, there = _solved(frame, self.colours, before)
            if self._cost(frame, near) * _ALIKE < self._cost(frame, gaze):
                gaze, system = near, there
        return gaze, system / _DOUBT**2

    def nudged(self, frame: EyePixels, gaze: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        """A gaze found with other rings, as these would have it."""
        return _solved(_turned(frame, self.apart), self.colours, gaze)[0]

    def past(self, frame: EyePixels, gaze: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "2 2"]:
        """By how much each eye alone looks past a gaze in a frame; NaN where it is not seen."""
        frame, past = _turned(frame, self.apart), np.full((2, 2), np.nan)
        for eye in range(2):
            alone = frame.of(eye)
            if alone.enough:
                past[eye] = _solved(alone, self.colours, gaze)[0] - gaze
        return past

    def misfit(self, frame: EyePixels, gaze: Float[np.ndarray, " 2"]) -> float:
        """How badly a frame's pixels go with a gaze: 0 as they should, 1 not at all."""
        return self._cost(_turned(frame, self.apart), gaze)

    def _cost(self, frame: EyePixels, gaze: np.ndarray) -> float:
        line = line_of_sight(gaze)[None]
        cost = _costs(frame.places, frame.colours, frame.weight, frame.eye, self.colours, line)
        return float(cost[0] / max(3 * frame.weight.sum(), 1e-9))

    def learned_anew(
        self,
        frames: list[EyePixels],
        gaze: Float[np.ndarray, "T 2"],
        past: list[Float[np.ndarray, "2 2"]],
    ) -> "Rings":
        """The same eyes as some frames show them, whose gaze and `past` are known."""
        seen = [[p[eye] for p in past if np.isfinite(p[eye]).all()] for eye in range(2)]
        apart = self.apart + [np.median(s, 0) if s else np.zeros(2) for s in seen]
        return Rings(_rings([_turned(frame, apart) for frame in frames], gaze), apart)


def rings_of(frames: list[EyePixels]) -> tuple[Rings, Float[np.ndarray, "T 2"]]:
    """The rings that some frames have in common, and where eyes look in each. Every one of them
    shows `enough`. Eyes that look past each other by a constant are made to look the same way."""
    gaze, rings = np.zeros((len(frames), 2)), Rings.unknown()
    for search in (False, False, True, True, True):
        rings = Rings(_rings(frames, gaze), rings.apart)
        for t, frame in enumerate(frames):
            begin = _searched(frame, rings.colours) if search else gaze[t]
            gaze[t], _ = _solved(frame, rings.colours, begin)
    past = [rings.past(frame, looked) for frame, looked in zip(frames, gaze, strict=True)]
    return rings.learned_anew(frames, gaze, past), gaze


def looks(
    frames: list[EyePixels], sure: Float[np.ndarray, " T"]
) -> tuple[Float[np.ndarray, "T 2"], Float[np.ndarray, "T 2 2"]]:
    """Both eyes' common gaze in every frame (left, up; radians) and how much the frame says of it
    (an inverse covariance; 0 where nothing). Colours are learned where `sure`: open eyes.

    An eyeball that lies a little beside where its rig has it makes one eye look past the other;
    what is constant of that is taken out.
    """
    told = np.array([f.enough for f in frames])
    use = np.flatnonzero(told & (sure > 0))
    gaze, certain = np.zeros((len(frames), 2)), np.zeros((len(frames), 2, 2))
    if len(use) < 2:
        return gaze, certain
    use = use[np.linspace(0, len(use) - 1, min(_LEARNED, len(use))).round().astype(int)]
    rings, _ = rings_of([frames[t] for t in use])
    for t in np.flatnonzero(told):
        gaze[t], certain[t] = rings.look(frames[t])
    return gaze, certain


def _rings(frames: list[EyePixels], gaze: np.ndarray) -> Float[np.ndarray, "2 R 3"]:
    """The median colour at each angle from the line of sight, for each eye."""
    angle, colour, eye = [], [], []
    for frame, looked in zip(frames, gaze, strict=True):
        good = frame.weight > 0.5
        angle.append(_angle(frame.places[good], looked))
        colour.append(frame.colours[good])
        eye.append(frame.eye[good])
    angle, colour, eye = np.concatenate(angle), np.concatenate(colour), np.concatenate(eye)
    rings = Rings.unknown().colours
    for side in range(2):
        known = []
        for ring in range(_RINGS):
            here = (np.abs(angle - ring * _RING) < 0.75 * _RING) & (eye == side)
            if here.sum() >= _PIXELS:
                rings[side, ring] = np.median(colour[here], 0)
                known.append(ring)
        for c in range(3 if known else 0):
            rings[side, :, c] = np.interp(np.arange(_RINGS), known, rings[side, known, c])
    return rings


def _angle(places: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    return np.arccos(np.clip(places @ line_of_sight(gaze), -1, 1))


def _searched(frame: EyePixels, rings: np.ndarray) -> np.ndarray:
    cost = _tried(frame.places, frame.colours, frame.weight, frame.eye, rings, _LINES)
    return _TRIES[(cost + _AHEAD * (_TRIES**2).sum(-1)).argmin()]


def _solved(
    frame: EyePixels, rings: np.ndarray, begin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Newton, robustly, from a gaze nearby; and the normal equations at its end."""
    return _walked(frame.places, frame.colours, frame.weight, frame.eye, rings, begin)


def _turned(frame: EyePixels, apart: np.ndarray) -> EyePixels:
    """Places moved against small angles (left, up) an eye."""
    moved = frame.places.copy()
    moved[:, :2] -= apart[frame.eye] * frame.places[:, 2:]
    moved /= np.maximum(np.linalg.norm(moved, axis=-1, keepdims=True), 1e-6)
    return EyePixels(moved, frame.colours, frame.weight, frame.eye)


@njit(error_model="numpy")
def _arc(cosine):
    """The angle with a cosine, to a hundredth of a degree (Abramowitz and Stegun, 4.4.45)."""
    x = min(abs(cosine), 1.0)
    near = ((-0.0187293 * x + 0.0742610) * x - 0.2121144) * x + 1.5707288
    angle = np.sqrt(1 - x) * near
    return angle if cosine >= 0 else np.pi - angle


@njit(error_model="numpy")
def _line(left, up):
    """`line_of_sight` of one gaze."""
    turn = np.sqrt(left * left + up * up)
    share = np.sin(turn) / turn if turn > 1e-9 else 1.0
    return np.array([left * share, up * share, np.cos(turn)])


@njit(error_model="numpy")
def _sums(places, colours, weight, eye, rings, line, turned):
    """Normal equations of the gaze; `turned` [3, 2] is how the line of sight follows it."""
    system, right = np.zeros((2, 2)), np.zeros(2)
    last = rings.shape[1] - 1.001
    for n in range(places.shape[0]):
        along = places[n, 0] * line[0] + places[n, 1] * line[1] + places[n, 2] * line[2]
        angle = np.arccos(min(max(along, -1.0), 1.0))
        x = min(angle / _RING, last)
        i = int(x)
        steep = -1.0 / max(np.sin(angle), 0.03)  # of an angle by its cosine
        first = steep * (
            places[n, 0] * turned[0, 0] + places[n, 1] * turned[1, 0] + places[n, 2] * turned[2, 0]
        )
        second = steep * (
            places[n, 0] * turned[0, 1] + places[n, 1] * turned[1, 1] + places[n, 2] * turned[2, 1]
        )
        for c in range(3):
            low, high = rings[eye[n], i, c], rings[eye[n], i + 1, c]
            missed = colours[n, c] - low - (x - i) * (high - low)
            slope = (high - low) / _RING
            doubt = 1 + (missed / _ROBUST) ** 2
            w = weight[n] / (doubt * doubt)
            system[0, 0] += w * slope * slope * first * first
            system[0, 1] += w * slope * slope * first * second
            system[1, 1] += w * slope * slope * second * second
            right[0] += w * slope * missed * first
            right[1] += w * slope * missed * second
    system[1, 0] = system[0, 1]
    return system, right


@njit(cache=True, nogil=True, error_model="numpy")
def _walked(places, colours, weight, eye, rings, begin):
    now, system, turned = begin.copy(), np.zeros((2, 2)), np.empty((3, 2))
    for _ in range(_ROUNDS):
        line = _line(now[0], now[1])
        turned[:, 0] = (_line(now[0] + 1e-4, now[1]) - line) / 1e-4
        turned[:, 1] = (_line(now[0], now[1] + 1e-4) - line) / 1e-4
        system, right = _sums(places, colours, weight, eye, rings, line, turned)
        a, b, d = system[0, 0] + _AHEAD, system[0, 1], system[1, 1] + _AHEAD
        x, y = right[0] - _AHEAD * now[0], right[1] - _AHEAD * now[1]
        across, down = (d * x - b * y) / (a * d - b * b), (a * y - b * x) / (a * d - b * b)
        length = np.sqrt(across * across + down * down)
        share = min(1.0, _STEP / max(length, 1e-9))
        now[0] += share * across
        now[1] += share * down
        if length < 2e-4:
            break
    return now, system


@njit(cache=True, nogil=True, error_model="numpy")
def _tried(places, colours, weight, eye, rings, lines):
    """`_costs` nearly: what a pixel costs is worked out ring by ring, and between rings it is on
    the way from one to the other. Enough to find where to begin, at a third of the time."""
    found = np.zeros(lines.shape[0])
    count = rings.shape[1]
    last, ring = count - 1.001, np.zeros(count)
    for n in range(places.shape[0]):
        for i in range(count):
            ring[i] = 0.0
            for c in range(3):
                missed = (colours[n, c] - rings[eye[n], i, c]) / _ROBUST
                ring[i] += weight[n] * missed * missed / (1 + missed * missed)
        for k in range(lines.shape[0]):
            along = (
                places[n, 0] * lines[k, 0] + places[n, 1] * lines[k, 1] + places[n, 2] * lines[k, 2]
            )
            x = min(_arc(along) / _RING, last)
            i = int(x)
            found[k] += ring[i] + (x - i) * (ring[i + 1] - ring[i])
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _costs(places, colours, weight, eye, rings, lines):
    """How badly pixels go with each of some lines of sight."""
    found = np.zeros(lines.shape[0])
    last = rings.shape[1] - 1.001
    for n in range(places.shape[0]):
        for k in range(lines.shape[0]):
            along = (
                places[n, 0] * lines[k, 0] + places[n, 1] * lines[k, 1] + places[n, 2] * lines[k, 2]
            )
            x = min(_arc(along) / _RING, last)
            i = int(x)
            for c in range(3):
                low, high = rings[eye[n], i, c], rings[eye[n], i + 1, c]
                missed = (colours[n, c] - low - (x - i) * (high - low)) / _ROBUST
                found[k] += weight[n] * missed * missed / (1 + missed * missed)
    return found
