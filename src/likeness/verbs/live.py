"""The live half of `likeness reenact`: a camera drives an avatar while you watch."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.batching import move, take
from likeness.core.errors import BadInput, LikenessError, Missing
from likeness.core.expression import Expression, concatenate
from likeness.core.files import write_json
from likeness.core.media import VideoWriter, to_bytes
from likeness.core.rig import Identity, Rig
from likeness.core.track_files import read_track
from likeness.drivers.calmed import Calmed
from likeness.drivers.placing import Placed, Strength, Target, place
from likeness.exporters.notes import KEY, Note
from likeness.trackers.live import LiveTracker, Moment
from likeness.verbs.cameras import Played, Shot, Webcam, open_live
from likeness.verbs.preview import fitted, labelled
from likeness.verbs.screens import SCREENS, Screen, open_screen

_log = logging.getLogger(__name__)
_FPS = 25.0  # of a camera that does not say, and of what is written from any camera
_LATE = 2.0  # seconds of film that one picture may stand for


@dataclass(frozen=True)
class LiveSettings:
    """How a live session goes."""

    source: str
    show: str = "none"
    calibrate: float = 2.0
    """Seconds of a face at rest that everything is measured against."""
    seconds: float | None = None
    """How long to go on; until stopped unless given."""
    frames: int | None = None
    known: Path | None = None
    """A track of the driver, if who it is need not be learned."""
    beside: bool = False
    beyond: float = 0.25
    neutral: float = 0.1

    def __post_init__(self) -> None:
        if self.show not in SCREENS:
            raise BadInput(f"--show {self.show!r} is none of {', '.join(SCREENS)}.")
        if not 0.2 <= self.calibrate <= 60:
            raise BadInput(f"--calibrate {self.calibrate} is outside 0.2 to 60 seconds.")
        if self.seconds is not None and not self.seconds > 0:
            raise BadInput(f"--seconds {self.seconds} is not above 0.")


@dataclass(eq=False)
class Performer:
    """Turns what the tracker sees into moments of the avatar: at rest until it is calibrated."""

    rig: Rig
    target: Target
    strength: Strength
    settings: LiveSettings
    fps: float
    calm: Calmed | None = None
    seen: list[Expression] = field(default_factory=list)
    held: Tensor | None = None
    held_head: int = 0

    def place(self, tracker: LiveTracker, moment: Moment) -> Expression:
        """The avatar's expression for one more moment."""
        if self.calm is None:
            self._calibrate(tracker, moment)
        if self.calm is None:
            return self.target.rest
        performance = self.calm.perform(take(moment.expression, None), self.rig)
        placed: Placed = place(
            performance, self.target, self.rig.shape_names, self.strength, self.settings.beyond
        )
        self.held = placed.held if self.held is None else self.held + placed.held
        self.held_head += placed.held_head
        return take(placed.expressions, 0)

    def _calibrate(self, tracker: LiveTracker, moment: Moment) -> None:
        calm = tracker.calm
        if calm is None and moment.ready and moment.seen:  # who it is was known from the start
            self.seen.append(take(replace(moment.expression, personal=None), None))
            if len(self.seen) >= needed(self.settings, self.fps):
                calm = concatenate(self.seen)
        if calm is not None:
            self.calm, self.seen = Calmed.of(calm, self.rig, self.settings.neutral), []
            _log.info("Calibrated; from now on the avatar follows.")


def needed(settings: LiveSettings, fps: float) -> int:
    """Frames with a face that calibration takes."""
    return max(5, round(settings.calibrate * min(fps, 60)))


