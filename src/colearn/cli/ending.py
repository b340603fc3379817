"""How a command that runs for long ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_TERMINATED = 143


@contextmanager
def terminated_cleanly() -> Iterator[None]:
    """Let SIGTERM end the process as Ctrl-C does: all that is open is closed."""

    def end(signal_number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
        sys.exit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
