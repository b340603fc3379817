"""How a command that runs for long ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from colearn.errors import ColearnError
from colearn.records import Entry
from colearn.rules import Decision, State


class Ending:
    """Whether the process was told to end; a `colearn.member.Watcher`, which sees to it.

    A signal raises where it comes; but what is raised inside of a callback of the
    interpreter's own, as while it imports, is lost. So whoever runs for long asks again.
    """

    def __init__(self) -> None:
        self._told: int | None = None

    def tell(self, signal_number: int, frame: FrameType | None = None) -> None:  # noqa: ARG002
        """End the process by a signal.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was another.
        """
        self._told = signal_number
        self.check()

    def check(self) -> None:
        """Return if nobody has told the process to end; raises as `tell` does."""
        if self._told == signal.SIGINT:
            raise KeyboardInterrupt
        if self._told is not None:
            sys.exit(128 + self._told)

    def ordered(self, entry: Entry) -> None:
        """Go on."""

    def decided(self, decision: Decision) -> None:
        """Go on."""

    def read(self, state: State) -> None:  # noqa: ARG002
        """End if told to; raises as `tell` does."""
        self.check()

    def failed(self, reason: ColearnError) -> None:  # noqa: ARG002
        """End if told to; raises as `tell` does."""
        self.check()


@contextmanager
def terminated_cleanly() -> Iterator[Ending]:
    """Let SIGTERM, and a terminal that closes, end the process as Ctrl-C does.

    All that is open is closed. Under nohup the terminal may close.
    """
    ending = Ending()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, ending.tell) for number in numbers]
    try:
        yield ending
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