@dataclass(eq=False)
class Session:
    """An avatar on its stage, who moves it, and where its pictures go."""

    avatar: Any
    stage: Any
    performer: Performer
    settings: LiveSettings
    screen: Screen
    film: "Film | None"
    tally: "Tally"

    def one(self, tracker: LiveTracker, shot: Shot) -> bool:
        """One picture through the whole chain; False when whoever watches asked to stop."""
        began = time.perf_counter()
        moment = tracker.see(shot.rgb8, shot.time)
        placed = self.performer.place(tracker, moment)
        tracked = time.perf_counter()
        picture = drawn_now(self.avatar, self.stage, placed)
        calm = self.performer.calm is not None
        if self.settings.beside:
            words = "driver" if calm else "look ahead, face at rest"
            picture = _with_camera(picture, shot, words if moment.seen else "no face")
        spent = tracked - began, time.perf_counter() - tracked
        self.tally.add(shot.time, moment, calm, *spent)
        if self.film is not None:
            self.film.write(picture, shot.time)
        return self.screen.show(picture)

    def run(self, eye: Webcam | Played, rig: Rig, identity: Identity | None, learn: int) -> None:
        """Every picture of a source, until it ends, time is up, or somebody asks to stop."""
        tally = self.tally
        with ExitStack() as stack:
            tracker: LiveTracker | None = None
            try:
                for shot in _until(eye, self.settings, tally):
                    if tracker is None:
                        height, width = shot.rgb8.shape[:2]
                        tracker = LiveTracker(rig, (width, height), None, identity, learn)
                        stack.enter_context(tracker)
                    if not self.one(tracker, shot):
                        tally.ended = "stopped in the window"
                        return
            except KeyboardInterrupt:
                tally.ended = "stopped"


def drive_live(
    avatar: Any,
    rig: Rig,
    target: Target,
    strength: Strength,
    stage: Any,
    settings: LiveSettings,
    out: Path | None,
    note: Note,
) -> str:
    """Drive `avatar` from a live source until it ends, somebody asks to stop, or time is up.

    What was filmed until then is kept, however it ends: also when the camera goes away, which is
    raised afterwards.
    """
    identity = _identity(settings.known, rig)
    source = open_live(settings.source)
    fps = source.fps or _FPS
    film_fps = fps if isinstance(source, Played) else _FPS
    sound = None
    if isinstance(source, Played) and settings.frames is None:
        sound = source.capture.sound
    performer = Performer(rig, target, strength, settings, fps)
    tally = Tally()
    with ExitStack() as stack:
        screen = open_screen(settings.show, "likeness", film_fps)
        stack.callback(screen.close)
        film = None
        if out is not None:
            video = stack.enter_context(VideoWriter(out, film_fps, sound, note=note.line()))
            film = Film(video, each=isinstance(source, Played))
        eye = stack.enter_context(source)
        session = Session(avatar, stage, performer, settings, screen, film, tally)
        session.run(eye, rig, identity, needed(settings, fps))
        if tally.frames == 0:
            raise BadInput(f"{source.what} sent no picture. Try another program with it first.")
    about = tally.told(settings, source, performer, film_fps)
    if out is not None:
        write_json(Path(f"{out}.json"), {KEY: note.plain(), **about})
    if source.gone and isinstance(source, Webcam):
        raise LikenessError(
            f"{source.what} went away after {tally.seconds:.1f} s ({tally.frames} pictures). "
            + (f"{out} holds what was driven until then." if out else "Nothing was being filmed.")
        )
    return summary(out, about)


def _until(eye: Webcam | Played, settings: LiveSettings, tally: "Tally") -> Iterator[Shot]:
    for shot in eye:
        if settings.seconds is not None and shot.time >= settings.seconds:
            return
        if settings.frames is not None and tally.frames >= settings.frames:
            return
        yield shot


@torch.no_grad()
def drawn_now(avatar: Any, stage: Any, moment: Expression) -> np.ndarray:
    """The avatar in one moment, before its backdrop."""
    device = next(iter(avatar.state_dict().values())).device
    picture = avatar.render(move(stage.camera, device), move(moment, device))
    return to_bytes(move(picture, "cpu").over(stage.behind))


