"""`likeness show`: what an avatar folder holds, and with whose consent."""

from pathlib import Path

from likeness.training.checkpoints import about_avatar
from likeness.verbs.export import note_of
from likeness.verbs.formats import fitting
from likeness.verbs.loading import open_avatar


def show(avatar: Path) -> str:
    """Tell of an avatar: method, rig, size, consent, and the formats it can be exported to.

    Args:
        avatar: The avatar folder.
    """
    head = open_avatar(avatar)
    folder = Path(avatar)
    if not (folder / "avatar.json").exists():
        folder = folder / "avatar"
    about, note = about_avatar(folder), note_of(folder)
    size = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    parameters = sum(p.numel() for p in head.parameters())
    lines = [
        f"{note.subject}: {about['method']} on the rig {head.rig}",
        f"  size     {size / 1e6:.1f} MB, {parameters:,} learned numbers",
        f"  consent  {note.consent or 'none was given'}",
    ]
    if isinstance(count := getattr(head, "count", None), int):
        lines.append(f"  splats   {count:,}")
    return "\n".join([*lines, "", "Exports:", *(f"  {line}" for line in fitting(head))])
