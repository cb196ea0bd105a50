"""What a user can cause, said in one line: what is wrong, the value seen, where, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class LikenessError(Exception):
    """Anything a user can cause and mend. The command line prints it and exits with 2."""


class BadInput(LikenessError):
    """A file or value handed in cannot be used."""


class Missing(LikenessError):
    """Something optional (an extra, a licensed asset, weights) is not there."""


class Unsupported(LikenessError):
    """The thing asked for does not fit the thing it was asked of."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`Did you mean 'x'?`, or the whole list when nothing is close."""
    known = sorted(words)
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"There are: {', '.join(known)}." if known else "There are none."


def unknown(kind: str, word: str, words: Iterable[str]) -> LikenessError:
    """The error for a name that nothing answers to."""
    return LikenessError(f"There is no {kind} called {word!r}. {did_you_mean(word, words)}")


def need_extra(module: str, extra: str, what: str) -> Missing:
    """The error for an optional dependency that is not installed."""
    return Missing(f"{what} needs {module!r}. Install it with: pip install 'likeness[{extra}]'")
