"""The terminal door: `likeness VERB`. No logic of its own; nothing heavy until a verb runs."""

import ast
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from likeness import __version__
from likeness.cli.interrupt import INTERRUPTED, STOPPED, interrupts
from likeness.core.errors import LikenessError, unknown
from likeness.verbs import VERBS

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb. Exits with 0, 2 for the user's mistakes, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        raise SystemExit(0 if given else USAGE_ERROR)
    if given[0] in ("-V", "--version"):
        print(f"likeness {__version__}")
        raise SystemExit(0)
    verb, rest = given[0], given[1:]
    try:
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS.names())
        with interrupts(verb) as stop:
            from likeness.cli.terminal import run

            run(verb, rest, stop)
    except LikenessError as error:
        complain(verb, str(error))
        raise SystemExit(USAGE_ERROR) from None
    except KeyboardInterrupt:
        complain(verb, STOPPED)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def complain(verb: str, message: str) -> None:
    print(f"likeness {verb}: {' '.join(message.split())}", file=sys.stderr)


def overview() -> str:
    """The text of `likeness --help`: the verbs, each with the first line of its docstring."""
    lines = [
        "likeness: from a video or a few photos to an animatable, photoreal 3D head.",
        "",
        'Begin with:  likeness build VIDEO --out DIR --consent "who, when, scope"',
        "             (or `likeness synth --out DIR` for a synthetic person to try it on)",
        "",
        "Verbs:",
    ]
    lines += [f"  {name:<10} {summary(row)}" for name, row in VERBS.rows().items()]
    lines += ["", "`likeness VERB --help` explains one of them."]
    return "\n".join(lines)


def summary(row: str) -> str:
    """The first docstring line of `module:function`, read without importing the module."""
    module, _, function = row.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == function:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""
