"""Read somebody's data set (NeRFace, VHAP / GaussianAvatars, nerfstudio, COLMAP, ...) and move it.

Whatever the layout, cameras come out in one convention (docs/conventions.md).
"""

from pathlib import Path

import tyro

from likeness.captures import open_capture
from likeness.captures.nerfstudio import write_nerfstudio


def main(folder: Path, out: Path | None = None) -> str:
    """Say what is in `folder`; with `out`, write it there for nerfstudio."""
    capture = open_capture(folder)
    width, height = capture.size
    lines = [f"{capture.name}: {len(capture)} frames of {width} x {height}"]
    if capture.splits is not None:
        splits = capture.splits
        lines.append(
            f"train / validation / test: {len(splits.train)} / {len(splits.validation)} / "
            f"{len(splits.test)}"
        )
    track = capture.track  # what the data set itself says of cameras and expressions
    if track is not None:
        focal = float(track.cameras.intrinsics[0, 0, 0])
        away = float(track.cameras.camera_from_world[0, :3, 3].norm())
        lines.append(f"rig {track.rig}, {track.expressions.coefficients.shape[-1]} coefficients")
        lines.append(f"first camera: focal {focal:.1f} pixels, {away:.2f} m from the origin")
        if out is not None:
            write_nerfstudio(capture, track, out)
            lines.append(f"written for nerfstudio: {out}")
    lines.append(f"first frame's mean colour: {capture[0].rgb.mean((0, 1)).tolist()}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tyro.cli(main))
