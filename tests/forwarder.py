"""A wire between two programs that a test may cut."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from threading import Lock, Thread
from typing import Self


def _here(function: Callable[[], socket.socket]) -> socket.socket:
    return function()


class Forwarder:
    """Forwards connections to a port on this machine, until it is cut.

    Args:
        port: The port to forward to.
        listen: The port to listen on; 0 for one that is free.
        into: Calls a function where that port is, as `island.Island.call` does.
        out_of: Calls a function where to listen.
    """

    def __init__(
        self,
        port: int,
        listen: int = 0,
        *,
        into: Callable[[Callable[[], socket.socket]], socket.socket] = _here,
        out_of: Callable[[Callable[[], socket.socket]], socket.socket] = _here,
    ) -> None:
        self._connect = lambda: into(
            lambda: socket.create_connection(("127.0.0.1", port), timeout=5)
        )
        self._lock = Lock()
        self._whole = True
        self._open: list[socket.socket] = []
        self._listener = out_of(lambda: socket.create_server(("127.0.0.1", listen)))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and answer nobody."""
        with self._lock:
            self._whole = False
            for each in self._open:
                _end(each)
            self._open.clear()

    def mend(self) -> None:
        """Forward new connections again."""
        with self._lock:
            self._whole = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        _end(self._listener)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._lock:
                    if not self._whole:
                        raise ConnectionRefusedError
                    far = self._connect()
                    far.settimeout(None)
                    self._open += near, far
            except OSError:
                _end(near)
                continue
            for source, target in ((near, far), (far, near)):
                Thread(target=_carry, args=(source, target), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    _end(source)
    _end(target)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
