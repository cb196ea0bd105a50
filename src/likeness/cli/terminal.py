"""A verb in a terminal: arguments from its signature, bars for progress, logs as lines."""

import inspect
import logging
import sys
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from likeness.cli.interrupt import Interrupts
from likeness.core.progress import listening
from likeness.ops.twins import one_for_torch
from likeness.verbs import VERBS


class Bars:
    """A `core.progress.Listener` that draws rich progress bars on standard error."""

    def __init__(self, console: Console, stop: Interrupts) -> None:
        self.stop = stop
        self.progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=not console.is_terminal,
        )
        self.open: list[TaskID] = []

    def begin(self, what: str, total: int | None) -> None:
        self.stop.check()
        if not self.open:
            self.progress.start()
        self.open.append(self.progress.add_task(what, total=total, note=""))

    def advance(self, by: int = 1, note: str = "") -> None:
        self.stop.check()
        if not self.open:
            return
        self.progress.update(self.open[-1], advance=by)
        if note:
            self.progress.update(self.open[-1], note=note)

    def end(self) -> None:
        self.open.pop()
        if not self.open:
            self.progress.stop()
            for task in self.progress.task_ids:
                self.progress.remove_task(task)


def run(verb: str, arguments: Sequence[str], stop: Interrupts) -> None:
    """Build the verb's arguments from the command line and call it."""
    function = VERBS.load(verb)
    console = Console(stderr=True)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False, show_time=False)],
    )
    logging.getLogger("likeness").setLevel(logging.INFO)
    warnings.filterwarnings("ignore")  # other people's deprecations are not the user's business
    stop.work()
    with listening(Bars(console, stop)), more_after_help(function, arguments), one_for_torch():
        result = tyro.cli(
            positional(function),
            prog=f"likeness {verb}",
            description=(inspect.getdoc(function) or "").partition("\n\nArgs:")[0],
            args=list(arguments),
        )
    if isinstance(result, str):
        print(result)


@contextmanager
def more_after_help(function: Callable[..., Any], arguments: Sequence[str]) -> Iterator[None]:
    """Where help was asked for, what the verb's module tells below it by `more_help(arguments)`."""
    try:
        yield
    except SystemExit as ended:
        more = getattr(sys.modules[function.__module__], "more_help", None)
        if more is not None and not ended.code and {"-h", "--help"} & set(arguments):
            print(more(arguments))
        raise


def positional(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with what it must be given (but for `out`) placed without a flag."""

    def placed(*given: Any, **named: Any) -> Any:
        return function(*given, **named)

    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is parameter.empty and name != "out":
            hints[name] = tyro.conf.Positional[hints[name]]
    signature = inspect.signature(function)
    placed.__name__, placed.__doc__ = function.__name__, function.__doc__
    placed.__annotations__ = hints
    placed.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(annotation=hints[n]) for n, p in signature.parameters.items()]
    )
    return placed
