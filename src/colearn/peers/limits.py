"""What a member's server grants to callers, so that nobody can take all of it."""

from __future__ import annotations

import time
from collections import Counter
from threading import Lock
from typing import NamedTuple

_MANY_ADDRESSES = 1_000


class Limits(NamedTuple):
    """What is granted.

    Attributes:
        connections: At one time, by everybody.
        per_address: At one time, by one address.
        requests_per_second: By one address, on average.
        request_seconds: For a whole request to arrive, and for a handshake.
        idle_seconds: Between two requests of one connection.
        head_bytes: Of a request's first line and headers.
        note_bytes: Of a note or an endpoint.
    """

    connections: int = 256
    per_address: int = 64
    requests_per_second: int = 2_000
    request_seconds: float = 10
    idle_seconds: float = 60
    head_bytes: int = 8_192
    note_bytes: int = 16_384


class Callers:
    """Counts what each address takes: its connections, and its requests of late."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._connections: Counter[str] = Counter()
        self._credit: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def enter(self, address: str) -> bool:
        """Whether there is room for one more connection, which then counts until it leaves."""
        with self._lock:
            if (
                self._connections.total() >= self._limits.connections
                or self._connections[address] >= self._limits.per_address
            ):
                return False
            self._connections[address] += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that has entered is over."""
        with self._lock:
            self._connections[address] -= 1
            if not self._connections[address]:
                del self._connections[address]

    def may_ask(self, address: str) -> bool:
        """Whether an address has not asked too often of late."""
        rate = self._limits.requests_per_second
        now = time.monotonic()
        with self._lock:
            if len(self._credit) > _MANY_ADDRESSES:  # whose credit is full again is forgotten
                self._credit = {
                    key: each for key, each in self._credit.items() if now - each[1] < 1
                }
            left, then = self._credit.get(address, (float(rate), now))
            left = min(left + (now - then) * rate, float(rate))
            granted = left >= 1
            self._credit[address] = left - granted, now
        return granted
