"""`likeness reenact`: an avatar driven by gestures, a table, another person, or a camera."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.avatar import Picture
from likeness.core.batching import move, take
from likeness.core.camera import Camera, resized
from likeness.core.errors import BadInput, Unsupported, unknown
from likeness.core.expression import Expression
from likeness.core.files import write_json
from likeness.core.media import VideoWriter, to_bytes
from likeness.core.progress import counted
from likeness.core.rig import Rig
from likeness.core.track import Track
from likeness.drivers import DRIVERS
from likeness.drivers.gestures import Gestures
from likeness.drivers.placing import Placed, Strength, place
from likeness.drivers.retarget import Retarget, neutral_frame, shortened
from likeness.exporters import EXPORTERS
from likeness.exporters.motion import Motion
from likeness.exporters.notes import KEY
from likeness.rigs import RIGS
from likeness.verbs.cameras import is_camera
from likeness.verbs.export import note_of
from likeness.verbs.live import LiveSettings, drive_live
from likeness.verbs.loading import Behind, avatar_folder, device_of, open_avatar
from likeness.verbs.moments import portrait
from likeness.verbs.preview import GREY, fitted, labelled
from likeness.verbs.sources import Source, open_source
from likeness.verbs.targets import leak, target_of

_COLOURS = {"grey": GREY, "white": 1.0, "black": 0.0}
_ALIKE = 1.0  # millimetres; of faces nearer than this a share of their difference says nothing
VIEWS = ("own", "portrait")
_VIDEOS = (".mp4", ".mov", ".webm")
_MOTIONS = (".json", ".csv", ".npz", ".bvh")


def reenact(
    avatar: Path,
    source: str,
    out: Path | None = None,
    driver: str | None = None,
    gestures: str = "",
    strength_mouth: float = 1.0,
    strength_eyes: float = 1.0,
    strength_brows: float = 1.0,
    strength_head: float = 1.0,
    head: bool = True,
    torso: bool = False,
    neutral: float = 0.1,
    beyond: float = 0.25,
    view: str = "own",
    size: int | None = None,
    background: str | None = None,
    fps: float = 25.0,
    frames: int | None = None,
    beside: bool = False,
    live: bool = False,
    show: str = "none",
    calibrate: float = 2.0,
    seconds: float | None = None,
    known: Path | None = None,
    device: str = "auto",
) -> str:
    """Drive an avatar: with gestures, a table of coefficients, another person, or a camera.

    Writes a video with the driver's sound, and FILE.mp4.json beside it: how much of the driver's
    identity gets through, and how often coefficients were held within the range of training.
    A camera is followed as it films, into a window, a virtual camera or a video; Ctrl-C ends it.

    Args:
        avatar: The avatar folder, or one of `likeness build`.
        source: A track folder, a folder of `likeness build`, a .csv, .json or .npz of motion, a
            video (it is tracked first), `gestures`, `camera`, `camera:1`, or the address of a
            stream such as rtsp://...
        out: The .mp4, .mov or .webm video to write, which a camera may do without; or a .json,
            .csv, .npz or .bvh: the motion alone, which `likeness export --motion` plays on.
        driver: gestures, table or retarget; what fits the source unless given.
        gestures: What to play, such as "nod@0.5 smile@1-3 blink@2"; a reel of all unless given.
        strength_mouth: How much of jaw, lips, cheeks and nose gets through; 1 is all.
        strength_eyes: The same for lids and gaze.
        strength_brows: The same for brows.
        strength_head: The same for turns and shifts of the head.
        head: Whether the head moves at all.
        torso: Whether the driver's shoulders move the avatar's.
        neutral: Which quantile of the driver's coefficients is their neutral face; 0 takes no
            neutral face out.
        beyond: How far beyond the range of training a coefficient may go; 0 stops at its edge.
        view: own (the camera that filmed the avatar) or portrait (straight before the face).
        size: Pixels along the longer side.
        background: own (the learned backdrop), grey, white or black.
        fps: Frames a second of gestures.
        frames: Draw only so many.
        beside: Put the driver's recording on the left, where there is one.
        live: Follow a video as if it were a camera, instead of tracking it first.
        show: Where a camera's avatar is seen: window, virtual (a camera for video calls), or none.
        calibrate: Seconds at the start in which a camera sees the driver's face at rest.
        seconds: How long to follow a camera.
        known: A track of the driver, so that a camera need not learn who it is.
        device: "cpu", "cuda", or "auto".
    """
    strength = Strength(
        strength_mouth, strength_eyes, strength_brows, strength_head if head else 0.0
    )
    checked(view, background, beyond, neutral, size, frames)
    live = live or is_camera(source)
    checked_out(out, live, show)
    if live:
        how = LiveSettings(source, show, calibrate, seconds, frames, known, beside, beyond, neutral)
    person = open_avatar(avatar, device_of(device))
    rig = rig_of(person)
    if live:
        target = target_of(person, neutral)
        stage = stage_of(person, target.rest, view, size, background)
        note = note_of(avatar_folder(avatar))
        return drive_live(person, rig, target, strength, stage, how, out, note)
    assert out is not None
    driving = open_source(source, Path(f"{out}.driver"), rig.name, gestures, fps)
    kind = driving.kind if driver is None else chosen(driver, driving)
    settings = {
        "gestures": Gestures(fps),
        "retarget": Retarget(neutral, torso),
    }.get(kind) or DRIVERS.load(kind)()
    performance = settings.drive(driving.what, rig)
    target = target_of(person, neutral)
    placed = place(performance, target, rig.shape_names, strength, beyond)
    count = len(performance.coefficients) if frames is None else frames
    count = min(count, len(performance.coefficients))
    note = note_of(avatar_folder(avatar))
    if Path(out).suffix.lower() in _MOTIONS:
        moved = Motion(take(placed.expressions, slice(count)), driving.fps)
        EXPORTERS.load(Path(out).suffix.lower()[1:])().export(person, Path(out), moved, note)
    else:
        stage = stage_of(person, target.rest, view, size, background)
        pictures = drawn(person, stage, placed.expressions, count)
        if beside and driving.capture is not None:
            pictures = with_recording(pictures, driving)
        with VideoWriter(out, driving.fps, driving.sound, note=note.line()) as video:
            for picture in counted(pictures, "reenacting", count):
                video.write(picture)
    about: dict[str, Any] = {
        "driver": kind,
        "source": source,
        "frames": count,
        "fps": driving.fps,
        **held(placed, rig.shape_names),
        "identity_leak": leak_of(person, rig, driving, placed, target.rest),
    }
    write_json(Path(f"{out}.json"), {KEY: note.plain(), **about})
    return summary(out, about)


@dataclass(frozen=True, eq=False)
class Stage:
    """From where an avatar is looked at, and what is behind it."""

    camera: Camera
    behind: Tensor | float


def checked(
    view: str,
    background: str | None,
    beyond: float,
    neutral: float,
    size: int | None,
    frames: int | None,
) -> None:
    """Raise for an option that makes no sense, before anything is opened."""
    if view not in VIEWS:
        raise BadInput(f"--view {view!r} is none of {', '.join(VIEWS)}.")
    if background not in (None, "own", *_COLOURS):
        raise BadInput(f"--background {background!r} is none of own, grey, white, black.")
    if not 0 <= beyond <= 1:
        raise BadInput(f"--beyond {beyond} is outside 0 to 1.")
    if not 0 <= neutral <= 0.5:
        raise BadInput(f"--neutral {neutral} is outside 0 to 0.5: it is a low quantile.")
    if size is not None and not 16 <= size <= 4096:
        raise BadInput(f"--size {size} is outside 16 to 4096 pixels.")
    if frames is not None and frames < 1:
        raise BadInput(f"--frames {frames} is not above 0.")


def checked_out(out: Path | None, live: bool, show: str) -> None:
    """Raise unless there is somewhere for the pictures to go."""
    if show != "none" and not live:
        raise BadInput(f"--show {show} is for cameras and --live; a film is written with --out.")
    if out is None and not live:
        raise BadInput("--out is needed: the .mp4 to write.")
    if out is None and show == "none":
        raise BadInput("Nobody would see it: --show window or virtual, or --out FILM.mp4.")
    suffix = "" if out is None else Path(out).suffix.lower()
    if live and out is not None and suffix not in _VIDEOS:
        raise BadInput(f"{out} should end in {', '.join(_VIDEOS)}: a camera drives a video.")
    if out is not None and suffix not in (*_VIDEOS, *_MOTIONS):
        raise BadInput(
            f"{out} should end in {', '.join(_VIDEOS)} to be a video, or in "
            f"{', '.join(_MOTIONS)} to be the motion alone."
        )


def rig_of(avatar: Any) -> Rig:
    if avatar.rig not in RIGS:
        raise Unsupported(
            f"The avatar is on the rig {avatar.rig!r}, which is not installed here, so nothing "
            "can be said to it by name. Install the package that brings the rig."
        )
    return RIGS.load(avatar.rig)()


def chosen(driver: str, driving: Source) -> str:
    """The driver asked for, if it can use the source."""
    if driver not in DRIVERS:
        raise unknown("driver", driver, DRIVERS.names())
    if driver == driving.kind or driver not in ("gestures", "table", "retarget"):
        return driver
    raise Unsupported(
        f"--driver {driver} cannot use this source, which fits {driving.kind}. Leave --driver out."
    )


def stage_of(
    avatar: Any, rest: Expression, view: str, size: int | None, background: str | None
) -> Stage:
    """The camera and backdrop of an avatar; avatars that remember none get a portrait on grey."""
    known = getattr(avatar, "taken", None)
    backdrop = getattr(avatar, "backdrop", None)
    if view == "portrait" or not isinstance(known, Camera):
        if background == "own":
            raise Unsupported("--background own fits only --view own, of a method that learns one.")
        camera = portrait(rest, size or 512, size or 512)
        return Stage(camera, _COLOURS[background or "grey"])
    camera = move(known, "cpu")
    if size is not None:
        scale = size / max(camera.width, camera.height)
        width, height = (max(2, round(n * scale) & ~1) for n in (camera.width, camera.height))
        camera = resized(camera, width, height)
    if background in (None, "own") and isinstance(backdrop, Tensor) and backdrop.numel():
        picture = backdrop.detach().cpu().float().clamp(0, 1)
        return Stage(
            camera, Behind(picture, move(avatar.backdrop_camera, "cpu"), "learned").at(camera)
        )
    return Stage(camera, _COLOURS[background or "grey"] if background != "own" else GREY)


@torch.no_grad()
def drawn(avatar: Any, stage: Stage, moments: Expression, count: int) -> Iterator[np.ndarray]:
    """The avatar moment by moment, before its backdrop."""
    device = next(iter(avatar.state_dict().values())).device
    camera = move(stage.camera, device)
    for index in range(count):
        picture: Picture = avatar.render(camera, move(take(moments, index), device))
        yield to_bytes(move(picture, "cpu").over(stage.behind))


def with_recording(pictures: Iterator[np.ndarray], driving: Source) -> Iterator[np.ndarray]:
    """The driver's recording on the left of the avatar."""
    assert driving.capture is not None
    for index, picture in enumerate(pictures):
        height = picture.shape[0]
        seen = driving.capture[index].rgb8
        width = max(2, round(seen.shape[1] * height / seen.shape[0]) & ~1)
        panel = labelled(fitted(seen, width, height), "driver")
        yield np.concatenate([panel, labelled(picture, "avatar")], 1)