def _with_camera(picture: np.ndarray, shot: Shot, words: str) -> np.ndarray:
    """The camera's picture on the left, with what is going on."""
    height = picture.shape[0]
    width = max(2, round(shot.rgb8.shape[1] * height / shot.rgb8.shape[0]) & ~1)
    panel = labelled(fitted(shot.rgb8, width, height), words)
    return np.concatenate([panel, labelled(picture, "avatar")], 1)


class Film:
    """A film of constant rate out of pictures that come when they come; with `each`, a frame for
    every picture."""

    def __init__(self, video: VideoWriter, each: bool = False) -> None:
        self.video, self.each = video, each

    def write(self, picture: np.ndarray, time: float) -> None:
        """Show `picture` from `time` on; a picture that comes too soon after another is left out,
        and one that is late is shown longer."""
        due = 1 if self.each else round(time * float(self.video.rate)) + 1 - self.video.count
        for _ in range(min(due, round(_LATE * float(self.video.rate)))):
            self.video.write(picture)


@dataclass(eq=False)
class Tally:
    """What a session came to."""

    frames: int = 0
    lost: int = 0
    driven: int = 0
    seconds: float = 0.0
    ended: str = "the source ended"
    tracking: list[float] = field(default_factory=list)
    drawing: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def add(self, at: float, moment: Moment, driven: bool, tracking: float, drawing: float) -> None:
        self.frames += 1
        self.lost += not moment.seen
        self.driven += driven
        self.seconds = at
        self.tracking.append(tracking)
        self.drawing.append(drawing)
        if self.frames == 1:
            self.began = time.perf_counter()

    def told(
        self,
        settings: LiveSettings,
        source: Webcam | Played,
        performer: Performer,
        fps: float,
    ) -> dict[str, Any]:
        spent = max(time.perf_counter() - self.began, 1e-9)
        held = performer.held
        names = performer.rig.shape_names
        counts = {} if held is None else {
            name: int(n) for name, n in zip(names, held.tolist()) if n > 0
        }  # fmt: skip
        return {
            "driver": "live",
            "source": settings.source,
            "ended": "the camera went away" if source.gone else self.ended,
            "frames": self.frames,
            "fps": fps,
            "frames_without_a_face": self.lost,
            "frames_driven": self.driven,
            "frames_dropped": source.dropped,
            "seconds": round(self.seconds, 3),
            "pictures_per_second": round((self.frames - 1) / spent, 1),
            "tracking_ms": round(1e3 * float(np.median(self.tracking)), 1),
            "drawing_ms": round(1e3 * float(np.median(self.drawing)), 1),
            "coefficients_clamped": sum(counts.values()),
            "clamped_by_name": counts,
            "head_poses_clamped": performer.held_head,
        }


def _identity(known: Path | None, rig: Rig) -> Identity | None:
    if known is None:
        return None
    known = Path(known)
    folder = known if (known / "track.json").is_file() else known / "track"
    if not (folder / "track.json").is_file():
        raise Missing(f"--known {known} holds no track. Leave it out, or track the driver first.")
    identity = read_track(folder).identity
    if identity.rig != rig.name:
        raise BadInput(
            f"--known {known} is of the rig {identity.rig!r}; the avatar's is {rig.name!r}. "
            "Leave it out."
        )
    return identity


def summary(out: Path | None, about: dict[str, Any]) -> str:
    where = f"{out}  " if out is not None else ""
    lines = [
        f"{where}{about['frames']} pictures in {about['seconds']:.1f} s, {about['ended']}; "
        f"{about['pictures_per_second']:g} a second "
        f"(tracking {about['tracking_ms']:g} ms, drawing {about['drawing_ms']:g} ms)"
    ]
    if about["frames_without_a_face"]:
        lines.append(f"  {about['frames_without_a_face']} without a face kept the pose before")
    if not about["frames_driven"]:
        lines.append("  too few pictures with a face to calibrate: the avatar stayed at rest")
    return "\n".join(lines)
