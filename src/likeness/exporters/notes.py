"""What every exported file says about itself: that it is synthetic, of whom, with whose consent."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likeness import __version__
from likeness.core.files import write_json
from likeness.core.media import SYNTHETIC

KEY = "likeness"
"""The name of our block of JSON in glTF extras, PLY comments, gzip comments and HTML."""


@dataclass(frozen=True)
class Note:
    """Whom a file shows (the avatar's name) and who agreed to what, where that is known."""

    subject: str = ""
    consent: str | None = None

    def plain(self) -> dict[str, Any]:
        return {
            "digitalSourceType": SYNTHETIC,
            "generator": f"likeness {__version__}",
            "subject": self.subject,
            "consent": self.consent,
        }

    def line(self) -> str:
        """The note as one line of plain ASCII JSON, for comments in files."""
        return json.dumps(self.plain(), ensure_ascii=True)

    def sentence(self) -> str:
        """For people to read."""
        who = f" of {self.subject}" if self.subject else ""
        agreed = "No consent note was given."
        if self.consent:
            agreed = f"Consent: {self.consent.rstrip('.')}."
        return f"Synthetic media{who}, made with likeness. {agreed}"


def write_beside(path: str | Path, note: Note, **more: Any) -> Path:
    """`name.ext.json` for formats that have no room for words."""
    beside = Path(f"{path}.json")
    write_json(beside, {KEY: note.plain(), **more})
    return beside