def held(placed: Placed, names: tuple[str, ...]) -> dict[str, Any]:
    """How many numbers were held within reach, and of which coefficients most."""
    counts = {name: int(n) for name, n in zip(names, placed.held.tolist()) if n > 0}
    most = sorted(counts, key=lambda name: -counts[name])
    return {
        "coefficients_clamped": sum(counts.values()),
        "coefficients": placed.expressions.coefficients.numel(),
        "clamped_by_name": {name: counts[name] for name in most},
        "head_poses_clamped": placed.held_head,
    }


def leak_of(
    avatar: Any, rig: Rig, driving: Source, placed: Placed, rest: Expression
) -> dict[str, float] | None:
    """The identity-leak figure (see `targets.leak`), for drivers with an identity of this rig."""
    track = driving.what
    if not isinstance(track, Track) or track.rig != rig.name:
        return None
    seen = (track.confidence > 0).nonzero()[:, 0]
    still = seen[neutral_frame(track.expressions.coefficients[seen])]
    driven = placed.expressions.coefficients[still].mean(0)
    as_it_is = track.expressions.coefficients[still].mean(0)
    plain = leak(avatar, rig, track.identity, rest.coefficients, as_it_is)
    found = leak(avatar, rig, track.identity, rest.coefficients, driven)
    return {**found, "share_without_calibration": plain["share"]}


def summary(out: Path, about: dict[str, Any]) -> str:
    share = about["coefficients_clamped"] / max(about["coefficients"], 1)
    lines = [f"{out}  {about['frames']} frames, {about['fps']:g} a second, by {about['driver']}"]
    if about["coefficients_clamped"]:
        most = shortened(list(about["clamped_by_name"]))
        lines.append(f"  held in range: {100 * share:.1f} % of the coefficients ({most})")
    if about["identity_leak"]:
        found = about["identity_leak"]
        moved, apart = found["neutral_moved_mm"], found["identities_apart_mm"]
        share = f"{100 * found['share']:.1f} % ({moved:.2f} mm of {apart:.2f} mm)"
        alike = f"{moved:.2f} mm; the two faces are alike, {apart:.2f} mm apart"
        lines.append(f"  identity leak: {alike if apart < _ALIKE else share}")
    return "\n".join(lines)
