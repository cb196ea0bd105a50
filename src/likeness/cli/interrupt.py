"""Ctrl-C, at any moment: one line and exit code 130, whoever swallows the exception."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
STOPPED = "stopped. What was finished is kept; the same command goes on from there."


class Interrupts:
    """What Ctrl-C did. Libraries being imported turn a `KeyboardInterrupt` into an ImportError or
    drop it, so it is remembered: before `work` begins it ends the process on the spot, later it is
    raised, and raised again at the next `check`. A second one does not wait for anybody."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.asked = False
        self.working = False

    def work(self) -> None:
        """From here on there are files to leave whole."""
        self.working = True
        self.check()

    def check(self) -> None:
        if self.asked:
            raise KeyboardInterrupt

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self.working:
            os.write(2, f"likeness {self.verb}: {STOPPED}\n".encode())
            os._exit(INTERRUPTED)
        self.asked = True
        raise KeyboardInterrupt


@contextmanager
def interrupts(verb: str) -> Iterator[Interrupts]:
    """Within this block Ctrl-C is ours; outside the main thread, or where it is ignored (nohup), it
    stays as it is."""
    ours = Interrupts(verb)
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield ours
        return
    before = signal.signal(signal.SIGINT, ours)
    try:
        yield ours
    except Exception:
        if ours.asked:
            raise KeyboardInterrupt from None
        raise
    finally:
        sys.stderr.flush()
        signal.signal(signal.SIGINT, before)
