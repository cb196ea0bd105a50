"""The consent note of `ingest`, `build` and `fit`: words, or a text file that holds them."""

import logging
from pathlib import Path

from likeness.core.errors import BadInput

_log = logging.getLogger(__name__)
_MOST = 4000  # characters; it is copied into every exported file
_TEXT = (".txt", ".md")


def consent_note(given: str | None) -> str | None:
    """What `--consent` says, on one line: the words themselves, or those of the file it names."""
    if given is None:
        return None
    words = " ".join(_words(given).split())
    if not words:
        raise BadInput('--consent is empty. Say who agreed, when, and to what: "who, when, scope".')
    if len(words) > _MOST:
        raise BadInput(
            f"--consent has {len(words)} characters; {_MOST} fit into every file made. Shorten it "
            "to who, when and scope, and say where the whole document lies."
        )
    return words


def _words(given: str) -> str:
    path = Path(given)
    try:
        if path.is_file():
            return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"--consent {given} is not a text file in UTF-8.") from error
    except OSError as error:  # words that are too long for the name of a file are words
        if path.suffix.lower() in _TEXT:
            raise BadInput(f"--consent {given} cannot be read ({error.strerror}).") from error
        return given
    if path.suffix.lower() in _TEXT and " " not in given:
        raise BadInput(f"--consent {given}: there is no such file.")
    return given


def ask_for_consent(consent: str | None) -> None:
    """A warning where an avatar is learned of somebody without a note of their consent."""
    if not consent:
        _log.warning(
            "No consent note is known for this person. Give one with --consent "
            '"who, when, scope", or a text file: it is kept in everything made of the avatar.'
        )
