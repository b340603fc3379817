"""An end to waiting for another machine, however it dawdles.

A socket's own time-out begins anew with every byte. Here the whole of an exchange
has a deadline; what is late is shut down, which ends whatever call waits for it.
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Iterator
from threading import Condition, Thread


class Deadlines:
    """Shuts sockets down when their time is over; thread-safe, one thread for all."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._ends: dict[socket.socket, float] = {}
        self._next = math.inf
        self._thread: Thread | None = None

    def set(self, connection: socket.socket, seconds: float) -> None:
        """Give a connection that long from now on, in place of what it had."""
        end = time.monotonic() + seconds
        with self._changed:
            self._ends[connection] = end
            if self._thread is None or not self._thread.is_alive():  # as after a fork
                self._thread = Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            elif end < self._next:
                self._changed.notify()

    def clear(self, connection: socket.socket) -> None:
        """Let a connection take what time it wants."""
        with self._changed:
            self._ends.pop(connection, None)

    @contextlib.contextmanager
    def limit(self, connection: socket.socket, seconds: float) -> Iterator[None]:
        """Give a connection that long for what is done inside."""
        self.set(connection, seconds)
        try:
            yield
        finally:
            self.clear(connection)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for connection in [each for each, end in self._ends.items() if end <= now]:
                    del self._ends[connection]
                    shut(connection)
                self._next = min(self._ends.values(), default=math.inf)
                left = self._next - time.monotonic()
                self._changed.wait(None if left == math.inf else max(left, 0))


def shut(connection: socket.socket) -> None:
    """End a connection while another thread may be waiting for it."""
    with contextlib.suppress(OSError):
        # Not the method of a TLS socket, which takes its state from under that thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


DEADLINES = Deadlines()
